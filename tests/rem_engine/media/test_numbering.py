"""A shot's frames keep the names and numbers that its files have, and what is missing is said."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from PIL import Image
from plate_files import write_exr
from test_media import counting_frames, frame_numbers, write_video

from rem_engine.media import Shot, open_shot
from rem_engine.media.numbering import frame_range, parse_range
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.media.reading import find_sequence, sequences_in


def picture(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), (level, level, level)).save(path)
    return path


def sequence(folder: Path, form: str, numbers: Iterable[int]) -> Path:
    """Pictures whose level is 8 times their place: `form` is as printf has it."""
    for place, number in enumerate(numbers):
        picture(folder / (form % number), 8 * place)
    return folder


def names_of(shot: Shot) -> list[str]:
    return [shot.numbering.name_of(index) for index in range(shot.frame_count)]


# ---- names


@pytest.mark.parametrize(
    "names",
    [
        ["AGM_104_PL01_v001.0987", "AGM_104_PL01_v001.0988", "AGM_104_PL01_v001.0989"],
        ["shot_0999", "shot_1000", "shot_1001"],
        ["img998", "img999", "img1000"],
        ["f8", "f9", "f10", "f11"],
        ["IMG-1001", "IMG-1002"],
        ["s 01", "s 02"],
        ["shot.-0002", "shot.-0001", "shot.0000", "shot.0001"],
        ["shot.-002", "shot.-001", "shot.0000", "shot.0001"],
        ["shot.-2", "shot.-1", "shot.0", "shot.1"],
        ["x.1001.left", "x.1002.left"],
        ["foo_1001_graded_4k", "foo_1002_graded_4k"],
        ["tex_1001.0007", "tex_1001.0008"],
        ["v2_0001", "v2_0002"],
        ["plate.0001"],
        ["img0987"],
    ],
    ids=lambda names: names[0],
)
def test_frames_keep_their_names_and_come_in_the_order_of_their_numbers(tmp_path: Path, names: list[str]) -> None:
    for place, name in reversed(list(enumerate(names))):
        picture(tmp_path / f"{name}.png", 8 * place)
    with open_shot(tmp_path) as shot:
        assert names_of(shot) == names
        assert shot.numbering.own and not shot.numbering.missing
        assert frame_numbers(shot.read(0, len(names))) == list(range(len(names)))


def test_names_that_are_only_numbers_get_their_folders(tmp_path: Path) -> None:
    sequence(tmp_path / "plate", "%04d.png", range(1, 4))
    with open_shot(tmp_path / "plate") as shot:
        assert names_of(shot) == ["plate.0001", "plate.0002", "plate.0003"]
    with open_shot(tmp_path / "plate" / "0002.png") as shot:
        assert names_of(shot) == ["plate.0002"]


@pytest.mark.parametrize(
    ("name", "delivered"),
    [
        ("plate.0987", "plate.0987"),
        ("smoke_01", "smoke_01"),
        ("shot.1001.denoised", "shot.1001.denoised"),
        ("plate_4k", "plate_4k.1001"),
        ("shot_12_final", "shot_12_final.1001"),
        ("plate_v001", "plate_v001.1001"),
        ("still", "still.1001"),
        ("clip2", "clip2.1001"),
        ("still.v2", "still.v2.1001"),
    ],
)
def test_a_single_picture_keeps_a_number_that_looks_like_a_frames(tmp_path: Path, name: str, delivered: str) -> None:
    with open_shot(picture(tmp_path / f"{name}.png")) as shot:
        assert names_of(shot) == [delivered]


def test_a_video_counts_from_1001(tmp_path: Path) -> None:
    with open_shot(write_video(tmp_path / "shot_0987.mp4", counting_frames(3))) as shot:
        assert names_of(shot) == ["shot_0987.1001", "shot_0987.1002", "shot_0987.1003"]
        assert not shot.numbering.own


def test_numbers_written_with_and_without_zeros_are_one_sequence(tmp_path: Path) -> None:
    for place, name in enumerate(["a.08", "a.9", "a.10"]):
        picture(tmp_path / f"{name}.png", 8 * place)
    with open_shot(tmp_path) as shot:
        assert shot.numbering.numbers == (8, 9, 10)
        assert frame_numbers(shot.read(0, 3)) == [0, 1, 2]


def test_delivered_names_may_be_others(tmp_path: Path) -> None:
    with open_shot(sequence(tmp_path, "a_v001_%04d.png", (987, 988, 990)), PlateSettings(gaps="hold")) as shot:
        numbering = shot.numbering
    assert numbering.delivered(start=1).range == "1-4"
    assert numbering.delivered(start=1).missing == {3}
    assert numbering.delivered(start=1).name_of(0) == "a_v001_0001"
    assert numbering.delivered(start=1, digits=6, name="new").name_of(3) == "new_000004"


# ---- which sequence


def test_a_folder_of_two_sequences_names_both_and_asks(tmp_path: Path) -> None:
    sequence(tmp_path, "a.%04d.png", range(1, 4))
    sequence(tmp_path, "b.%04d.png", range(1, 4))
    with pytest.raises(ValueError, match=r"a\.####\.png \(1-3\), b\.####\.png \(1-3\): say which.*a\.####\.png"):
        open_shot(tmp_path)
    assert names_of(open_shot(tmp_path / "b.####.png")) == ["b.0001", "b.0002", "b.0003"]


def test_a_picture_beside_a_sequence_is_asked_for(tmp_path: Path) -> None:
    sequence(tmp_path, "shot.%04d.png", range(1, 4))
    picture(tmp_path / "thumbnail.png")
    with pytest.raises(ValueError, match=r"shot\.####\.png \(1-3\), thumbnail\.png: say which"):
        open_shot(tmp_path)


def test_two_versions_of_a_frame_are_no_sequence(tmp_path: Path) -> None:
    for name in ("plate_v001.0987", "plate_v002.0987"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"plate_v001\.0987\.png, plate_v002\.0987\.png"):
        open_shot(tmp_path)


def test_pictures_without_numbers_are_no_sequence(tmp_path: Path) -> None:
    for name in ("left", "right"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"left\.png, right\.png: say which"):
        open_shot(tmp_path)


def test_formats_that_divide_a_shot_are_two_sequences(tmp_path: Path) -> None:
    sequence(tmp_path, "s.%04d.png", (1, 2))
    sequence(tmp_path, "s.%04d.jpg", (3, 4))
    with pytest.raises(ValueError, match=r"s\.####\.png \(1-2\), s\.####\.jpg \(3-4\)"):
        open_shot(tmp_path)


def test_one_number_twice_is_refused_unless_a_pattern_says_which(tmp_path: Path) -> None:
    for name in ("s.1", "s.2", "s.0001", "s.0002"):
        picture(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"one frame twice, as s\.0001\.png and s\.1\.png"):
        open_shot(tmp_path)
    assert [file.name for file in open_shot(tmp_path / "s.%04d.png").files] == ["s.0001.png", "s.0002.png"]
    assert [file.name for file in open_shot(tmp_path / "s.%d.png").files] == ["s.1.png", "s.2.png"]


@pytest.mark.parametrize("pattern", ["s.####.png", "s.%04d.png", "s.@@@@.png", "s.#.png", "s.$F4.png"])
def test_patterns_of_every_program_name_a_sequence(tmp_path: Path, pattern: str) -> None:
    sequence(tmp_path, "s.%04d.png", range(998, 1003))
    picture(tmp_path / "s.jpg.png")
    picture(tmp_path / "other.1001.png")
    with open_shot(tmp_path / pattern) as shot:
        assert names_of(shot) == ["s.0998", "s.0999", "s.1000", "s.1001", "s.1002"]
        assert shot.name == "s"


def test_a_name_may_hold_what_patterns_are_made_of(tmp_path: Path) -> None:
    sequence(tmp_path, "take#2_100%%_@.%04d.png", (1, 2))
    with open_shot(tmp_path) as shot:
        assert names_of(open_shot(tmp_path / f"{shot.numbering.names.pattern}.png")) == names_of(shot)
        assert shot.numbering.names.name == "take#2_100%_@"


def test_a_pattern_says_where_the_number_stands(tmp_path: Path) -> None:
    sequence(tmp_path, "s_%04d_2.png", (1, 2))
    with open_shot(tmp_path / "s_####_2.png") as shot:
        assert names_of(shot) == ["s_0001_2", "s_0002_2"]


@pytest.mark.parametrize("pattern", ["icon.####@2x.png", "icon.%04d@2x.png", "icon.$F4@2x.png"])
def test_what_looks_like_digits_behind_the_number_belongs_to_the_name(tmp_path: Path, pattern: str) -> None:
    sequence(tmp_path, "icon.%04d@2x.png", (1001, 1002))
    picture(tmp_path / "other.png")
    with open_shot(tmp_path / pattern) as shot:
        assert names_of(shot) == ["icon.1001@2x", "icon.1002@2x"]


@pytest.mark.parametrize("form", ["shot.%04d.left.png", "shot_%04d_graded.png", "shot-%03d-b.png", "%04d_graded.png"])
def test_numbers_below_0_with_words_behind_them_are_of_the_same_sequence(tmp_path: Path, form: str) -> None:
    numbers = (-2, -1, 0, 1, 2)
    with open_shot(sequence(tmp_path, form, numbers)) as shot:
        assert shot.numbering.numbers == numbers
        assert [file.name for file in shot.files] == [form % number for number in numbers]


def test_a_pattern_takes_suffixes_as_a_folder_does(tmp_path: Path) -> None:
    picture(tmp_path / "s.1001.PNG")
    picture(tmp_path / "s.1002.png")
    for path in (tmp_path, tmp_path / "s.####.png", tmp_path / "s.%04d.PNG"):
        with open_shot(path) as shot:
            assert names_of(shot) == ["s.1001", "s.1002"]
    picture(tmp_path / "s.1001.png")  # one frame twice: now the pattern says which
    with open_shot(tmp_path / "s.####.png") as shot:
        assert [file.name for file in shot.files] == ["s.1001.png", "s.1002.png"]


# ---- links


def test_links_are_called_as_they_are_and_not_as_what_they_lead_to(tmp_path: Path) -> None:
    sequence(tmp_path / "store", "9f%d.png", (77, 78))
    (tmp_path / "store" / "no_suffix").write_bytes((tmp_path / "store" / "9f77.png").read_bytes())
    plate = tmp_path / "AGM_104"
    plate.mkdir()
    for place, target in enumerate(("9f77.png", "9f78.png")):
        (plate / f"{987 + place}.png").symlink_to(tmp_path / "store" / target)
    (tmp_path / "smoke.0012.png").symlink_to(tmp_path / "store" / "no_suffix")
    (tmp_path / "latest").symlink_to(plate)
    with open_shot(plate) as shot, open_shot(tmp_path / "latest") as latest:
        assert names_of(shot) == ["AGM_104.987", "AGM_104.988"]
        assert latest.name == "latest" and names_of(latest) == ["latest.987", "latest.988"]
    with open_shot(tmp_path / "smoke.0012.png") as still:
        assert names_of(still) == ["smoke.0012"]


@pytest.mark.parametrize("gone", [1002, 1003])
def test_a_link_that_leads_nowhere_is_refused_with_its_name(tmp_path: Path, gone: int) -> None:
    folder = sequence(tmp_path / "plate", "s.%d.png", (1001, 1002, 1003))
    (folder / f"s.{gone}.png").unlink()
    (folder / f"s.{gone}.png").symlink_to(tmp_path / "unmounted.png")
    for path in (folder, folder / "s.####.png"):
        with pytest.raises(ValueError, match=rf"s\.{gone}\.png is a link to .*unmounted\.png, which is not there"):
            open_shot(path, PlateSettings(gaps="hold"))


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("x.####.png", r"No file in .* is called x\.####\.png"),
        ("s.####.####.png", "is called s"),
        ("s.####.mov", "names no pictures"),
        ("nothing.png", "does not exist"),
    ],
)
def test_a_pattern_of_nothing_is_told(tmp_path: Path, pattern: str, sentence: str) -> None:
    sequence(tmp_path, "s.%04d.png", (1, 2))
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        open_shot(tmp_path / pattern)


# ---- missing frames


def test_missing_frames_are_named(tmp_path: Path) -> None:
    sequence(tmp_path, "shot.%04d.png", (1001, 1002, 1004, 1007))
    with pytest.raises(ValueError, match=r"shot\.####\.png \(1001-1007\) lacks 1003,1005-1006: .*--gaps hold"):
        open_shot(tmp_path)


def test_a_sequence_of_every_fifth_frame_says_how_it_is_read(tmp_path: Path) -> None:
    sequence(tmp_path, "%05d.png", range(0, 20, 5))
    with pytest.raises(ValueError, match=r"^#####\.png \(0-15\) lacks 1-4,6-9,11-14: .*--frames 0-15x5"):
        open_shot(tmp_path)
    with open_shot(tmp_path, PlateSettings(frames="0-15x5")) as shot:
        assert shot.numbering.numbers == (0, 5, 10, 15)
        assert shot.numbering.takes == ()


def test_a_gap_as_long_as_a_date_is_told_and_not_filled(tmp_path: Path) -> None:
    sequence(tmp_path, "%d.png", (20240131120000, 20240131120001, 20250131120000))
    with pytest.raises(ValueError, match=r"lacks 20240131120002-20250131119999"):
        open_shot(tmp_path)
    with pytest.raises(ValueError, match="too many to be filled"):
        open_shot(tmp_path, PlateSettings(gaps="hold"))


@pytest.mark.parametrize(("gaps", "levels"), [("hold", [0, 1, 1, 2, 2, 2, 3]), ("black", [0, 1, 0, 2, 0, 0, 3])])
def test_missing_frames_are_filled(tmp_path: Path, gaps: str, levels: list[int]) -> None:
    sequence(tmp_path, "shot.%04d.png", (1001, 1002, 1004, 1007))
    with open_shot(tmp_path, PlateSettings(gaps=gaps)) as shot:
        assert names_of(shot) == [f"shot.{number}" for number in range(1001, 1008)]
        assert shot.numbering.missing == {1003, 1005, 1006}
        assert frame_numbers(shot.read(0, 7)) == levels
        with shot.reopen() as again:
            assert frame_numbers(again.read(2, 5)) == levels[2:5]
            np.testing.assert_array_equal(again.read_linear(2, 3) > 0, levels[2] > 0)


def test_a_take_begins_behind_what_is_missing(tmp_path: Path) -> None:
    sequence(tmp_path, "shot.%04d.png", (1001, 1002, 1004, 1007))
    takes = {gaps: open_shot(tmp_path, PlateSettings(gaps=gaps)).numbering.takes for gaps in ("hold", "black")}
    assert takes == {"hold": (3, 6), "black": (2, 3, 4, 6)}
    with open_shot(tmp_path, PlateSettings(frames="1001-1002,1004,1007")) as shot:
        assert shot.numbering.takes == (2, 3)


@pytest.mark.parametrize(
    ("frames", "takes"),
    [
        ("1001-1010", ()),
        ("1001-1009x2", ()),
        ("1001-1003,1007-1010", (3,)),
        ("1001,1005", (1,)),
        ("1001,1004,1008", (1, 2)),
        ("1001-1005x2,1006-1010x2", ()),  # 1001, 1003, 1005, 1006, 1008, 1010
        ("1001,1010", (1,)),
    ],
)
def test_a_take_begins_where_the_distance_grows(tmp_path: Path, frames: str, takes: tuple[int, ...]) -> None:
    sequence(tmp_path, "shot.%04d.png", range(1001, 1011))
    assert open_shot(tmp_path, PlateSettings(frames=frames)).numbering.takes == takes


# ---- --frames


def test_only_the_frames_that_are_asked_for_are_read(tmp_path: Path) -> None:
    sequence(tmp_path, "shot.%04d.png", range(1001, 1011))
    (tmp_path / "shot.1001.png").write_bytes(b"damaged")
    Image.new("RGB", (30, 20)).save(tmp_path / "shot.1010.png")
    for frames, numbers in (("1003-1005", [2, 3, 4]), ("1002-1009x3", [1, 4, 7]), ("1009,1002-1003", [1, 2, 8])):
        with open_shot(tmp_path, PlateSettings(frames=frames)) as shot:
            assert shot.numbering.numbers == tuple(1001 + place for place in numbers)
            assert frame_numbers(shot.read(0, shot.frame_count)) == numbers


def test_frames_of_a_video_are_asked_for_from_1001_on(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", counting_frames(10), "ffv1", "bgr0")
    with open_shot(video, PlateSettings(frames="1003-1009x2")) as shot:
        assert (shot.frame_count, shot.numbering.range) == (4, "1003-1009x2")
        for read in (shot, shot.reopen()):
            assert frame_numbers(read.read(0, 2)) == [2, 4]
            assert frame_numbers(read.read(1, 4)) == [4, 6, 8]
            assert frame_numbers(read.read(0, 1)) == [2]


def test_frames_that_there_are_none_of_are_refused_with_what_there_is(tmp_path: Path) -> None:
    sequence(tmp_path / "s", "shot.%04d.png", range(1001, 1005))
    video = write_video(tmp_path / "a.mkv", counting_frames(10), "ffv1", "bgr0")
    with pytest.raises(ValueError, match=r"has frames 1001-1004, not 999-1000,1005"):
        open_shot(tmp_path / "s", PlateSettings(frames="999-1005"))
    with pytest.raises(ValueError, match=r"a\.mkv has frames 1001-1010, not 1-10"):
        open_shot(video, PlateSettings(frames="1-10"))


def test_of_frames_that_are_asked_for_missing_ones_are_named_or_filled(tmp_path: Path) -> None:
    sequence(tmp_path, "shot.%04d.png", (1001, 1002, 1004, 1005, 1008))
    with pytest.raises(ValueError, match="lacks 1003:"):
        open_shot(tmp_path, PlateSettings(frames="1001-1005"))
    assert open_shot(tmp_path, PlateSettings(frames="1001-1002,1004-1005")).frame_count == 4
    with open_shot(tmp_path, PlateSettings(frames="1003-1007", gaps="hold")) as shot:
        assert shot.numbering.range == "1003-1007"
        assert frame_numbers(shot.read(0, 5)) == [2, 2, 3, 3, 3]
    with pytest.raises(ValueError, match="None of the frames 1006-1007"):
        open_shot(tmp_path, PlateSettings(frames="1006-1007", gaps="hold"))


@pytest.mark.parametrize(
    "text", ["", " ", "x", "1-", "1.5-3", "1001x2", "1-10x0", "1-99999999999", "1001;1002", "9" * 30]
)
def test_what_is_no_range_of_frames_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no range of frames: give numbers such as 1001-1050"):
        parse_range(text)


def test_ranges_are_written_as_they_are_read() -> None:
    for numbers in ((5,), (1001, 1002), (-2, -1, 0), (1, 3, 5, 7), (1, 2, 3, 10), (1001, 1004)):
        assert parse_range(frame_range(numbers)) == numbers
    assert frame_range(tuple(range(987, 1011))) == "987-1010"
    assert frame_range(tuple(range(987, 991)), 4) == "0987-0990"
    assert frame_range((987, 989, 991), 4) == "0987-0991x2"


# ---- timecode


def code(hours: int, frames: int) -> OpenEXR.TimeCode:
    return OpenEXR.TimeCode(hours, 0, 0, frames, 0, 0, 0, *(0,) * 11)


def test_a_frames_timecode_is_its_own_or_the_first_ones_and_its_distance(tmp_path: Path) -> None:
    headers = {1001: {"timeCode": code(1, 0)}, 1002: {"timeCode": code(2, 7)}, 1003: {}, 1005: {"timeCode": code(1, 4)}}
    for number, header in headers.items():
        pixels = {"RGB": np.zeros((16, 20, 3), np.float32)}
        write_exr(tmp_path / f"s.{number}.exr", pixels, framesPerSecond=Fraction(24), **header)
    with open_shot(tmp_path, PlateSettings(gaps="hold")) as shot:
        codes = [shot.timecode_of(index) for index in range(5)]
    # 1004 is missing: the file that is shown in its place says nothing of its time
    assert codes == ["01:00:00:00", "02:00:00:07", "01:00:00:02", "01:00:00:03", "01:00:00:04"]
    with open_shot(tmp_path, PlateSettings(frames="1002,1005")) as shot:
        assert shot.info.timecode == "02:00:00:07"


def test_what_stands_in_for_a_missing_first_frame_does_not_set_the_clock(tmp_path: Path) -> None:
    for number in (1001, 1006, 1008):
        code = OpenEXR.TimeCode(1, 0, 0, number - 1000, *(0,) * 14)
        write_exr(tmp_path / f"t.{number}.exr", {"RGB": np.zeros((16, 24, 3), np.float16)}, timeCode=code)
    with open_shot(tmp_path, PlateSettings(frames="1004-1008", gaps="hold")) as shot:
        codes = [shot.timecode_of(index) for index in range(5)]
        assert codes == [f"01:00:00:{frame:02}" for frame in (4, 5, 6, 7, 8)]
        assert shot.info.timecode == "01:00:00:04"


def test_a_part_of_a_video_begins_at_its_own_timecode(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mov"
    with av.open(path, "w") as container:
        stream = container.add_stream("prores_ks", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv422p10le"
        stream.metadata["timecode"] = "01:00:00:00"
        for frame in counting_frames(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with open_shot(path, PlateSettings(frames="1003,1006")) as shot:
        assert shot.info.timecode == "01:00:00:02"
        assert [shot.timecode_of(index) for index in (0, 1)] == ["01:00:00:02", "01:00:00:05"]
        shot.read(0, 2)
        assert shot.reopen().info.timecode == shot.info.timecode == "01:00:00:02"


def test_sequences_are_told_apart_without_being_opened(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("b.0002.exr", "a_v001.exr", "b.0001.exr")]
    assert [one.told for one in sequences_in(files)] == ["a_v001.exr", "b.####.exr (1-2)"]
    with pytest.raises(FileNotFoundError):
        find_sequence(tmp_path / "nowhere")

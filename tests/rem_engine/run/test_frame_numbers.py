"""A shot's names and numbers in every file of a run, in run.json and in the masks that `matte` is given."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from delivered import openexr_header
from PIL import Image
from plate_files import write_exr
from red_model import HEIGHT, NEUTRAL, WIDTH, RedBackbone, check_refused, deliver, files_of, read
from stops import stop_at
from torch import Tensor
from video_files import write_video

from rem_engine import Segmenter
from rem_engine.commands.cli import main
from rem_engine.media import open_shot
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.run.folder import RunFolder

pytestmark = pytest.mark.usefixtures("fake_model")

EVERY_KIND = "masks,soft,overlay,alpha,png16,exr,prores"


def frame(number: int) -> np.ndarray:
    """A red disc that moves with the frame's number."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    made = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    made[np.hypot(y - 16, x - 10 - 3 * (number % 10)) < 8, 0] = 230
    return made


def plate(folder: Path, numbers: Iterable[int], form: str = "AGM_104_PL01_v001.%04d.png") -> Path:
    folder.mkdir()
    for number in numbers:
        Image.fromarray(frame(number)).save(folder / (form % number))
    return folder


def mask(folder: Path, numbers: Iterable[int], form: str = "m.%04d.png") -> Path:
    """Masks of one value each: `shade` of their numbers."""
    folder.mkdir()
    for number in numbers:
        Image.new("L", (WIDTH, HEIGHT), shade(number)).save(folder / (form % number))
    return folder


def shade(number: int) -> int:
    return 110 + 12 * (number % 100)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def run_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text("utf-8"))


# ---- segment


@pytest.mark.parametrize(
    ("form", "title", "first"),
    [
        ("AGM_104_PL01_v001.%04d.png", "AGM_104_PL01_v001", 987),
        ("shot_%05d.png", "shot", 99998),
        ("f%d.png", "f", 8),
        ("x.%04d.left.png", "x.left", 1001),
    ],
)
def test_every_file_keeps_the_plates_name_and_number(tmp_path: Path, form: str, title: str, first: int) -> None:
    numbers, out = range(first, first + 4), tmp_path / "out"
    shot = plate(tmp_path / "p", numbers, form)
    assert deliver(shot, out, "--write", EVERY_KIND, "--combine", "exclusive", *NEUTRAL) == 0
    pictures = sorted(form % number for number in numbers)
    for folder in ("smoke/masks", "smoke/soft", "smoke/alpha", "smoke/png16", "ids"):
        assert names(out / folder) == pictures
    assert names(out / "exr") == [name.replace(".png", ".exr") for name in pictures]
    assert (out / "smoke" / f"{title}.mov").is_file() and (out / "overlay.mp4").is_file()
    told = run_of(out)["shot"]
    assert (told["name"], told["frames"], told["numbers"]) == (title, 4, f"{first}-{first + 3}")
    # What lies there is read as a shot of the same numbers, and as masks of it.
    with open_shot(out / "smoke" / "png16") as again:
        assert again.numbering.numbers == tuple(numbers)
    assert main(["matte", str(shot), "--masks", str(out), "-o", str(tmp_path / "mattes"), *NEUTRAL]) == 0
    assert files_of(tmp_path / "mattes" / "smoke" / "alpha") == files_of(out / "smoke" / "alpha")


def test_start_renumbers_and_name_renames(tmp_path: Path) -> None:
    shot, out = plate(tmp_path / "p", range(987, 990)), tmp_path / "out"
    given = ("--write", "masks,exr", "--start", "1001", "--padding", "6", "--name", "sh010")
    assert deliver(shot, out, *given, *NEUTRAL) == 0
    assert names(out / "exr") == [f"sh010.{number:06}.exr" for number in (1001, 1002, 1003)]
    assert names(out / "smoke" / "masks") == [f"sh010.{number:06}.png" for number in (1001, 1002, 1003)]
    told = run_of(out)["shot"]
    assert (told["name"], told["numbers"], told["plate_numbers"]) == ("sh010", "1001-1003", "987-989")
    # Masks under the new numbers lie on the frames that they were made of.
    again = ("-o", str(tmp_path / "mattes"), "--write", "exr", *given[2:], *NEUTRAL)
    assert main(["matte", str(shot), "--masks", str(out / "smoke" / "masks"), *again]) == 0
    assert names(tmp_path / "mattes" / "exr") == names(out / "exr")


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden"])
def test_a_name_that_no_file_begins_with_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    given = ["segment", str(plate(tmp_path / "p", (1, 2))), "-p", "x", "-o", str(tmp_path / "out"), "--name", name]
    check_refused(given, "cannot begin the name of a file", capsys)


def test_a_video_counts_from_1001_and_its_masks_with_it(tmp_path: Path) -> None:
    frames = np.stack([frame(number) for number in range(5)])
    video, out = write_video(tmp_path / "shot_0987.mkv", frames, "ffv1", "bgr0"), tmp_path / "out"
    assert deliver(video, out, "--write", "soft,exr", *NEUTRAL) == 0
    assert names(out / "exr") == [f"shot_0987.{number}.exr" for number in range(1001, 1006)]
    assert names(out / "smoke" / "soft") == [f"shot_0987.{number}.png" for number in range(1001, 1006)]


def test_only_the_frames_that_were_asked_for_are_delivered(tmp_path: Path) -> None:
    shot, out = plate(tmp_path / "p", range(1001, 1011)), tmp_path / "out"
    assert deliver(shot, out, "--write", "alpha", "--frames", "1002-1008x3", *NEUTRAL) == 0
    expected = [f"AGM_104_PL01_v001.{number}.png" for number in (1002, 1005, 1008)]
    assert names(out / "smoke" / "alpha") == expected
    run = run_of(out)
    assert run["shot"]["numbers"] == "1002-1008x3"
    assert run["delivery"]["files"] == ["smoke/alpha/AGM_104_PL01_v001.1002-1008x3.png"]
    assert run["cuts"] == []
    given = ["segment", str(shot), "-p", "x", "-o", str(tmp_path / "other"), "--frames", "990-1002"]
    assert main(given) == 2 and not (tmp_path / "other").exists()


def test_a_pattern_is_a_shot_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = plate(tmp_path / "p", range(1, 4), "a.%04d.png"), tmp_path / "out"
    for number in range(1, 4):
        Image.fromarray(frame(5)).save(folder / f"b.{number:04}.png")
    check_refused(
        ["segment", str(folder), "-p", "x", "-o", str(out)], "2 sequences or pictures, a.####.png (1-3), b.", capsys
    )
    assert deliver(folder / "b.%04d.png", out, "--write", "masks") == 0
    assert names(out / "smoke" / "masks") == ["b.0001.png", "b.0002.png", "b.0003.png"]
    assert main(["matte", str(folder / "b.@@@@.png"), "--masks", f"{out}/smoke/masks/b.####.png", "-o", str(out)]) == 0
    assert names(out / "smoke" / "alpha") == ["b.0001.png", "b.0002.png", "b.0003.png"]


# ---- gaps


def test_missing_frames_are_refused_by_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot = plate(tmp_path / "p", (1001, 1002, 1004, 1005))
    check_refused(["segment", str(shot), "-p", "x", "-o", str(tmp_path / "out")], "(1001-1005) lacks 1003:", capsys)
    masks = mask(tmp_path / "m", range(1001, 1006))
    given = ["matte", str(shot), "--masks", str(masks), "-o", str(tmp_path / "out")]
    check_refused(given, "(1001-1005) lacks 1003:", capsys)


@pytest.mark.parametrize("smooth", ["0", "2"])
def test_held_frames_are_those_before_once_more(
    tmp_path: Path, smooth: str, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, out = (1001, 1002, 1005, 1006), tmp_path / "out"
    shot = plate(tmp_path / "p", numbers)
    write = ("--write", "masks,soft,overlay,alpha,png16,exr", "--gaps", "hold", "--smooth", smooth, "--cuts", "none")
    assert deliver(shot, out, *write) == 0
    assert "AGM_104_PL01_v001.#### lacks 1003-1004: in their place stands the frame before" in capsys.readouterr().err
    for folder in ("smoke/masks", "smoke/soft", "smoke/alpha", "smoke/png16"):
        files = [out / folder / f"AGM_104_PL01_v001.{number}.png" for number in range(1001, 1007)]
        assert names(out / folder) == [file.name for file in files]
        pictures = [read(file) for file in files]
        np.testing.assert_array_equal(pictures[2], pictures[1])
        np.testing.assert_array_equal(pictures[3], pictures[1])
        assert (pictures[4] != pictures[1]).any()
    assert len(names(out / "exr")) == 6
    told = run_of(out)["shot"]
    assert (told["numbers"], told["missing"], told["gaps"]) == ("1001-1006", "1003-1004", "hold")
    with open_shot(out / "overlay.mp4") as overlay:
        assert overlay.frame_count == 6
    # Neither model nor smoothing looks across: both sides are as if they were alone.
    for first, last in ((1001, 1002), (1005, 1006)):
        alone = tmp_path / f"alone{first}"
        assert deliver(shot, alone, *write, "--frames", f"{first}-{last}") == 0
        of_alone = files_of(alone / "smoke" / "alpha")
        assert of_alone.items() <= files_of(out / "smoke" / "alpha").items() and len(of_alone) == 2


def test_black_frames_are_black_and_their_mattes_empty(tmp_path: Path) -> None:
    shot, out = plate(tmp_path / "p", (1001, 1002, 1004, 1005)), tmp_path / "out"
    write = ("--write", "masks,soft,png16", "--gaps", "black", "--cuts", "none", "--invert")
    assert deliver(shot, out, *write) == 0
    for kind in ("masks", "soft", "png16"):
        assert read(out / "smoke" / kind / "AGM_104_PL01_v001.1003.png").max() == 0
        assert read(out / "smoke" / kind / "AGM_104_PL01_v001.1004.png").max() > 0
    assert run_of(out)["cuts"] == [2, 3]
    alone = tmp_path / "alone"
    assert deliver(shot, alone, *write, "--frames", "1001-1002") == 0
    assert files_of(alone / "smoke" / "png16").items() <= files_of(out / "smoke" / "png16").items()


def test_windows_end_where_frames_are_missing(tmp_path: Path) -> None:
    shot = plate(tmp_path / "p", (*range(1001, 1008), *range(1010, 1018)))
    seen: list[tuple[int, ...]] = []

    class Spying(RedBackbone):
        def encode_video(self, frames: Tensor) -> Tensor:
            seen.append(tuple(frames.flatten(1).sum(dim=1).tolist()))
            return super().encode_video(frames)

    segmenter = Segmenter(Spying())
    with open_shot(shot, PlateSettings(gaps="hold")) as frames:
        embeds = segmenter.encode_prompts(["x"])
        chunks = list(segmenter.stream(frames, embeds, takes=frames.numbering.takes))
    assert chunks[-1].cuts == (9,)
    with open_shot(shot, PlateSettings(frames="1010-1017")) as behind:
        alone = Segmenter(Spying())
        first = len(seen)
        list(alone.stream(behind, embeds))
    assert seen[first:] == seen[first - len(seen[first:]) : first]


@pytest.mark.parametrize("gaps", ["hold", "black"])
@pytest.mark.parametrize("call", [2, 3, 4, 5])
@pytest.mark.parametrize("write", ["soft,exr", "exr"])
def test_a_run_that_is_stopped_at_a_gap_goes_on_to_the_same_end(
    tmp_path: Path, gaps: str, call: int, write: str
) -> None:
    shot = plate(tmp_path / "p", (1001, 1002, 1005, 1006, 1007))
    options = ("--write", write, "--gaps", gaps, "--smooth", "1")
    assert deliver(shot, tmp_path / "once", *options) == 0
    with stop_at(call, RunFolder, "write_frame"):
        assert deliver(shot, tmp_path / "twice", *options) == 130
    assert deliver(shot, tmp_path / "twice", *options) == 0
    once, twice = (files_of(tmp_path / name) for name in ("once", "twice"))
    assert {**once, "run.json": b""} == {**twice, "run.json": b""} and len(once) >= 8


# ---- timecode


def test_each_exr_has_the_timecode_of_its_own_frame(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for number, hours in ((1001, 1), (1002, 5), (1004, None)):
        code = {} if hours is None else {"timeCode": OpenEXR.TimeCode(hours, 0, 0, 3, 0, 0, 0, *(0,) * 11)}
        pixels = {"RGB": np.full((HEIGHT, WIDTH, 3), 0.2, np.float32)}
        write_exr(tmp_path / "p" / f"s.{number}.exr", pixels, framesPerSecond=Fraction(24), **code)
    out = tmp_path / "out"
    assert deliver(tmp_path / "p", out, "--write", "exr", "--gaps", "hold", "--start", "1", *NEUTRAL) == 0
    codes = [openexr_header(out / "exr" / f"s.{number:04}.exr")["timeCode"] for number in (1, 2, 3, 4)]
    assert [(code.hours, code.frame) for code in codes] == [(1, 3), (5, 3), (1, 5), (1, 6)]


# ---- matte


def values(out: Path, title: str = "AGM_104_PL01_v001") -> dict[int, int]:
    """The one value of each delivered alpha, of 8 bits, by its number."""
    return {
        int(file.stem.rpartition(".")[2]): round(read(file).max() / 257)
        for file in sorted((out / "m" / "alpha").iterdir())
    }


def test_masks_lie_on_the_frames_of_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot, masks = plate(tmp_path / "p", range(1001, 1005)), mask(tmp_path / "m", (1001, 1002, 1004, 1005))
    out = tmp_path / "out"
    given = ["matte", str(shot), "--masks", str(masks), *NEUTRAL]
    assert main([*given, "-o", str(out)]) == 0
    assert values(out) == {1001: shade(1), 1002: shade(2), 1003: 0, 1004: shade(4)}
    said = capsys.readouterr().err
    assert f"The masks in {masks} have none of frames 1003: the matte is empty there." in said
    assert f"The masks 1005 in {masks} are of no frame: they are left aside." in said
    assert main([*given, "-o", str(tmp_path / "held"), "--gaps", "hold"]) == 0
    assert values(tmp_path / "held") == {1001: shade(1), 1002: shade(2), 1003: shade(2), 1004: shade(4)}


def test_before_the_first_mask_no_other_stands_and_it_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shot, masks = plate(tmp_path / "p", range(1001, 1005)), mask(tmp_path / "m", (1002, 1004))
    given = ["matte", str(shot), "--masks", str(masks), "-o", str(tmp_path / "out"), "--gaps", "hold", *NEUTRAL]
    assert main(given) == 0
    assert values(tmp_path / "out") == {1001: 0, 1002: shade(2), 1003: shade(2), 1004: shade(4)}
    said = capsys.readouterr().err
    assert f"The masks in {masks} have none of frames 1001: the matte is empty there." in said
    assert f"The masks in {masks} have none of frames 1003: the mask before stands in its place." in said


def test_masks_of_a_part_are_no_reason_to_speak_of_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot, masks = plate(tmp_path / "p", range(1001, 1011)), mask(tmp_path / "m", range(1001, 1011))
    given = ["matte", str(shot), "--masks", str(masks), "-o", str(tmp_path / "out"), "--frames", "1004-1008x2"]
    assert main([*given, *NEUTRAL]) == 0
    assert values(tmp_path / "out") == {1004: shade(4), 1006: shade(6), 1008: shade(8)}
    assert "of no frame" not in capsys.readouterr().err


def test_masks_of_other_numbers_are_refused_with_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot, masks = plate(tmp_path / "p", range(1001, 1005)), mask(tmp_path / "m", range(1, 5))
    sentence = "(1-4) has the number of a frame of AGM_104_PL01_v001 (1001-1004): masks lie on"
    check_refused(["matte", str(shot), "--masks", str(masks), "-o", str(tmp_path / "out")], sentence, capsys)


def test_a_video_counts_as_its_masks_do_where_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.stack([frame(number) for number in range(4)])
    video, masks = write_video(tmp_path / "v.mkv", frames, "ffv1", "bgr0"), mask(tmp_path / "m", range(4))
    given = ["matte", str(video), "--masks", str(masks), "-o", str(tmp_path / "out"), *NEUTRAL]
    check_refused(given, "give --start 0, so that the shot", capsys)
    assert main([*given, "--start", "0"]) == 0
    assert values(tmp_path / "out") == {number: shade(number) for number in range(4)}


def test_masks_without_numbers_go_from_the_first_frame_on(tmp_path: Path) -> None:
    shot = plate(tmp_path / "p", (1001, 1002, 1004, 1005))
    for count in (5, 4):  # one a number, or one a frame that is there
        grey = np.stack([np.full((HEIGHT, WIDTH, 3), shade(place), np.uint8) for place in range(1, count + 1)])
        write_video(tmp_path / "m.mkv", grey, "ffv1", "bgr0")
        out = tmp_path / f"out{count}"
        given = ["matte", str(shot), "--masks", str(tmp_path / "m.mkv"), "-o", str(out), "--gaps", "hold", *NEUTRAL]
        assert main(given) == 0
        assert list(values(out)) == [1001, 1002, 1003, 1004, 1005]
        assert values(out)[1005] == shade(count) and values(out)[1002] == values(out)[1003] == shade(2)


def test_of_a_part_masks_without_numbers_are_those_of_the_whole(tmp_path: Path) -> None:
    grey = np.stack([np.full((HEIGHT, WIDTH, 3), shade(place), np.uint8) for place in range(8)])
    masks = write_video(tmp_path / "m.mkv", grey, "ffv1", "bgr0")
    video = write_video(tmp_path / "v.mkv", np.stack([frame(number) for number in range(8)]), "ffv1", "bgr0")
    for shot, name in ((plate(tmp_path / "p", range(1001, 1009)), "AGM"), (video, "v")):
        out = tmp_path / name
        given = ["matte", str(shot), "--masks", str(masks), "-o", str(out), "--frames", "1003-1007x2", *NEUTRAL]
        assert main(given) == 0
        assert values(out) == {1003: shade(2), 1005: shade(4), 1007: shade(6)}


def test_an_array_of_a_part_is_laid_on_the_whole_shot_by_the_runs_account(tmp_path: Path) -> None:
    shot, out = plate(tmp_path / "p", range(1001, 1011)), tmp_path / "out"
    assert deliver(shot, out, "--write", "npz", "--frames", "1004-1006") == 0
    assert main(["matte", str(shot), "--masks", str(out), "-o", str(tmp_path / "mattes"), *NEUTRAL]) == 0
    filled = [read(file).any() for file in sorted((tmp_path / "mattes" / "smoke" / "alpha").iterdir())]
    assert filled == [1004 <= number <= 1006 for number in range(1001, 1011)]

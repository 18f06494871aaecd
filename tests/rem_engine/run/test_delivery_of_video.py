"""What a video says of time, fields, light and sound is in what is delivered of it, and is said."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from delivered import openexr_header, video_alpha
from red_model import NEUTRAL, deliver
from stops import stop_at
from video_files import MILLISECOND, decoded, first_field, scene, shown_at, turn, write_video

from rem_engine.commands.cli import main
from rem_engine.media import open_shot
from rem_engine.run.delivery import Delivery

pytestmark = pytest.mark.usefixtures("fake_model")

# 8 frames at 30 a second, then 8 at 10 a second, in ticks of 1/90000 s.
CHANGING = [*range(0, 24000, 3000), *range(24000, 96000, 9000)]
TICK = Fraction(1, 90000)


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    return write_video(tmp_path / "vfr.mp4", scene(16), rate=30, stamps=CHANGING, tick=TICK)


def run_json(out: Path) -> dict:
    return json.loads((out / "run.json").read_text("utf-8"))["shot"]


# ---- time


def test_every_video_keeps_the_times_of_a_variable_rate(
    changing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert deliver(changing, out, "--write", "overlay,prores,webm,exr,soft") == 0
    said = "vfr.mp4 has a variable frame rate, 10 to 30 frames per second"
    assert said in capsys.readouterr().err
    times = [float(stamp - CHANGING[0]) / 90000 for stamp in CHANGING]
    for name in ("overlay.mp4", "smoke/vfr.mov", "smoke/vfr.webm"):
        # WebM's clock has milliseconds.
        assert [float(time) for time in shown_at(out / name)] == pytest.approx(times, abs=6e-4), name
    assert shown_at(out / "smoke" / "vfr.mov") == [Fraction(stamp, 90000) for stamp in CHANGING]
    last = decoded(out / "smoke" / "vfr.mov")[-1]
    assert last.duration * last.time_base == Fraction(1, 10)
    assert {openexr_header(file)["framesPerSecond"] for file in (out / "exr").iterdir()} == {Fraction(30)}
    shot = run_json(out)
    assert shot["fps"] == 30 and shot["variable_rate"] == [10, 30] and shot["notes"][0].startswith(said)


def test_times_stay_right_where_a_stopped_run_goes_on(changing: Path, tmp_path: Path) -> None:
    options = ("--write", "overlay,prores,soft,exr")
    with stop_at(10, Delivery, "write"):
        assert deliver(changing, tmp_path / "out", *options) == 130
    assert deliver(changing, tmp_path / "out", *options) == 0
    for name in ("overlay.mp4", "smoke/vfr.mov"):
        assert shown_at(tmp_path / "out" / name) == [Fraction(stamp, 90000) for stamp in CHANGING]


def test_matte_keeps_the_times_too(changing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert deliver(changing, tmp_path / "masks", "--write", "soft") == 0
    capsys.readouterr()
    masks = str(tmp_path / "masks" / "smoke" / "soft")
    assert main(["matte", str(changing), "--masks", f"a={masks}", "-o", str(tmp_path / "out"), "--write", "webm"]) == 0
    assert "variable frame rate" in capsys.readouterr().err
    times = [float(time) for time in shown_at(tmp_path / "out" / "a" / "vfr.webm")]
    assert times == pytest.approx([stamp / 90000 for stamp in CHANGING], abs=6e-4)
    assert run_json(tmp_path / "out")["variable_rate"] == [10, 30]


def test_frames_that_were_chosen_keep_their_times(changing: Path, tmp_path: Path) -> None:
    assert deliver(changing, tmp_path / "out", "--write", "prores", "--frames", "1007-1010") == 0
    assert shown_at(tmp_path / "out" / "smoke" / "vfr.mov") == [Fraction(n, 30) for n in (0, 1, 2, 5)]


def test_the_overlay_keeps_times_without_libx264(
    changing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    assert deliver(changing, tmp_path / "out", "--write", "overlay") == 0
    assert shown_at(tmp_path / "out" / "overlay.mp4") == [Fraction(stamp, 90000) for stamp in CHANGING]


def test_a_constant_rate_is_said_by_nobody(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scene(6), rate=24)
    assert deliver(path, tmp_path / "out", "--write", "prores") == 0
    assert run_json(tmp_path / "out").keys().isdisjoint({"variable_rate", "fields", "notes", "hdr"})
    with av.open(tmp_path / "out" / "smoke" / "a.mov") as container:
        assert container.streams.video[0].average_rate == 24
    assert b"fiel\x02" not in (tmp_path / "out" / "smoke" / "a.mov").read_bytes()


# ---- fields


@pytest.mark.parametrize(("fields", "order"), [("tff", "top"), ("bff", "bottom")])
@pytest.mark.parametrize("flags", [{"flags": "+ildct+ilme"}, {}], ids=["coded as fields", "said by the header alone"])
def test_the_order_of_fields_is_kept_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: str, order: str, flags: dict[str, str]
) -> None:
    codec, pix_fmt = ("mpeg2video", "yuv422p") if flags else ("v210", "yuv422p10le")
    name = "a.mxf" if flags else "a.mov"
    path = write_video(tmp_path / name, scene(6), codec, pix_fmt, 25, fields=fields, options=flags)
    assert deliver(path, tmp_path / "out", "--write", "prores,webm,exr") == 0
    said = f"{name} is interlaced, {order} field first: its fields stay as they are, videos keep their order."
    assert said in capsys.readouterr().err
    shot = run_json(tmp_path / "out")
    assert shot["fields"] == f"{order} first" and said in shot["notes"]
    mov = tmp_path / "out" / "smoke" / "a.mov"
    assert {first_field(frame) for frame in decoded(mov)} == {order}
    data = mov.read_bytes()
    atom = data.index(b"fiel")  # QuickTime: two fields, and which of them comes first
    assert data[atom + 4 : atom + 6] == (b"\x02\x01" if order == "top" else b"\x02\x06")
    webm = (tmp_path / "out" / "smoke" / "a.webm").read_bytes()
    assert b"\x9a\x81\x01" in webm  # FlagInterlaced
    with open_shot(mov) as again:
        assert again.info.field_order == order


def test_fields_lie_where_they_lay(tmp_path: Path) -> None:
    frames = np.zeros((4, 48, 64, 3), np.uint8)
    frames[:, ::2] = 200  # the top field is bright, the bottom one dark
    path = write_video(tmp_path / "a.mov", frames, "v210", "yuv422p10le", 25, fields="tff")
    assert deliver(path, tmp_path / "out", "--write", "prores", *NEUTRAL) == 0
    for frame in decoded(tmp_path / "out" / "smoke" / "a.mov"):
        picture = frame.to_ndarray(format="rgb24")
        assert picture[::2].mean() > 190 and picture[1::2].mean() < 10


@pytest.mark.parametrize(
    ("matrix", "order"),
    [((-1, 0, 0, 1), "top"), ((1, 0, 0, -1), "bottom"), ((-1, 0, 0, -1), "bottom"), ((0, 1, -1, 0), None)],
)
def test_fields_change_places_where_the_picture_is_turned_upside_down(
    tmp_path: Path, matrix: tuple[int, int, int, int], order: str | None
) -> None:
    options = {"flags": "+ildct+ilme"}
    path = turn(write_video(tmp_path / "a.mp4", scene(3), rate=25, fields="tff", options=options), *matrix)
    with open_shot(path) as shot:
        assert shot.info.field_order == order
        assert ("no video can say" in shot.info.notes[0]) == (order is None)


# ---- light

MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
PLACES = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)  # the same: red, green, blue, white


def write_hdr(path: Path, transfer: int) -> Path:
    params = f"log-level=none:master-display={MASTERING}:max-cll=987,400"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx265", rate=24, options={"x265-params": params})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        tags = {"color_primaries": 9, "color_trc": transfer, "colorspace": 9}
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for frame in scene(4):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p10le")
            for name, value in tags.items():
                setattr(picture, name, value)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def hdr_of(frame: av.VideoFrame) -> dict[str, list[float]]:
    """Metadata as FFmpeg's structures hold them: ratios of red, green, blue, white, darkest, brightest; light."""
    found = {data.type.name: bytes(data) for data in (frame.side_data[i] for i in range(len(frame.side_data)))}
    read = {}
    if "MASTERING_DISPLAY_METADATA" in found:
        numbers = np.frombuffer(found["MASTERING_DISPLAY_METADATA"], np.int32)
        assert [*numbers[20:22]] == [1, 1]
        read["mastering"] = [*(numbers[0:20:2] / numbers[1:20:2])]
    if "CONTENT_LIGHT_LEVEL" in found:
        read["light"] = [*np.frombuffer(found["CONTENT_LIGHT_LEVEL"], np.uint32)[:2]]
    return read


needs_x265 = pytest.mark.skipif("libx265" not in av.codecs_available, reason="this PyAV writes no HEVC")


@needs_x265
@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_metadata_go_into_prores_exr_and_run_json(tmp_path: Path, transfer: int) -> None:
    path = write_hdr(tmp_path / "hdr.mp4", transfer)
    plate = hdr_of(decoded(path)[0])
    assert plate["mastering"] == pytest.approx([*PLACES, 0.0001, 1000]) and plate["light"] == [987, 400]
    assert deliver(path, tmp_path / "out", "--write", "prores,webm,exr", "--sound") == 0
    mov = tmp_path / "out" / "smoke" / "hdr.mov"
    with av.open(mov) as container:
        tags = container.streams.video[0].codec_context
        assert tags.color_trc == transfer
    delivered = hdr_of(decoded(mov)[0])
    assert delivered["mastering"] == pytest.approx(plate["mastering"], abs=1e-5) and delivered["light"] == [987, 400]
    webm = tmp_path / "out" / "smoke" / "hdr.webm"
    delivered = hdr_of(decoded(webm)[0])
    assert delivered["mastering"] == pytest.approx(plate["mastering"], abs=1e-5) and delivered["light"] == [987, 400]
    with av.open(webm) as container:
        assert container.streams.video[0].codec_context.color_trc == transfer
    assert len(video_alpha(mov)) == len(video_alpha(webm)) == 4  # nothing else was moved
    hdr = run_json(tmp_path / "out")["hdr"]
    assert hdr["primaries"] == pytest.approx(PLACES) and hdr["luminance"] == [0.0001, 1000]
    assert (hdr["max_cll"], hdr["max_fall"]) == (987, 400)
    header = openexr_header(next((tmp_path / "out" / "exr").iterdir()))
    assert header["masteringDisplay"] == "0.68 0.32 0.265 0.69 0.15 0.06 0.3127 0.329"
    assert (header["masteringLuminance"], header["maxCLL"], header["maxFALL"]) == ("0.0001 1000", 987, 400)


@needs_x265
def test_a_file_that_is_tagged_as_no_hdr_says_nothing_of_it(tmp_path: Path) -> None:
    path = write_hdr(tmp_path / "hdr.mp4", 1)
    assert deliver(path, tmp_path / "out", "--write", "prores,webm") == 0
    for name in ("hdr.mov", "hdr.webm"):
        assert hdr_of(decoded(tmp_path / "out" / "smoke" / name)[0]) == {}


# ---- the shape of pixels


def test_anamorphic_pixels_keep_their_shape_in_every_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scene(3), aspect=Fraction(2))
    assert deliver(path, tmp_path / "out", "--write", "overlay,prores,webm") == 0
    for name in ("overlay.mp4", "smoke/a.mov", "smoke/a.webm"):
        with av.open(tmp_path / "out" / name) as container:
            assert container.streams.video[0].sample_aspect_ratio == 2, name


def test_timecode_goes_by_the_time_where_the_rate_varies(tmp_path: Path) -> None:
    stamps = [0, 33, 67, 267, 467]
    path = write_video(
        tmp_path / "a.mkv", scene(5), rate=30, stamps=stamps, tick=MILLISECOND, tags={"timecode": "01:00:00:28"}
    )
    assert deliver(path, tmp_path / "out", "--write", "exr") == 0
    codes = [openexr_header(file)["timeCode"] for file in sorted((tmp_path / "out" / "exr").iterdir())]
    assert [(code.seconds, code.frame) for code in codes] == [(0, 28), (0, 29), (1, 0), (1, 6), (1, 12)]

"""VIDEOs of every kind inside each ComfyUI found: Segment Shot sees the frames that the host itself gives of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from in_comfyui import report_of

FRAMES, SIZE = 24, (48, 64)
NO_TRIM = "this ComfyUI cannot trim a VIDEO"


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/trim_in_host.py found in one ComfyUI."""
    folder = tmp_path_factory.mktemp("video_inputs")
    write_videos(folder / "shots")
    return report_of("trim_in_host.py", host, folder, folder / "shots")


def write_videos(folder: Path) -> None:
    """A second at 24 frames: losslessly, with B-frames, at 23.976 in milliseconds, and with times that vary."""
    folder.mkdir()
    rng = np.random.default_rng(4)
    pictures = rng.integers(0, 256, (FRAMES, SIZE[0] // 8, SIZE[1] // 8, 3)).astype(np.uint8)
    pictures = pictures.repeat(8, axis=1).repeat(8, axis=2)
    film = Fraction(24000, 1001)
    for name, codec, pix_fmt, rate, options in (
        ("shot.mp4", "libx264rgb", "rgb24", 24, {"qp": "0"}),
        ("film.mkv", "libx264rgb", "rgb24", film, {"qp": "0", "bf": "3", "g": "9"}),
        ("varying.mkv", "ffv1", "bgra", 24, {}),
    ):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width, stream.pix_fmt = *SIZE, pix_fmt
            if name == "shot.mp4":
                stream.metadata["timecode"] = "01:00:00:00"
            if name == "varying.mkv":
                stream.codec_context.time_base = Fraction(1, 1000)
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                if name == "varying.mkv":
                    frame.pts, frame.time_base = number * 40 + (number % 3) * 7, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


@pytest.fixture
def frames(report: dict[str, Any]) -> dict[str, Any]:
    if not report["frames"]:
        pytest.skip(NO_TRIM)
    return report["frames"]


def test_a_trimmed_video_has_the_hosts_frames(frames: dict[str, Any]) -> None:
    assert len(frames) == 4 * 7
    for name, (ours, hosts, away, _) in frames.items():
        assert (ours, away < 2 / 255) == (hosts, True), name  # FFmpeg makes 254 of 255 in floats
    counts = [frames[f"shot.mp4, {span}"][0] for span in ("whole", "middle", "start", "end", "from the end", "twice")]
    assert counts == [24, 6, 8, 12, 6, 2]


def test_timecode_follows_the_trimmed_start(frames: dict[str, Any]) -> None:
    found = {span: frames[f"shot.mp4, {span}"][3] for span in ("whole", "middle", "end")}
    assert found == {"whole": "01:00:00:00", "middle": "01:00:00:06", "end": "01:00:00:12"}


def names(*numbers: int, of: str) -> list[str]:
    return [f"{of}.{number}.png" for number in numbers]


def test_files_are_numbered_from_the_trimmed_start(report: dict[str, Any]) -> None:
    delivered = report["delivered"]
    if "trimmed" not in delivered:
        pytest.skip(NO_TRIM)
    assert delivered["trimmed"]["files"] == names(*range(1001, 1007), of="trimmed")
    assert len(delivered["memory, trimmed"]["files"]) == 6
    assert len(delivered["trimmed, some frames"]["files"]) == 2
    assert delivered["beyond"] == ("ValueError: shot.mp4 shows no frame from 9 to 10 seconds: trim it otherwise.")


def test_what_a_class_makes_of_its_frames_is_honoured(report: dict[str, Any]) -> None:
    delivered = report["delivered"]
    assert len(delivered["cropped"]["files"]) == 4
    assert (delivered["cropped"]["shot"]["width"], delivered["cropped"]["shot"]["height"]) == (48, 32)
    assert len(delivered["plain"]["files"]) == FRAMES


def test_frames_in_memory_are_taken_by_the_rule_of_images(report: dict[str, Any]) -> None:
    delivered = report["delivered"]
    for name in ("half", "RGBA", "float rate"):
        assert len(delivered[name]["files"]) == 5, name
    assert "must lie in 0..1" in delivered["0..255"]
    assert delivered["no VIDEO"] == ("ValueError: The video is of type Tensor, which is no VIDEO: connect Load Video.")

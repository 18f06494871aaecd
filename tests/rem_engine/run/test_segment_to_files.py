"""The stream that the command line and the nodes share: any source of frames, watching, cancelling, counting time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from progress_log import Cancel, Cancelled
from red_model import FRAMES, HEIGHT, WIDTH, RedBackbone, files_of, read
from stops import disk_full, stop_at

from rem_engine import Segmenter, SegmentJob, segment_to_files
from rem_engine.frames import ArrayFrames
from rem_engine.layers import parse_layers
from rem_engine.matte import MatteSettings
from rem_engine.media import open_shot
from rem_engine.progress import SILENT, Progress
from rem_engine.run.clock import Clock
from rem_engine.run.delivery import Delivery

NEUTRAL = MatteSettings(black=0.0, white=1.0, refine=0)


def frames_of(shot: Path) -> ArrayFrames:
    with open_shot(shot) as frames:
        return ArrayFrames(frames.read(0, FRAMES).astype(np.float32) / 255)


def run(
    shot: Path,
    out: Path,
    write: tuple[str, ...],
    progress: Progress = SILENT,
    matte: MatteSettings = NEUTRAL,
    **options: object,
) -> dict:
    job = SegmentJob(out, parse_layers(["smoke: the smoke"]), "plate", write, matte=matte)
    return segment_to_files(Segmenter(RedBackbone()), frames_of(shot), job, progress=progress, **options)


def test_frames_in_memory_are_delivered_like_a_shot(shot: Path, tmp_path: Path) -> None:
    result = run(shot, tmp_path, ("exr", "alpha"))
    assert result["delivery"]["files"] == ["exr/plate.1001-1014.exr", "smoke/alpha/plate.1001-1014.png"]
    frames = frames_of(shot)
    soft = Segmenter(RedBackbone()).segment(frames, ["the smoke"]).soft[0].numpy()
    for index in range(FRAMES):
        stored = read(tmp_path / "smoke" / "alpha" / f"plate.{1001 + index}.png")
        np.testing.assert_array_equal(stored, np.rint(soft[index].astype(float).clip(0, 1) * 65535))
    channels = OpenEXR.File(str(tmp_path / "exr" / "plate.1003.exr"), separate_channels=True).channels()
    plate = frames.read(2, 3)[0].astype(float)
    linear = np.where(plate <= 0.04045, plate / 12.92, ((plate + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    for place, name in enumerate("RGB"):
        np.testing.assert_allclose(channels[name].pixels, linear[..., place], rtol=1e-3, atol=1e-4)


def test_every_frame_is_shown_once_with_its_finished_matte(shot: Path, tmp_path: Path) -> None:
    seen = []
    matte = replace(NEUTRAL, black=0.2, white=0.7, grow=2, smooth=3)
    run(shot, tmp_path, ("soft", "alpha"), matte=matte, viewer=lambda *given: seen.append(given))
    assert [index for index, _, _ in seen] == list(range(FRAMES))
    frames = frames_of(shot)
    for index, plate, alpha in seen:
        assert plate.dtype == np.uint8 and alpha.shape == (1, HEIGHT, WIDTH)
        np.testing.assert_array_equal(plate, np.rint(frames.read(index, index + 1)[0] * 255))
        delivered = read(tmp_path / "smoke" / "alpha" / f"plate.{1001 + index}.png")
        np.testing.assert_array_equal(delivered, np.rint(alpha[0].astype(float) * 65535))


def test_a_cancelled_run_leaves_whole_frames_and_is_not_taken_up(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Cancelled):
        run(shot, out, ("soft", "exr", "prores"), Cancel("frames", 6))
    left = set(files_of(out))
    assert not [name for name in left if name.startswith(".")]  # no account of what nobody goes on with
    frames = len(list((out / "exr").iterdir()))
    assert 0 < frames < FRAMES and not list(out.rglob(".plate.*"))
    assert {f"exr/plate.{1001 + index}.exr" for index in range(frames)} <= left
    run(shot, out, ("alpha",))
    assert set(files_of(out)) - left == {"run.json", *(f"smoke/alpha/plate.{1001 + n}.png" for n in range(FRAMES))}


def test_a_full_disk_tells_which_frames_are_whole(shot: Path, tmp_path: Path) -> None:
    with stop_at(4, Delivery, "write", disk_full()), pytest.raises(RuntimeError) as caught:
        run(shot, tmp_path, ("exr",))
    assert str(caught.value) == (
        f"No space is left on the disk for {tmp_path}: make room. Frames 0 to 2 of {FRAMES} are whole."
    )


def test_time_counts_once_for_the_innermost_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))  # each look at the clock is a second later

    class Model:
        seconds = {"read": 2.0}

    clock = Clock(Model(), {"matte": 50.0}, load=1.0)

    def inner() -> Iterator[int]:
        for number in range(3):
            with clock.timed("read"):
                pass
            yield number

    assert list(clock.each("matte", inner())) == [0, 1, 2]
    # Of "matte" a second before and one after each of three readings, and one to see that there are no more.
    assert clock.seconds() == {"read": 5.0, "load": 1.0, "write": 0.0, "overlay": 0.0, "matte": 57.0}

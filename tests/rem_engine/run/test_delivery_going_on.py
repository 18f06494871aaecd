"""A stopped delivery leaves whole frames, says so, and goes on where it stopped to the same end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from delivered import video_alpha
from red_model import FRAMES, NEUTRAL, deliver, files_of
from stops import disk_full_at, stop_at

from rem_engine.run.delivery import Delivery
from rem_engine.run.folder import RunFolder


def same_delivery(one: Path, other: Path) -> None:
    """Sequences are the same to the byte, videos to the frame."""
    first, second = files_of(one), files_of(other)
    assert set(first) == set(second)
    for name in first:
        if name.endswith((".png", ".exr")):
            assert first[name] == second[name], name
    for name in first:
        if name.endswith((".mov", ".webm")):
            pairs = zip(video_alpha(one / name), video_alpha(other / name), strict=True)
            assert all(np.array_equal(*pair) for pair in pairs), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "smooth"),
    [
        ("exr", "0"),
        ("exr", "2"),
        ("masks,alpha", "2"),
        ("soft,exr", "2"),
        ("npz,png16,prores", "2"),
        ("soft,alpha,prores,overlay", "2"),
        ("masks,overlay,exr", "2"),
    ],
)
@pytest.mark.parametrize("frame", [1, 6, FRAMES - 1])
@pytest.mark.usefixtures("fake_model")
def test_a_stopped_delivery_goes_on_and_ends_the_same(
    shot: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: str,
    smooth: str,
    frame: int,
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    options = ("--write", write, "--smooth", smooth)
    prompts = ("smoke: the smoke | -red", "red")
    assert deliver(shot, once, *options, prompts=prompts) == 0
    with stop_at(frame + 1, Delivery, "write"):
        assert deliver(shot, twice, *options, prompts=prompts) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"Interrupted. Frames 0 to {frame - 1} of {FRAMES} are done: the same command run again")
    assert said.endswith("anew from the masks." if "prores" in write else f"goes on at frame {frame}.")
    assert not list(twice.rglob("*.mov")) and not list(twice.rglob(".plate.*"))
    whole = {name: data for name, data in files_of(once).items() if name.endswith((".png", ".exr"))}
    left = {name: data for name, data in files_of(twice).items() if name.endswith((".png", ".exr"))}
    assert left.items() <= whole.items() and left
    assert deliver(shot, twice, *options, prompts=prompts) == 0
    assert f"Going on at frame {frame} of {FRAMES}." in capsys.readouterr().err
    same_delivery(once, twice)


@pytest.mark.usefixtures("fake_model")
def test_a_video_without_soft_masks_starts_at_the_first_frame(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--write", "masks,prores", *NEUTRAL)
    with stop_at(9, RunFolder, "write_frame"):
        assert deliver(shot, tmp_path / "twice", *options) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Interrupted. The same command run again starts at the first frame: a video cannot be gone on with, unless "
        "soft masks are written beside it."
    )
    assert deliver(shot, tmp_path / "twice", *options) == 0
    assert "Going on" not in capsys.readouterr().err
    assert deliver(shot, tmp_path / "once", *options) == 0
    same_delivery(tmp_path / "once", tmp_path / "twice")


@pytest.mark.usefixtures("fake_model")
def test_a_missing_delivered_frame_makes_a_run_start_again(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "out", ("--write", "exr", *NEUTRAL)
    with stop_at(9, RunFolder, "write_frame"):
        assert deliver(shot, out, *options) == 130
    (out / "exr" / "plate.1003.exr").unlink()
    assert deliver(shot, out, *options) == 0
    assert "Going on" not in capsys.readouterr().err
    assert len(list((out / "exr").iterdir())) == FRAMES


@pytest.mark.usefixtures("fake_model")
def test_a_full_disk_leaves_whole_frames_and_no_half_video(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, options = tmp_path / "out", ("--write", "soft,exr,prores", *NEUTRAL)
    with disk_full_at("exr/plate.1007.exr"):
        assert deliver(shot, out, *options) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"error: No space is left on the disk for {out}: make room. Frames 0 to 5 of {FRAMES} are done: the same "
        "command run again goes on at frame 6, and encodes its videos anew from the masks."
    )
    assert sorted(path.name for path in (out / "exr").iterdir()) == [f"plate.{1001 + n}.exr" for n in range(6)]
    assert not (out / "smoke" / "plate.mov").exists() and not list(out.rglob("*.tmp"))
    assert deliver(shot, out, *options) == 0
    assert deliver(shot, tmp_path / "once", *options) == 0
    same_delivery(tmp_path / "once", out)

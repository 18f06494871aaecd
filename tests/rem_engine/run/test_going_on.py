"""A stopped run leaves whole frames, says so, and goes on where it stopped to the same end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from red_model import FRAMES, HEIGHT, PROMPTS, WIDTH, files_of, pictures_of, segment
from stops import disk_full, disk_full_at, stop_at

import rem_engine.run.folder
from rem_engine import Segmenter
from rem_engine.commands.cli import main
from rem_engine.folder_lock import LOCK_FILE
from rem_engine.names import folder_names
from rem_engine.run.folder import RunFolder
from rem_engine.run.layout import array_file

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("write", ["masks,soft,overlay", "masks,overlay", "npz,overlay", "masks,soft,npz,overlay"])
@pytest.mark.parametrize("call", [3, 16, 27])  # in the first window, within a cross-fade, near the end
def test_a_stopped_run_goes_on_and_ends_the_same(
    shot: Path,
    tmp_path: Path,
    fake_model: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    write: str,
    call: int,
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert segment(shot, once, "--write", write) == 0
    # Ctrl-C while the second prompt's part of a frame is made: that frame counts for neither.
    written = (RunFolder, "_write_array") if write.startswith("npz") else (rem_engine.run.folder, "mask_png")
    with stop_at(call, *written):
        assert segment(shot, twice, "--write", write) == 130
    done = (call - 1) // 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        f"Interrupted. Frames 0 to {done - 1} of {FRAMES} are done: the same command run again goes on at frame {done}."
    )
    assert not (twice / "run.json").exists() and not (twice / "overlay.mp4").exists()
    whole = pictures_of(once)
    left = pictures_of(twice)
    assert left == {name: whole[name] for name in left}
    for kind in {"masks", "soft"} & set(write.split(",")):
        for folder in folder_names(PROMPTS):
            assert len(list((twice / folder / kind).iterdir())) == done

    assert segment(shot, twice, "--write", write) == 0
    assert f"Going on at frame {done} of {FRAMES}." in capsys.readouterr().err
    assert set(files_of(twice)) == set(files_of(once))
    assert pictures_of(twice) == whole
    assert (once / "overlay.mp4").read_bytes() == (twice / "overlay.mp4").read_bytes()
    for folder in folder_names(PROMPTS) if "npz" in write else ():
        with np.load(once / folder / "soft.npz") as first, np.load(twice / folder / "soft.npz") as second:
            np.testing.assert_array_equal(first["soft"], second["soft"])
    areas = [
        [entry["mean_area"] for entry in json.loads((out / "run.json").read_text())["prompts"]] for out in (once, twice)
    ]
    assert areas[0] == areas[1]


@pytest.mark.usefixtures("fake_model")
def test_a_run_that_goes_on_asks_the_model_for_the_rest_only(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firsts = []
    stream = Segmenter.stream
    monkeypatch.setattr(
        Segmenter,
        "stream",
        lambda *a, first_frame=0, **k: firsts.append(first_frame) or stream(*a, first_frame=first_frame, **k),
    )
    with stop_at(19, rem_engine.run.folder, "mask_png"):
        assert segment(shot, tmp_path / "out") == 130
    assert segment(shot, tmp_path / "out") == 0
    assert firsts == [0, 9]


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("change", ["threshold", "shot", "missing frame"])
def test_another_run_starts_at_the_first_frame(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    out, options = tmp_path / "out", ()
    with stop_at(19, rem_engine.run.folder, "mask_png"):
        assert segment(shot, out) == 130
    if change == "threshold":
        options = ("--threshold", "0.3")
    elif change == "shot":
        Image.new("RGB", (WIDTH, HEIGHT)).save(shot / "plate.1003.png")
    else:
        (out / "the_smoke" / "soft" / "plate.1005.png").unlink()
    capsys.readouterr()
    assert segment(shot, out, *options) == 0
    assert "Going on" not in capsys.readouterr().err
    assert segment(shot, tmp_path / "fresh", *options) == 0
    assert pictures_of(out) == pictures_of(tmp_path / "fresh")


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize(
    ("prompts", "options", "goes_on"),
    [
        (1, ("--memory", "stream", "--device", "cpu,cpu"), True),
        (2, ("--device", "cpu,cpu"), True),
        (2, ("--memory", "stream"), False),  # prompts go one by one, and are rounded otherwise than together
        (1, ("--decoder", "mask"), False),
        (1, ("--dtype", "bfloat16"), False),
    ],
)
def test_a_run_goes_on_where_other_options_give_the_same_masks(
    shot: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prompts: int,
    options: tuple[str, ...],
    goes_on: bool,
) -> None:
    asked = [argument for prompt in PROMPTS[:prompts] for argument in ("-p", prompt)]
    run = ["segment", str(shot), *asked, "-o", str(tmp_path / "out"), "--device", "cpu"]
    with stop_at(9 * prompts + 1, rem_engine.run.folder, "mask_png"):
        assert main(run) == 130
    capsys.readouterr()
    assert main([*run, *options]) == 0
    assert ("Going on at frame 9" in capsys.readouterr().err) is goes_on
    if goes_on:
        assert main(run) == 0
        assert "holds this run already, whole" in capsys.readouterr().out


@pytest.mark.usefixtures("fake_model")
def test_a_run_that_began_anew_and_was_killed_does_not_go_on_from_arrays_that_it_emptied(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, killed = tmp_path / "out", tmp_path / "killed"
    with stop_at(19, RunFolder, "_write_array"):
        assert segment(shot, out, "--write", "npz") == 130
    array_file(out, "the_smoke").unlink()
    make = RunFolder._make

    def make_and_be_killed(folder: RunFolder) -> None:
        make(folder)
        shutil.copytree(out, killed, ignore=shutil.ignore_patterns(LOCK_FILE))

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "_make", make_and_be_killed)
        assert segment(shot, out, "--write", "npz") == 0
    capsys.readouterr()
    assert segment(shot, killed, "--write", "npz") == 0
    assert "Going on" not in capsys.readouterr().err
    for folder in folder_names(PROMPTS):
        with np.load(out / folder / "soft.npz") as first, np.load(killed / folder / "soft.npz") as second:
            np.testing.assert_array_equal(first["soft"], second["soft"])


@pytest.mark.usefixtures("fake_model")
def test_an_older_run_is_replaced_and_strangers_stay(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(shot, out, "--write", "masks,soft,npz,overlay") == 0
    (out / "the_smoke" / "notes.txt").write_text("mine")
    (out / "the_smoke" / "masks" / "preview.png").write_bytes(b"mine")
    (out / "other.txt").write_text("mine")
    for number in range(5, FRAMES):
        (shot / f"plate.{1001 + number}.png").unlink()
    before = files_of(out)
    assert main(["segment", str(shot), "-p", "the smoke", "-o", str(out), "--write", "masks"]) == 0
    after = files_of(out)
    assert {name for name in after if name.startswith("the_smoke/masks/")} == {
        *(f"the_smoke/masks/plate.{1001 + n}.png" for n in range(5)),
        "the_smoke/masks/preview.png",
    }
    # What it does not write anew stays: other layers, other kinds, strangers.
    replaced = {name for name in before if name.startswith("the_smoke/masks/plate.")} | {"run.json"}
    assert {name: data for name, data in before.items() if name not in replaced}.items() <= after.items()


@pytest.mark.usefixtures("fake_model")
def test_another_programs_run_json_is_no_order_to_delete(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for place in (tmp_path / "masks", out / "smoke.v1" / "masks"):
        place.mkdir(parents=True)
        (place / "plate.1001.png").write_bytes(b"mine")
    listed = [{"folder": ".."}, {"folder": "smoke.v1"}, {"folder": 3}, {}, "text"]
    (out / "run.json").write_text(json.dumps({"prompts": listed}))
    assert segment(shot, out, "--write", "masks") == 2
    assert json.loads((out / "run.json").read_text()) == {"prompts": listed}
    assert segment(shot, out, "--write", "masks", "--overwrite") == 0
    assert (tmp_path / "masks" / "plate.1001.png").read_bytes() == b"mine"
    assert (out / "smoke.v1" / "masks" / "plate.1001.png").read_bytes() == b"mine"


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("victim", ["the_smoke/soft/plate.1007.png", "soft.npz"])
def test_a_full_disk_leaves_whole_frames_only_and_says_how_to_go_on(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], victim: str
) -> None:
    out = tmp_path / "out"
    full = disk_full_at(victim) if victim.endswith(".png") else stop_at(1, zipfile.ZipFile, "write", disk_full())
    with full:
        assert segment(shot, out, "--write", "masks,soft,npz,overlay") == 2
    done = FRAMES if victim == "soft.npz" else 6
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: No space is left on the disk for {out}: make room. ")
    assert f"{done}" in said and "same command run again" in said
    for folder in folder_names(PROMPTS):
        for kind in ("masks", "soft"):
            assert sorted(file.name for file in (out / folder / kind).iterdir()) == [
                f"plate.{1001 + n}.png" for n in range(done)
            ]
        assert not (out / folder / "soft.npz").exists()
    assert not (out / "run.json").exists()
    assert segment(shot, out, "--write", "masks,soft,npz,overlay") == 0
    assert segment(shot, tmp_path / "fresh", "--write", "masks,soft,npz,overlay") == 0
    assert pictures_of(out) == pictures_of(tmp_path / "fresh")
    assert set(files_of(out)) == set(files_of(tmp_path / "fresh"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size"), [("tiny_wan", "32x32"), pytest.param("tiny_modelscope", "64x64", marks=pytest.mark.thorough)]
)
def test_ctrl_c_in_a_shell_stops_a_real_model_well(
    shot: Path, tmp_path: Path, model: str, size: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)

    def arguments(out: str) -> list[str]:
        options = ["--model", str(folder), "--size", size, "--window", "5", "--overlap", "2", "--device", "cpu"]
        return ["segment", str(shot), "-p", "the smoke", "-o", str(tmp_path / out), *options]

    assert main(arguments("once")) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "rem_engine", *arguments("twice")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # Whoever runs the tests in the background of a shell has Ctrl-C ignored, and so have their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "twice" / "the_smoke" / "soft" / "plate.1002.png").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert process.returncode == 130
    assert "Traceback" not in said and "Interrupted. Frames 0 to " in said
    assert main(arguments("twice")) == 0
    assert pictures_of(tmp_path / "once") == pictures_of(tmp_path / "twice")

"""Memory does not grow with the length of a shot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import ROOT, write_shot
from rem_engine.memory import peak_memory_mib

FEW, MANY = 50, 200


def peak_of_a_run(folder: Path, frames: int) -> float:
    """MiB, of a process of its own."""
    shot, out = folder / f"{frames}.mp4", folder / f"{frames}"
    write_shot(shot, frames, 96, 96)
    command = [sys.executable, "-m", "rem_engine", "segment", str(shot), "-p", "the red circle", "-o", str(out)]
    command += ["--size", "64x64"]  # what the model makes of them does not matter
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return json.loads((out / "run.json").read_text("utf-8"))["peak_memory_mib"]


@pytest.mark.slow
@pytest.mark.skipif(peak_memory_mib() is None, reason="this system does not tell")
def test_a_run_of_small_frames_takes_as_much_memory_however_many_there_are(tmp_path: Path) -> None:
    """Small ones, so that what is kept of each frame weighs beside what is worked on."""
    assert peak_of_a_run(tmp_path, MANY) < 1.15 * peak_of_a_run(tmp_path, FEW)

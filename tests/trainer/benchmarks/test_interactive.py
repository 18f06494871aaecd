"""Rounds of correction are measured over frames that were given no mask."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rem_engine.metrics import region_similarity
from trainer.benchmarks.interactive import hand_made
from trainer.commands.cli import main


def disc(height: int = 96, width: int = 120) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.clip(30.5 - np.hypot(y - 48, x - 60), 0.0, 1.0).astype(np.float32)


def test_masks_made_by_hand_are_off_by_two_pixels_at_most_and_have_holes() -> None:
    exact = disc()
    made = hand_made(exact, 7)
    assert set(np.unique(made)) == {0.0, 1.0}
    y, x = np.mgrid[:96, :120]
    away = np.hypot(y - 48, x - 60)
    assert made[away > 33.0].max() == 0.0
    rim = (away > 29.0) & (away < 32.0)
    assert 0.1 < made[rim].mean() < 0.9  # here outwards, there inwards
    assert (made[away < 20.0] == 0.0).any()
    assert 0.85 < region_similarity(made[None] > 0.5, exact[None] > 0.5)[0] < 0.99
    assert hand_made(np.zeros((20, 20), np.float32), 1).max() == 0.0


@pytest.mark.slow
def test_the_table_tells_what_a_mask_is_worth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shots, report = tmp_path / "shots", tmp_path / "report.json"
    made = ["synth", "--out", str(shots), "--count", "1", "--seed", "5", "--frames", "9", "--size", "48x48"]
    assert main(made) == 0
    assert main(["interactive", "--data", str(shots), "--rounds", "1", "--start", "nothing", "--out", str(report)]) == 0
    found = json.loads(report.read_text())
    figures = found["rounds"]["1"]["all"]
    assert found["sentences"] == len(found["each"]) >= 1
    assert figures["J_base"] < 0.5 < figures["J"]  # 0 but for frames of which the thing is out
    assert all(len(one["frames"]) == 1 for one in found["each"])
    report.write_text(json.dumps({**found, "each": [{**one, "J": 0.125} for one in found["each"]]}))
    again = ["interactive", "--data", str(shots), "--rounds", "1", "--out", str(report)]
    assert main([*again, "--start", "nothing"]) == 0  # what is there is not measured again
    assert json.loads(report.read_text())["rounds"]["1"]["all"]["J"] == 0.125
    assert main(again) == 2
    printed = capsys.readouterr()
    assert "no report of this evaluation" in printed.err
    printed = printed.out
    assert f"| 1 | all | {figures['J']:.3f} |" in printed

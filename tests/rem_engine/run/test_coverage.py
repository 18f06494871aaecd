"""A layer that is empty or full in every frame is said at the end, in run.json and by the matte command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from red_model import NEUTRAL, RedBackbone, deliver
from stops import stop_at

from rem_engine.commands.cli import main
from rem_engine.run.coverage import Coverage, warnings_of
from rem_engine.run.folder import RunFolder


def states(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(warning["layer"], warning["what"], warning["state"]) for warning in found]


def coverage(what: Any, values: list[list[float]], threshold: float = 0.5) -> Coverage:
    """Of layers a, b, ... from a value of each frame."""
    made = Coverage(what, "abcdef"[: len(values)], threshold)
    for frame in torch.tensor(values).T:
        made.add(frame[:, None, None].expand(-1, 2, 3))
    return made


def test_empty_and_full_count_over_all_frames() -> None:
    values = [[0.1, 0.5, 0.2], [0.1, 0.51, 0.2], [0.9, 0.51, 1.0], [0.9, 0.5, 1.0]]
    assert states(coverage("masks", values).warnings()) == [("a", "masks", "empty"), ("c", "masks", "full")]
    assert states(coverage("masks", values, 0.05).warnings()) == [(layer, "masks", "full") for layer in "abcd"]


def test_a_sentence_says_how_far_it_is_from_the_threshold() -> None:
    empty, full = coverage("masks", [[0.1, 0.3117], [0.9, 0.61]]).warnings()
    assert "no pixel of any frame is above 0.5 (at most 0.31)" in empty["sentence"]
    assert "every pixel of every frame is above 0.5 (at least 0.61)" in full["sentence"]


def test_masks_and_mattes_alike_are_said_once() -> None:
    masks, mattes = coverage("masks", [[0.0], [0.7], [0.0]]), coverage("mattes", [[0.0], [0.0], [1.0]])
    expected = [("a", "masks", "empty"), ("b", "masks", "full"), ("c", "masks", "empty")]
    assert states(warnings_of(masks, mattes)) == [*expected, ("b", "mattes", "empty"), ("c", "mattes", "full")]


@pytest.mark.parametrize(
    ("scale", "shift", "options", "expected"),
    [
        (1.0, 0.0, NEUTRAL, []),
        (0.3, 0.0, NEUTRAL, [("smoke", "masks", "empty")]),
        (0.3, 0.0, ("--threshold", "0.3", *NEUTRAL), []),  # thin, and a matte
        (0.3, 0.0, ("--threshold", "0.3", *NEUTRAL, "--black", "0.4"), [("smoke", "mattes", "empty")]),
        (0.3, 0.0, ("--black", "0", "--white", "0.2", "--refine", "0"), [("smoke", "masks", "empty")]),
        (1.0, 1.0, NEUTRAL, [("smoke", "masks", "full")]),
        (1.0, 0.0, ("--grow", "-40", *NEUTRAL, "--black", "0.2"), [("smoke", "mattes", "empty")]),
    ],
)
def test_a_run_says_so(
    shot: Path,
    tmp_path: Path,
    fake_model: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scale: float,
    shift: float,
    options: tuple[str, ...],
    expected: list[tuple[str, str, str]],
) -> None:
    decode = RedBackbone.decode_masks
    monkeypatch.setattr(RedBackbone, "decode_masks", lambda self, latents: decode(self, latents) * scale + shift)
    out = tmp_path / "out"
    assert deliver(shot, out, "--write", "masks,alpha", *options) == 0
    found = json.loads((out / "run.json").read_text())["warnings"]
    assert states(found) == expected
    said = capsys.readouterr().err
    assert [warning["sentence"] in said for warning in found] == [True] * len(expected)
    assert (" are empty" in said or " are full" in said) == bool(expected)


def test_frames_before_an_interruption_count(
    shot: Path, tmp_path: Path, fake_model: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disc is found before the stop, and nothing after it: the layer is not empty."""
    out = tmp_path / "out"
    with stop_at(10, RunFolder, "write_frame"):
        assert deliver(shot, out, "--write", "soft") == 130
    monkeypatch.setattr(RedBackbone, "decode_masks", lambda self, latents: torch.zeros(latents.shape[2], 3, 32, 48))
    assert deliver(shot, out, "--write", "soft") == 0
    assert cv2.imread(str(out / "smoke" / "soft" / "plate.1014.png"), cv2.IMREAD_UNCHANGED).max() == 0
    assert json.loads((out / "run.json").read_text())["warnings"] == []


def test_the_matte_command_says_so(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = tmp_path / "dark"
    masks.mkdir()
    for number in range(14):
        cv2.imwrite(str(masks / f"{1001 + number}.png"), np.tile(np.arange(47, dtype=np.uint8), (33, 1)))
    command = ["matte", str(shot), "--masks", f"roto={masks}", "-o", str(tmp_path / "out"), "--refine", "0"]
    assert main(command) == 0
    assert "are empty" not in capsys.readouterr().err  # up to 0.18
    assert main([*command, "--black", "0.2", "--hold-out", "0,0,9,9"]) == 0
    said = capsys.readouterr().err
    assert (
        "The mattes of roto are empty: no pixel of any frame is above 0.1 (at most 0); look at the masks, at " in said
    )
    assert "the masks, at --hold-out and at the matte options." in said
    assert "prompt" not in said


def test_half_a_hold_out_leaves_a_matte_and_half_a_core_is_none_that_is_full() -> None:
    half = coverage("mattes", [[0.5, 0.5], [0.09, 0.0], [0.91, 1.0], [0.51, 0.9]])
    assert states(half.warnings()) == [("b", "mattes", "empty"), ("c", "mattes", "full")]
    full = Coverage("mattes", ["d"], given=["hold_out", "add"], source="the masks")
    full.add(torch.ones(1, 2, 2))
    (warning,) = full.warnings()
    assert warning["sentence"].endswith("look at the masks, at --add and at the matte options.")

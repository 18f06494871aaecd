"""Where an artist says that layers may be and may not: masks and mattes are 0 outside, exactly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from red_model import FRAMES, HEIGHT, NEUTRAL, WIDTH, check_refused, files_of, read, segment
from stops import stop_at

from rem_engine.commands.cli import main
from rem_engine.layers import parse_layers
from rem_engine.run.delivery import Delivery
from rem_engine.run.given_mattes import GivenMatte, GivenMattes
from rem_engine.run.hints import FrameHints

pytestmark = pytest.mark.usefixtures("fake_model")
FULL = 65535


def masks(out: Path, layer: str, kind: str = "soft") -> np.ndarray:
    return np.stack([read(file) for file in sorted((out / layer / kind).iterdir())]).astype(int)


def picture(path: Path, values: np.ndarray) -> str:
    cv2.imwrite(str(path), np.rint(values * FULL).astype(np.uint16))
    return str(path)


def test_soft_masks_are_those_without_hints_inside_and_nothing_outside(shot: Path, tmp_path: Path) -> None:
    plain, hinted = tmp_path / "plain", tmp_path / "hinted"
    assert segment(shot, plain, "--write", "soft") == 0
    held = np.zeros((HEIGHT, WIDTH))
    held[20:, :] = 1.0
    held[19] = 0.5
    sign = picture(tmp_path / "sign.png", held)
    given = ("--include", "the_smoke=4,6,30,20", "--hold-out", sign)
    assert segment(shot, hinted, "--write", "soft", *given) == 0
    for layer in ("the_red_thing", "the_smoke"):
        before, found = masks(plain, layer), masks(hinted, layer)
        within = np.ones((HEIGHT, WIDTH))
        if layer == "the_smoke":
            within[:] = 0.0
            within[6:26, 4:34] = 1.0
        within *= 1.0 - held
        unclipped = before < FULL  # what files cut off, a soft hint still multiplies
        np.testing.assert_allclose(found[unclipped], (before * within)[unclipped], atol=1.01)
        assert before[:, within == 0].any() and not found[:, within == 0].any()
        np.testing.assert_array_equal(found[:, within == 1], before[:, within == 1])


@pytest.mark.parametrize("combine", ["separate", "union", "exclusive"])
def test_no_matte_reaches_beyond_the_hints_whatever_the_stage_does(shot: Path, tmp_path: Path, combine: str) -> None:
    out = tmp_path / "out"
    given = ("--include", "4,6,30,20", "--add", "40,30,2,2")
    shaping = (*NEUTRAL, "--grow", "5", "--feather", "4", "--combine", combine, *given)
    assert segment(shot, out, "--write", "alpha", *shaping) == 0
    layers = ["union"] if combine == "union" else ["the_red_thing", "the_smoke"]
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[6:26, 4:34] = outside[30:32, 40:42] = False
    alphas = np.stack([masks(out, layer, "alpha") for layer in layers])
    assert alphas[..., ~outside].any()  # of "exclusive" one layer may have every pixel
    assert not alphas[..., outside].any()
    assert (alphas[..., 30:32, 40:42] == FULL).all()


def test_a_stopped_run_goes_on_to_the_same_files(shot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "roto"
    folder.mkdir()
    for number in range(FRAMES):
        wall = np.zeros((HEIGHT, WIDTH))
        wall[:, : 10 + 2 * number] = 1.0
        picture(folder / f"r.{1001 + number}.png", wall)
    options = ("--write", "soft,alpha", *NEUTRAL, "--smooth", "1", "--hold-out", str(folder))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert segment(shot, whole, *options) == 0
    with stop_at(6, Delivery, "write", KeyboardInterrupt()):
        assert segment(shot, stopped, *options) == 130
    assert segment(shot, stopped, *options) == 0
    expected, found = files_of(whole), files_of(stopped)
    del expected["run.json"], found["run.json"]
    assert found == expected


def test_another_hint_is_another_run(shot: Path, tmp_path: Path) -> None:
    out, sign = tmp_path / "out", tmp_path / "sign.png"
    for value in (0.0, 1.0):
        given = picture(sign, np.full((HEIGHT, WIDTH), value))
        assert segment(shot, out, "--write", "soft", "--hold-out", given) == 0
        assert masks(out, "the_smoke").any() == (value == 0.0)


def test_a_hint_that_cannot_be_is_told_before_a_model_is_loaded(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rem_engine.segment import load

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(load, "load_segmenter", loaded)
    command = ["segment", str(shot), "-p", "car: the car", "-o", str(tmp_path / "out")]
    check_refused([*command, "--include", "fog=0,0,5,5"], "There is no layer 'fog' for the matte 0,0,5,5", capsys)
    check_refused([*command, "--hold-out", "nowhere.png"], "nowhere.png does not exist", capsys)
    check_refused([*command, "-p", "x: y | feather: much"], "Layer 'x': The feather is 'much'", capsys)
    assert main([*command, "--include", "900,0,5,5"]) == 2


def test_a_text_may_be_as_far_as_any_of_its_layers() -> None:
    layers = parse_layers(["left: the car | -the tree", "right: the car", "the road"])
    bounds = [np.float32([[1, 0, 0]]), np.float32([[0, 0.5, 0]]), np.float32([[0, 0, 1]])]
    given = GivenMattes(
        tuple(
            GivenMatte("include", layer, lambda plane=plane: iter([plane] * 3)) for layer, plane in enumerate(bounds)
        ),
        layers=3,
    )
    hints = FrameHints(given, layers)
    of_texts = hints.of_texts(("the car", "the tree", "the road"), 1)
    assert torch.equal(of_texts, torch.tensor([[[1, 0.5, 0]], [[1, 1, 1]], [[0, 0, 1]]]))
    assert torch.equal(hints.within(0), torch.from_numpy(np.stack(bounds)))  # back to an earlier frame

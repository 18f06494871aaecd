"""The method in one file is the engine's, to the bit where both have diffusers run the VAE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rem_engine import load_segmenter, open_shot
from rem_engine.backbones import wan
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.minimal import segment
from rem_engine.pixels import to_uint8

SHOT = Path(__file__).parents[2] / "assets" / "sample_shot.mp4"


def noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def of_size(folder: Path, model: Path, size: str) -> Path:
    """A model folder with the parts of `folder`, trained, it says, at `size`."""
    model.mkdir()
    for part in folder.iterdir():
        (model / part.name).symlink_to(part.resolve(), target_is_directory=part.is_dir())
    (model / "rem.json").write_text(f'{{"name": "tiny", "size": {size}, "window": 9, "overlap": 4}}')
    return model


def assert_equal_to_the_engine(frames: np.ndarray, sentence: str, model: Path, **weights: Any) -> torch.Tensor:
    soft, mask = segment(frames, sentence, model, **weights)
    segmenter = load_segmenter(model, protocol="paper", device="cpu", **weights)
    in_one_pass = segmenter.segment(frames, [sentence])
    torch.testing.assert_close(in_one_pass.soft[0], soft, atol=2e-5, rtol=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wan, "_ONE_PASS_BYTES", 0)
        engine = segmenter.segment(frames, [sentence])
    assert torch.equal(soft, engine.soft[0])
    assert torch.equal(mask, engine.masks()[0])
    return mask


@pytest.mark.parametrize("count", [1, 7, 9, 23])
def test_any_length_of_shot(tiny_wan: Path, tmp_path: Path, count: int) -> None:
    model = of_size(tiny_wan, tmp_path / "model", "[32, 48]")
    assert_equal_to_the_engine(noise(count, 40, 60), "the smoke", model)


def test_more_words_than_rows(tiny_wan: Path, tmp_path: Path) -> None:
    model = of_size(tiny_wan, tmp_path / "model", "[32, 32]")
    with pytest.warns(UserWarning, match="were cut"):
        assert_equal_to_the_engine(noise(5, 32, 32), "the smoke " * 20, model)


def test_weights_over_a_model(golden: Path, tmp_path: Path) -> None:
    model = of_size(golden / "wan" / "base", tmp_path / "model", "[32, 32]")
    assert_equal_to_the_engine(noise(9, 32, 32), "the smoke", model, checkpoint=golden / "wan" / "rem_wan.pth")


@pytest.mark.slow
def test_rem_mini_finds_the_smoke_of_the_sample_shot() -> None:
    with open_shot(SHOT) as shot:
        frames = to_uint8(shot.read(0, 9))
    mask = assert_equal_to_the_engine(frames, "the smoke", MINI_FOLDER)
    assert 0 < mask.float().mean() < 0.5

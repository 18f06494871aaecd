"""The examples run as they stand, and give what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.examples import segment_a_shot
from rem_engine import open_shot
from rem_engine.pixels import to_uint8


@pytest.mark.slow
def test_the_red_star_of_the_sample_shot_is_cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plate, out = tmp_path / "plate", tmp_path / "out"
    plate.mkdir()
    with open_shot(segment_a_shot.SAMPLE) as shot:
        frames = to_uint8(shot.read(0, 9))
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(plate / f"{number}.png")
    monkeypatch.setattr(sys, "argv", ["segment_a_shot", str(plate), "the red star", "--out", str(out)])
    segment_a_shot.main()
    pictures = np.stack([np.asarray(Image.open(file)) for file in sorted(out.iterdir())])
    assert pictures.shape == (9, *frames.shape[1:3], 4)
    assert np.array_equal(pictures[..., :3], frames)
    inside = pictures[..., 3] > 127
    red = (frames[..., 0] > 150) & (frames[..., 1:].max(axis=-1) < 100)
    assert 0.005 < inside.mean() < 0.1
    assert red[inside].mean() > 0.8

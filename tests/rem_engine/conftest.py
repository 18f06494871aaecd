"""Fixtures of the engine's tests."""

from __future__ import annotations

import shutil
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from red_model import FRAMES, HEIGHT, WIDTH, RedBackbone

import rem_engine.segment.load
from rem_engine import Segmenter, SegmentSettings


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Puts RedBackbone in the place of every model; lists the arguments models were asked for with."""
    asked = []

    @wraps(rem_engine.segment.load.load_segmenter)
    def load(model: str, **options: Any) -> Segmenter:
        asked.append({"model": model, **options})
        names = ("protocol", "size", "window", "overlap", "cuts", "keep_aspect", "seed")
        return Segmenter(RedBackbone(), SegmentSettings(**{name: options[name] for name in names}))

    monkeypatch.setattr(rem_engine.segment.load, "load_segmenter", load)
    return asked


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """A red disc that moves over a dark ground, as PNG frames."""
    folder = tmp_path / "plate"
    folder.mkdir()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(FRAMES):
        frame = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        frame[np.hypot(y - 16, x - 10 - 2 * number) < 8, 0] = 230
        Image.fromarray(frame).save(folder / f"plate.{1001 + number}.png")
    return folder


@pytest.fixture
def wan_copy(tiny_wan: Path, tmp_path: Path) -> Path:
    """A folder of Wan that a test may change."""
    return Path(shutil.copytree(tiny_wan, tmp_path / "wan"))


@pytest.fixture
def modelscope_copy(tiny_modelscope: Path, tmp_path: Path) -> Path:
    """A folder of ModelScope that a test may change."""
    return Path(shutil.copytree(tiny_modelscope, tmp_path / "modelscope"))

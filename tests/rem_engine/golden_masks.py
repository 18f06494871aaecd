"""Masks of a golden case against those of the authors' code, whatever the backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image


def assert_soft_masks(run: Any, limit: float, limit_float16: float) -> None:
    """Soft masks of a recorded `Run`: float32 where the case keeps it, and the float16 file."""
    with np.load(run.folder / "mask_continuous.npz") as file:
        halves = dict(file)
    for i in range(len(run.expected["prompts"])):
        soft, exact = run.result.soft[i], run.tensors.get(f"mask_continuous_{i}")
        if exact is not None:
            torch.testing.assert_close(soft, exact, atol=limit, rtol=0)
        half = next(value for name, value in halves.items() if name.endswith(str(i)))
        torch.testing.assert_close(soft, torch.from_numpy(half).float(), atol=limit_float16, rtol=0)


def assert_binary_masks(run: Any, flipped_pixels: int) -> None:
    """Binary masks of a recorded `Run`: at most so many pixels of a prompt differ."""
    masks = run.result.masks().numpy()
    for i in range(len(run.expected["prompts"])):
        files = sorted((run.folder / "masks" / f"prompt_{i}").glob("*.png"))
        assert len(files) == run.expected["n_frames"]
        expected = np.stack([np.asarray(Image.open(file)) for file in files]) == 1
        assert (masks[i] != expected).sum() <= flipped_pixels

"""Measures of masks, as the field defines them."""

from __future__ import annotations

import numpy as np


def region_similarity(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """J: intersection over union of every frame (DAVIS 2017 evaluation).

    Args:
        pred, gt: boolean [H,W] or [T,H,W].
        void: pixels that do not count, of the same shape.

    Returns:
        float64, one value a frame ([T], or a scalar array for [H,W]), 0..1; 1 where both masks are empty.

    Raises:
        ValueError: the shapes differ.
    """
    if pred.shape != gt.shape:
        raise ValueError(f"The predicted masks are {pred.shape} and the true ones {gt.shape}; give equal shapes.")
    valid = True if void is None else ~void
    both = np.count_nonzero(pred & gt & valid, axis=(-2, -1))
    union = np.count_nonzero((pred | gt) & valid, axis=(-2, -1))
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)

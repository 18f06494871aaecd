"""Measures of masks, as the field defines them."""

from __future__ import annotations

import math

import cv2
import numpy as np

# Frames whose boundaries are compared at once: enough to hide Python's cost, few enough for the processor's cache.
_FRAMES_TOGETHER = 4
_ONE, _WORD_LESS_ONE = np.uint64(1), np.uint64(63)


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
    pred, gt, void = _alike(pred, gt, void)
    valid = True if void is None else ~void
    both = np.count_nonzero(pred & gt & valid, axis=(-2, -1))
    union = np.count_nonzero((pred | gt) & valid, axis=(-2, -1))
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def boundary_accuracy(
    pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None, bound_th: float = 0.008
) -> np.ndarray:
    """F: how well the masks' boundaries agree, in every frame (DAVIS 2017 evaluation).

    The harmonic mean of precision and recall of boundary pixels, where one counts as found if the other boundary
    passes within a disk around it. A boundary pixel is one that differs from its neighbour to the right, below, or
    both; the frame's border is none.

    Args:
        pred, gt: boolean [H,W] or [T,H,W].
        void: pixels that do not count, of the same shape; masks are taken as empty there.
        bound_th: the disk's radius: below 1 a share of the frame's diagonal, rounded up to pixels; else pixels.

    Returns:
        float64, one value a frame ([T], or a scalar array for [H,W]), 0..1; 1 where neither mask has a boundary, 0
        where only one has.

    Raises:
        ValueError: the shapes differ.
    """
    pred, gt, void = _alike(pred, gt, void)
    height, width = pred.shape[-2:]
    radius = math.floor(bound_th) if bound_th >= 1 else math.ceil(bound_th * math.hypot(height, width))
    shape = pred.shape[:-2]
    pred, gt = pred.reshape(-1, height, width), gt.reshape(-1, height, width)
    void = None if void is None else void.reshape(-1, height, width)
    values = np.empty(len(pred))
    for start in range(0, len(values), _FRAMES_TOGETHER):
        some = slice(start, start + _FRAMES_TOGETHER)
        values[some] = _boundary_accuracy(pred[some], gt[some], None if void is None else void[some], radius)
    return values.reshape(shape)


def _alike(
    pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    if pred.shape != gt.shape:
        raise ValueError(f"The predicted masks are {pred.shape} and the true ones {gt.shape}; give equal shapes.")
    if void is not None and void.shape != gt.shape:
        raise ValueError(f"The void pixels are {void.shape} and the masks {gt.shape}; give equal shapes.")
    if gt.ndim not in (2, 3):
        raise ValueError(f"Masks of shape {gt.shape} cannot be compared; [H,W] or [T,H,W] is expected.")
    return np.asarray(pred, bool), np.asarray(gt, bool), None if void is None else np.asarray(void, bool)


def _boundary_accuracy(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None, radius: int) -> np.ndarray:
    """F of frames [n,H,W] -> [n]. Pixels are packed into 64-bit words, so that 64 of them cost as much as one."""
    masks = (pred, gt) if void is None else (pred & ~void, gt & ~void)
    margin = max(radius, 1)
    ours, true = (_boundary(_packed(some, margin), pred.shape[-1], margin) for some in masks)
    rows = np.flatnonzero((ours | true).any(axis=(0, 2)))
    if len(rows):  # boundaries are sought where boundaries are, so that other rows need no look
        ours, true = (np.ascontiguousarray(some[:, rows[0] : rows[-1] + 1]) for some in (ours, true))
    count, true_count = _count(ours), _count(true)
    found = _count(ours & _dilated(true, radius))
    true_found = _count(true & _dilated(ours, radius))
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = found / count, true_found / true_count
        harmonic = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    return np.where((count > 0) & (true_count > 0), harmonic, (count == true_count).astype(np.float64))


def _packed(masks: np.ndarray, margin: int) -> np.ndarray:
    """bool [...,W] -> words [...,w]: pixel x of a row is bit x % 64 of word x // 64; then `margin` or more empty ones.

    The margin keeps rows apart, so that pixels can be moved along all of them as along one.
    """
    pixels = np.zeros((*masks.shape[:-1], -(-(masks.shape[-1] + margin) // 64) * 64), bool)
    pixels[..., : masks.shape[-1]] = masks
    return np.packbits(pixels.reshape(-1), bitorder="little").view("<u8").reshape(*masks.shape[:-1], -1)


def _boundary(words: np.ndarray, width: int, margin: int) -> np.ndarray:
    """Pixels that differ from the one to the right, below, or right and below; beyond its border a frame goes on as
    it ends there."""
    column = np.arange(width)
    last, inside = _packed(column == width - 1, margin), _packed(column >= 0, margin)
    below = np.concatenate([words[:, 1:], words[:, -1:]], axis=1)
    boundary = words ^ below
    for row in (words, below):
        right = row >> _ONE
        line, moved = row.reshape(-1), right.reshape(-1)
        moved[:-1] |= line[1:] << _WORD_LESS_ONE
        boundary |= words ^ (right | (row & last))
    return boundary & inside


def _widened(line: np.ndarray, by: int) -> np.ndarray:
    """Every pixel of a line of words spread to `by` places on both sides."""
    reach = 0
    while reach < by:
        step = min(2 * reach + 1, by - reach, 63)  # a run of pixels may be moved by its length without leaving a gap
        near, far = np.uint64(step), np.uint64(64 - step)
        wide = line | line << near
        wide[1:] |= line[:-1] >> far
        wide |= line >> near
        wide[:-1] |= line[1:] << far
        line, reach = wide, reach + step
    return line


def _dilated(words: np.ndarray, radius: int) -> np.ndarray:
    """Every pixel spread to the disk x^2 + y^2 <= radius^2 around it, one row of the disk after the other."""
    result = np.zeros_like(words)
    height, reach = words.shape[1], 0
    for rise in range(radius, -1, -1):
        half = math.isqrt(radius * radius - rise * rise)
        words, reach = _widened(words.reshape(-1), half - reach).reshape(words.shape), half
        if rise < height:
            result[:, rise:] |= words[:, : height - rise]
            result[:, : height - rise] |= words[:, rise:]
    return result


def _count(words: np.ndarray) -> np.ndarray:
    """How many pixels are set in each frame."""
    return np.array([cv2.norm(frame.view(np.uint8), cv2.NORM_HAMMING) for frame in words])

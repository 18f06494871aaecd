"""Given masks, carried along the motion of a take to the frames between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from ..matte.motion import Motion, chained, warped
from ..shelf import Shelf
from .parts import Part, enlarged, whole_part
from .shot_motion import ShotMotion

_CHECKPOINT = 16
"""Frames between those at which the motion from a later given frame is put aside, on its way back to the present."""


@dataclass(frozen=True)
class Source:
    """A given frame that a frame's mask is carried from.

    Attributes:
        key: its index.
        motion: from the frame to it.
    """

    key: int
    motion: Motion


def sources(motion: ShotMotion, take: range, keys: Sequence[int]) -> Iterator[tuple[int, tuple[Source, ...]]]:
    """For each frame of a take, in order, the given frames next to it on either side; none for a given frame.

    Motion over many frames is chained of that between neighbours. Back from a later frame that takes passing through
    all frames between: once to put aside where it stands at every `_CHECKPOINT` frames, and once more between two of
    these. Memory holds the motion of so many frames; the rest waits on a `Shelf`.

    Args:
        motion: of the shot.
        take: some of its frames.
        keys: indices of those that are given, rising, at least one.
    """
    edges = (take.start - 1, *keys, take.stop)
    for before, after in pairwise(edges):
        earlier = before if before in take else None
        later = after if after in take else None
        forward: Motion | None = None
        behind = _back_from(motion, later, before + 1)
        for index in range(before + 1, after):
            found = []
            if earlier is not None:
                forward = _longer(motion, index, forward, earlier, step=-1)
                found.append(Source(earlier, forward))
            if later is not None:
                found.append(Source(later, next(behind)))
            yield index, tuple(found)
        if later is not None:
            yield later, ()


def carried(found: Sequence[Source], masks: Sequence[np.ndarray], index: int, part: Part | None = None) -> np.ndarray:
    """A mask carried from given frames: their mean, weighted by trust over distance.

    Args:
        found: one, or one on either side.
        masks: of these, float32 [H,W].
        index: of the frame.
        part: of the frame that is wanted; None for all of it.

    Returns:
        the mask of that part, float32.
    """
    height, width = masks[0].shape
    size = (height, width)
    part = part or whole_part(size)
    first = _warped_to(masks[0], found[0], size, part)
    if len(found) == 1:
        return first
    one, other = (source.motion.trust / np.float32(abs(index - source.key)) + np.float32(1e-6) for source in found)
    second = _warped_to(masks[1], found[1], size, part)
    # In place, since a frame may have many pixels: second + share * (first - second).
    first -= second
    first *= enlarged(one / (one + other), size, part)
    first += second
    return first


def trust_of(found: Sequence[Source]) -> np.ndarray:
    """How far what is carried can be trusted anywhere: as far as the best of given frames; float32 [h,w] in 0..1, at
    the size at which motion is measured."""
    return np.maximum.reduce([source.motion.trust for source in found])


def _warped_to(mask: np.ndarray, source: Source, size: tuple[int, int], part: Part) -> np.ndarray:
    height, width = source.motion.trust.shape
    flow = enlarged(source.motion.flow, size, part)
    if size != (height, width):
        flow = flow * np.array([size[1] / width, size[0] / height], np.float32)
    return warped(mask, flow, (part[0].start, part[1].start))


def _longer(motion: ShotMotion, index: int, nearer: Motion | None, key: int, step: int) -> Motion:
    """The motion from a frame to a given one by way of its neighbour, whose motion there is `nearer`; None where the
    neighbour is the given frame."""
    first = motion.step(index - 1).back if step < 0 else motion.step(index).ahead
    if nearer is None:
        return first
    return chained(motion.picture(index), first, nearer, motion.picture(key))


def _back_from(motion: ShotMotion, key: int | None, first: int) -> Iterator[Motion]:
    """The motion to a given frame from those before it, from `first` on in order."""
    if key is None or first >= key:
        return
    # Frames at which motion is put aside, so that any block of frames is found from the one behind it.
    marks = range(first + _CHECKPOINT, key, _CHECKPOINT)
    with Shelf() as shelf:
        nearer: Motion | None = None
        for index in range(key - 1, first + _CHECKPOINT - 1, -1):
            nearer = _longer(motion, index, nearer, key, step=1)
            if index in marks:
                shelf.append(torch.from_numpy(np.dstack([nearer.flow, nearer.trust])))
        for block in range(first, key, _CHECKPOINT):
            stop = min(block + _CHECKPOINT, key)
            nearer = None
            if stop < key:
                kept = shelf[len(marks) - (stop - first) // _CHECKPOINT].numpy()  # put aside from behind
                nearer = Motion(np.ascontiguousarray(kept[..., :2]), np.ascontiguousarray(kept[..., 2]))
            held = []
            for index in range(stop - 1, block - 1, -1):
                nearer = _longer(motion, index, nearer, key, step=1)
                held.append(nearer)
            while held:
                yield held.pop()

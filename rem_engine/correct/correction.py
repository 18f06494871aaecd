"""Masks of a shot corrected from those of a few of its frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import torch
from torch import Tensor

from ..matte.motion import warped
from ..progress import SILENT, Progress
from .carried import Source, carried, sources, trust_of
from .edges import with_edges_of
from .network import TakeNetwork, network_size
from .parts import Part, enlarged, part_around, united, whole_part
from .shot_motion import ShotMotion

_POWER = 0.25
"""Of trust, in which carried and drawn masks are blended: chained trust falls faster than masks become wrong."""

_GROUP_PIXELS = 2**24  # at work at a time: eight frames of 1920x1080


@dataclass(frozen=True)
class CorrectedFrame:
    """A frame of a corrected shot.

    Attributes:
        index: its place in the shot.
        soft: its mask, float32 [H,W] on the device of the mask that it was made of.
        is_changed: whether it was worked on; otherwise the mask is the base's, to the bit.
    """

    index: int
    soft: Tensor
    is_changed: bool


def corrected(
    base: Callable[[int], Tensor],
    keys: Mapping[int, Tensor],
    motion: ShotMotion,
    *,
    within: Callable[[int], Tensor | None] | None = None,
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> Iterator[CorrectedFrame]:
    """Correct one layer of a shot: every frame once, in order; memory does not grow with their number.

    Each take is corrected from its own given frames, and left as it is where it has none. Given frames come as they
    were given, to the bit; on all others the masks of the nearest given frames are carried along the motion, and where
    trust in it ends, those that a network draws stand in, which was trained on the given frames of the take. Hard masks
    of small things are carried with the edges that the plate has (`edges`).

    Args:
        base: gives the mask of a frame that a model made, float32 [H,W], nominally 0..1; asked for in any order, by
            several threads.
        keys: masks of given frames by their indices, float32 [H,W] in 0..1; each is asked for when it is needed, so
            that they may be read from disk. An empty one says that nothing is there.
        motion: of the shot.
        within: gives how far anything may be at each pixel of a frame, in 0..1, None for anywhere; given frames aside.
            It is asked in the order of frames.
        device: where the network computes.
        progress: told "corrections".

    Raises:
        ValueError: a given frame outside the shot, of another size, or with values that are not of masks.
    """
    check_keys(keys, motion.frame_count)
    for take in motion.takes():
        if any(index in take for index in keys):
            frames = corrected_take(base, keys, motion, take, within=within, device=device)
        else:
            frames = (CorrectedFrame(index, base(index), False) for index in take)
        for frame in frames:
            yield frame
            progress.update("corrections", frame.index + 1, motion.frame_count)


def corrected_take(
    base: Callable[[int], Tensor],
    keys: Mapping[int, Tensor],
    motion: ShotMotion,
    take: range,
    *,
    within: Callable[[int], Tensor | None] | None = None,
    device: str | torch.device = "cpu",
) -> Iterator[CorrectedFrame]:
    """The frames of one take in which some are given; see `corrected`.

    Args:
        take: of `motion.takes()`.
    """
    return _Take(base, keys, motion, take, within, device).frames()


def check_keys(keys: Mapping[int, Tensor], frame_count: int) -> None:
    """Raise ValueError where no frame is given, or one that the shot does not have."""
    if not keys:
        raise ValueError("No frame was given to correct the shot from: give the mask of one at least.")
    for index in keys:
        if not 0 <= index < frame_count:
            raise ValueError(
                f"A mask was given for frame {index}, and the shot has frames 0 to {frame_count - 1}: give one of "
                "these."
            )


@dataclass(frozen=True)
class _GivenMask:
    """A mask that was given, float32 [H,W], as it is carried; and the same at the size at which motion is measured."""

    mask: np.ndarray
    small: np.ndarray


class _Take:
    """A take with given frames."""

    def __init__(
        self,
        base: Callable[[int], Tensor],
        keys: Mapping[int, Tensor],
        motion: ShotMotion,
        take: range,
        within: Callable[[int], Tensor | None] | None,
        device: str | torch.device,
    ) -> None:
        self._base, self._keys, self._motion, self._take = base, keys, motion, take
        self._given, self._within = tuple(sorted(index for index in keys if index in take)), within
        self._near: dict[int, _GivenMask] = {}  # of given frames next to the present one
        given = self._given
        first = self._key(given[0])
        self._size = (first.shape[0], first.shape[1])
        self._network = TakeNetwork(network_size(motion.size), device)
        masks = [self._network.reduced(self._at_edges(index)) for index in given]
        pictures = [motion.picture(index) for index in given]
        bases = [self._network.reduced(_as_array(base(index))) for index in given]
        self._network.train(pictures, bases, masks)

    def frames(self) -> Iterator[CorrectedFrame]:
        found = sources(self._motion, self._take, self._given)
        together = max(1, _GROUP_PIXELS // (self._size[0] * self._size[1]))
        workers = min(together, 4, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            while group := list(islice(found, min(together, 8))):
                needed = {key for index, near in group for key in ([source.key for source in near] or [index])}
                self._near = {key: self._near.get(key) or self._given_mask(key) for key in needed}
                bounds = [self._within(index) if self._within else None for index, _ in group]
                yield from pool.map(self._frame, group, bounds)

    def _frame(self, item: tuple[int, tuple[Source, ...]], within: Tensor | None) -> CorrectedFrame:
        index, near = item
        base = self._base(index)
        if not near:
            return CorrectedFrame(index, torch.from_numpy(self._key(index)).to(base), True)
        drawn = self._network.mask(self._motion.picture(index), _as_array(base))
        soft = np.zeros(self._size, np.float32)
        if (part := united(self._carried_part(near), part_around(drawn > 0.0, self._size))) is not None:
            mask = carried(near, [self._near[source.key].mask for source in near], index, part)
            beside = enlarged(drawn, self._size, part)
            # In place, since a frame may have many pixels: beside + share * (mask - beside).
            mask -= beside
            mask *= enlarged(trust_of(near) ** _POWER, self._size, part)
            mask += beside
            mask.clip(0.0, 1.0, out=soft[part])
        made = torch.from_numpy(soft).to(base)
        return CorrectedFrame(index, made if within is None else made * within.to(made), True)

    def _carried_part(self, near: tuple[Source, ...]) -> Part | None:
        """Where carried masks can be anything."""
        if self._size == self._motion.size:
            return whole_part(self._size)
        small = [warped(self._near[source.key].small, source.motion.flow) for source in near]
        return part_around(np.maximum.reduce(small) > 0.0, self._size)

    def _given_mask(self, index: int) -> _GivenMask:
        mask = self._at_edges(index)
        return _GivenMask(mask, cv2.resize(mask, self._motion.size[::-1], interpolation=cv2.INTER_AREA))

    def _at_edges(self, index: int) -> np.ndarray:
        """The mask of a given frame as other frames are made from it."""
        mask = self._key(index)
        return with_edges_of(self._motion.picture(index), mask) if mask.shape == self._motion.size else mask

    def _key(self, index: int) -> np.ndarray:
        mask = self._keys[index]
        expected = tuple(self._base(index).shape)
        if tuple(mask.shape) != expected:
            raise ValueError(
                f"The mask given for frame {index} has shape {list(mask.shape)}; {list(expected)}, the masks' of the "
                "shot, is expected."
            )
        values = _as_array(mask)
        low, high = float(values.min()), float(values.max())
        if not (low >= 0.0 and high <= 1.0):
            raise ValueError(
                f"The mask given for frame {index} holds values from {low:g} to {high:g}; 0..1 is expected."
            )
        return values


def _as_array(mask: Tensor) -> np.ndarray:
    return np.ascontiguousarray(mask.detach().cpu().float().numpy())

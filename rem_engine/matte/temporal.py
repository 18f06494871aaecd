"""Smoothing of masks along the motion of the plates, so that they flicker less and smear nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .frames import Frame
from .motion import Motion, Picture, chained, motions_between, warped


class FlowSmoother:
    """Takes the mean of each mask and those of the frames around it, each moved to where things are now.

    Where a frame around shows something else at a pixel (hidden there, not yet there, outside the picture, changed), it
    has no say, so that a mask neither smears behind what moves nor begins before a process does. Where nothing can be
    followed, the mask stays as it is. In a shot in which nothing moves, the result is the plain mean.

    A frame depends on `radius` frames to either side of it within its take, and on nothing else. The frames of that
    span are kept: 2 `radius` + 1.
    """

    def __init__(self, radius: int) -> None:
        """Raises ValueError unless `radius`, the frames looked at to either side, is at least 1."""
        if radius < 1:
            raise ValueError(f"Smoothing over {radius} frames to either side is not possible; 1 or more are expected.")
        self._radius = radius

    def stream(
        self, frames: Iterable[Frame], cuts: Collection[int] | Callable[[], Collection[int]] = ()
    ) -> Iterator[Frame]:
        """Smooth a shot, `radius` frames behind the one read last.

        Args:
            frames: in order, each with its plate; plates all of one size, masks of that or of the model's.
            cuts: frames at which a take begins, or a function that gives those known by the time a frame has come.

        Yields:
            Each frame with smoothed masks, of the same type and on the same device.

        Raises:
            ValueError: a frame without a plate, or one whose plate or masks are of a size that does not go with them.
        """
        held: list[_Held] = []  # of one take
        place = 0  # of the next frame to give, in `held`
        for frame in frames:
            if held and frame.index in (cuts() if callable(cuts) else cuts):
                yield from (self._smoothed(held, rest) for rest in range(place, len(held)))
                held, place = [], 0
            held.append(_Held.after(held[-1] if held else None, frame))
            if len(held) - place > self._radius:
                yield self._smoothed(held, place)
                held[place].let_go_of_plate()
                place += 1
                if place > self._radius:
                    del held[0]
                    place -= 1
        yield from (self._smoothed(held, rest) for rest in range(place, len(held)))

    def _smoothed(self, held: list[_Held], place: int) -> Frame:
        frame = held[place].frame
        soft = frame.soft.detach().cpu().numpy().astype(np.float32)
        total = soft.copy()
        weight = np.ones(soft.shape[1:], np.float32)
        for step in (-1, 1):
            motion: Motion | None = None
            for other in range(place + step, place + step * (self._radius + 1), step):
                nearer = held[other - step]
                following = nearer.ahead if step > 0 else nearer.back
                if not 0 <= other < len(held) or following is None:
                    break
                motion = chained(held[place].picture, motion, following, held[other].picture) if motion else following
                full = motion.scaled(soft.shape[1:])
                weight += full.trust
                masks = held[other].frame.soft.detach().cpu().numpy().astype(np.float32, copy=False)
                for layer, mask in enumerate(masks):
                    total[layer] += full.trust * warped(mask, full.flow)
        smoothed = torch.from_numpy(total / weight).to(frame.soft)
        return replace(frame, soft=smoothed)


@dataclass
class _Held:
    """A frame with its motion to its neighbours of the same take."""

    frame: Frame
    picture: Picture
    back: Motion | None = None
    ahead: Motion | None = None

    def let_go_of_plate(self) -> None:
        """Once the frame was given: its neighbours look at its masks, and at the reduced picture."""
        self.frame = replace(self.frame, plate=None, linear=None)

    @classmethod
    def after(cls, before: _Held | None, frame: Frame) -> _Held:
        if frame.plate is None:
            raise ValueError(f"Frame {frame.index} comes without its plate, which smoothing needs to follow motion.")
        size = tuple(frame.soft.shape[1:])
        plate_size = frame.plate.shape[:2]
        if frame.plate.shape[2:] != (3,) or any(side > whole for side, whole in zip(size, plate_size)):
            raise ValueError(
                f"The masks of frame {frame.index} are {size[1]}x{size[0]} and its plate has shape "
                f"{list(frame.plate.shape)}; a plate [{size[0]},{size[1]},3], or a larger one, is expected."
            )
        held = cls(frame, Picture.of(frame.plate.detach().cpu().float().numpy()))
        if before is not None:
            if before.frame.soft.shape != frame.soft.shape:
                raise ValueError(
                    f"The masks of frame {frame.index} have shape {list(frame.soft.shape)} and those before "
                    f"{list(before.frame.soft.shape)}; frames of one size and with as many layers are expected."
                )
            before.ahead, held.back = motions_between(before.picture, held.picture)
        return held


def flicker(alpha: np.ndarray | Tensor, flow: np.ndarray | Tensor, visible: np.ndarray | Tensor | None = None) -> float:
    """Mean absolute change of a matte from one frame to the next, along the motion of the picture.

    Args:
        alpha: [T,H,W], two frames or more.
        flow: [T-1,H,W,2], (x, y) pixels: what is at p in frame t is at p + flow[t,p] in frame t+1.
        visible: bool [T-1,H,W]: the pixels that count, those still seen in the next frame; None for all whose motion
            stays within the picture.

    Raises:
        ValueError: shapes that do not belong together, or no pixel that counts.
    """
    alpha, flow = (np.asarray(values, np.float32) for values in (alpha, flow))
    expected = (len(alpha) - 1, *alpha.shape[1:])
    if alpha.ndim != 3 or len(alpha) < 2 or flow.shape != (*expected, 2):
        raise ValueError(
            f"A matte of shape {list(alpha.shape)} and motion of shape {list(flow.shape)} do not belong together; "
            "[T,H,W] and [T-1,H,W,2] are expected, T at least 2."
        )
    counted = np.ones(expected, bool) if visible is None else np.asarray(visible, bool)
    if counted.shape != expected:
        raise ValueError(f"Visible pixels of shape {list(counted.shape)} do not fit; {list(expected)} is expected.")
    height, width = expected[1:]
    x, y = flow[..., 0] + np.arange(width), flow[..., 1] + np.arange(height)[:, None]
    counted = counted & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    if not counted.any():
        raise ValueError("No pixel stays within the picture and visible, so that no flicker can be measured.")
    change = [np.abs(warped(after, moved) - before) for before, after, moved in zip(alpha, alpha[1:], flow)]
    return float(np.stack(change)[counted].mean(dtype=np.float64))

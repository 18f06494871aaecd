"""Where the segmenter reads a shot from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from .pixels import check_unit_range

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_SIDE = 16
"""Pixels; a smaller frame holds less than one patch of the denoiser."""


View = Callable[[np.ndarray], np.ndarray]
"""Brings float32 [...,3] in 0..1 to display values in 0..1."""


class FrameSource(Protocol):
    """A shot that can be read in ranges, so that it need never be in memory whole.

    Attributes:
        frame_count: frames in the shot.
        height, width: size of every frame, pixels.
    """

    @property
    def frame_count(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `start`..`stop` as [n,H,W,3], uint8 or display-referred float32 in 0..1.

        `start` never decreases from one call to the next.
        """
        ...


@runtime_checkable
class ViewedFrames(FrameSource, Protocol):
    """A FrameSource whose way to display values may be cut in two, so that most of it follows a resize."""

    def read_unviewed(self, start: int, stop: int) -> np.ndarray:
        """As `read`; values may be such that only `view` brings them, resized or not, to display values."""
        ...

    @property
    def view(self) -> View | None:
        """Brings what `read_unviewed` gave, resized, to display values; None where these are such already."""
        ...


class ReopenableFrames(FrameSource, Protocol):
    """A FrameSource that several readers can read, each at its own place."""

    def reopen(self) -> ReopenableFrames:
        """Another reader of the same frames, from the first one on; to be closed on its own."""
        ...

    def close(self) -> None:
        """Let go of what is held open."""


class ArrayFrames:
    """ReopenableFrames over frames in memory, whatever their usual form.

    Args:
        frames: array or tensor [T,H,W,3], RGBA [T,H,W,4] (alpha is dropped), or grey [T,H,W] or [T,H,W,1];
            uint8, uint16, or float in 0..1 (what lies outside by up to `OVERSHOOT` is clipped). A tensor may be of any
            device, half precision or bfloat16, and may require gradients.

    Raises:
        ValueError: another shape or type; while reading, values that are not finite or not meant to lie in 0..1.
    """

    def __init__(self, frames: np.ndarray | Tensor) -> None:
        array = frames if isinstance(frames, np.ndarray) else _to_array(frames)
        if array.ndim == 3 and array.shape[-1] in (3, 4):
            raise ValueError(
                f"Frames of shape {list(array.shape)} look like one picture; "
                "frames [T,H,W,3] are expected: add a first axis with frames[None]."
            )
        if array.ndim == 3:
            array = array[..., None]
        if array.ndim != 4 or array.shape[-1] not in (1, 3, 4):
            raise ValueError(
                f"Frames of shape {list(array.shape)} cannot be read; [T,H,W,3] (or grey [T,H,W], or RGBA) is expected."
            )
        if array.dtype not in (np.uint8, np.uint16) and not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"Frames of type {array.dtype} cannot be read; use uint8, uint16, or float in 0..1.")
        self._frames = array
        self.frame_count, self.height, self.width = array.shape[:3]

    def read(self, start: int, stop: int) -> np.ndarray:
        frames = self._frames[start:stop, ..., :3]
        if frames.dtype == np.uint16:
            frames = frames.astype(np.float32) / 65535.0
        elif frames.dtype != np.uint8:
            self.check(start, stop)
            frames = frames.astype(np.float32).clip(0.0, 1.0)
        return np.broadcast_to(frames, (*frames.shape[:3], 3))

    def check(self, start: int, stop: int) -> None:
        """Raise ValueError where frames `start`..`stop` hold values that are not finite or not meant to lie in 0..1."""
        frames = self._frames[start:stop, ..., :3]
        if np.issubdtype(frames.dtype, np.floating) and frames.size:
            low, high = float(frames.min()), float(frames.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise not_finite(frames, start)
            check_unit_range(low, high, "Float frames")

    def reopen(self) -> ArrayFrames:
        return self  # any range may be read at any time

    def close(self) -> None:
        """Nothing is held open."""


def not_finite(frames: np.ndarray, start: int) -> ValueError:
    """What to say of frames [n,...] from `start` on of which one holds values that are NaN or infinite."""
    finite = np.isfinite(frames).reshape(len(frames), -1).all(axis=1)
    return ValueError(
        f"Frame {start + int(finite.argmin())} of the shot holds values that are not finite (NaN or infinite): give "
        "numbers in 0..1."
    )


def _to_array(frames: Tensor) -> np.ndarray:
    tensor = frames.detach().cpu()
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def check_source(source: FrameSource) -> None:
    """Raise ValueError for a shot the models cannot see: no frames, or frames under 16 pixels."""
    if source.frame_count < 1:
        raise ValueError("The shot has no frames; at least one is needed.")
    if min(source.height, source.width) < SMALLEST_SIDE:
        raise ValueError(
            f"The frames are {source.width}x{source.height} pixels; "
            f"at least {SMALLEST_SIDE}x{SMALLEST_SIDE} are needed."
        )

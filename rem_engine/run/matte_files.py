"""Soft masks and their plates through the matte stage and into delivered files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..frames import FrameSource
from ..matte import Matte, MatteFrame, MatteSettings, matte_frames
from ..media.colour import srgb_to_linear
from ..media.shot import Shot, ShotInfo
from ..media.writing import sixteen_bit
from .delivery import Delivery
from .delivery_settings import DeliverySettings
from .layout import SEQUENCES, VIDEOS


@dataclass(frozen=True)
class MaskedFrame:
    """A frame of a shot and its masks.

    Attributes:
        index: its place in the shot.
        soft: soft masks, float32 [L,H,W], nominally 0..1.
        plate: the frame as its source gives it, [H,W,3], uint8 or float32 in 0..1; None where nothing needs it.
        linear: scene-linear, float32 [H,W,3], not clipped; None where no EXR is written.
    """

    index: int
    soft: np.ndarray
    plate: np.ndarray | None = None
    linear: np.ndarray | None = None


@dataclass(frozen=True)
class Finished:
    """A matte and what is delivered with it.

    Attributes:
        matte: from the matte stage.
        display: the plate, float32 [H,W,3] in 0..1; None where it was not given.
        linear: as of the `MaskedFrame`.
    """

    matte: Matte
    display: np.ndarray | None
    linear: np.ndarray | None


def needs_plate(settings: MatteSettings, kinds: Collection[str]) -> bool:
    """Whether mattes by these settings, or files of these kinds, need the shot's pixels."""
    return any(kind != "alpha" or settings.needs_plate for kind in kinds)


def read_plate(source: FrameSource, index: int, kinds: Collection[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """`plate` and `linear` of a `MaskedFrame`, for files of these kinds."""
    plate = source.read(index, index + 1)[0]
    if "exr" not in kinds:
        return plate, None
    if isinstance(source, Shot):
        return plate, source.read_linear(index, index + 1)[0]
    return plate, srgb_to_linear(_display(plate))


def finish_mattes(
    frames: Iterable[MaskedFrame], settings: MatteSettings, cuts: Callable[[], Collection[int]]
) -> Iterator[Finished]:
    """Put frames through the matte stage; plates wait for their mattes, so that each is read once.

    Masks are rounded to 16 bits first, as they are on disk, so that masks that went through files give the same mattes.

    Args:
        frames: of a shot, in order.
        settings: of the matte stage.
        cuts: gives the frames at which takes begin, known for all frames given so far.
    """
    plates: dict[int, tuple[np.ndarray | None, np.ndarray | None]] = {}

    def prepared() -> Iterator[MatteFrame]:
        for frame in frames:
            display = None if frame.plate is None else _display(frame.plate)
            plates[frame.index] = display, frame.linear
            soft = torch.from_numpy(sixteen_bit(frame.soft).astype(np.float32) / np.float32(65535.0))
            yield MatteFrame(frame.index, soft, None if display is None else torch.from_numpy(display))

    for matte in matte_frames(prepared(), settings, cuts=cuts):
        yield Finished(matte, *plates.pop(matte.index))


class MatteFiles:
    """The files of mattes: sequences, which go on where they stopped, and videos, which begin anew."""

    def __init__(
        self,
        out: Path,
        name: str,
        layers: Sequence[str],
        info: ShotInfo,
        settings: DeliverySettings,
        first_index: int = 0,
    ) -> None:
        """Args: see `Delivery`; frames before `first_index` are in the sequences already."""
        self._out, self._name = out, name

        def delivery(among: Sequence[str], first: int) -> Delivery | None:
            kinds = tuple(kind for kind in settings.kinds if kind in among)
            return Delivery(out, name, layers, info, replace(settings, kinds=kinds), first) if kinds else None

        self._sequences = delivery(SEQUENCES, first_index)
        both = (self._sequences, delivery(VIDEOS, 0))
        self._deliveries = [one for one in both if one is not None]

    def write(self, finished: Finished) -> None:
        """Write the next frame to every file that does not have it."""
        matte = finished.matte
        foreground = None if matte.foreground is None else matte.foreground.numpy()
        for delivery in self._deliveries:
            if matte.index >= delivery.next_index:
                delivery.write(matte.index, finished.linear, finished.display, matte.alpha.numpy(), foreground)

    @property
    def in_sequences(self) -> int:
        """Frames that the sequences have; 0 where there are none."""
        return 0 if self._sequences is None else self._sequences.next_index

    def listing(self) -> list[str]:
        """What stands, as paths below OUT; a sequence as one entry with its first and last number."""
        numbers: dict[tuple[Path, str], list[str]] = {}
        entries = []
        for delivery in self._deliveries:
            for file in delivery.files():
                if delivery is self._sequences:
                    numbers.setdefault((file.parent, file.suffix), []).append(Path(file.stem).suffix[1:])
                else:
                    entries.append(file.relative_to(self._out).as_posix())
        for (folder, suffix), found in numbers.items():
            name = f"{self._name}.{found[0]}-{found[-1]}{suffix}"
            entries.append((folder / name).relative_to(self._out).as_posix())
        return sorted(entries)

    def close(self) -> None:
        for delivery in self._deliveries:
            delivery.close()

    def abandon(self) -> None:
        for delivery in self._deliveries:
            delivery.abandon()


@contextmanager
def whole_or_abandoned(files: MatteFiles) -> Iterator[MatteFiles]:
    """Close files at the end; after any exception keep finished frames, and no half video."""
    try:
        yield files
        files.close()
    except BaseException:  # Ctrl-C too
        files.abandon()
        raise


def _display(plate: np.ndarray) -> np.ndarray:
    """float32 in 0..1, writable as torch wants it."""
    if plate.dtype == np.uint8:
        return plate.astype(np.float32) / np.float32(255.0)
    return np.require(plate, np.float32, ("C", "W"))

"""Pictures of masks, read with all channels that may be the matte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from .animation import AnimationShot
from .matte_values import StoredPicture, matte_channels
from .stills import Part, Still
from .windows import Box, Windows


def stored_pictures(files: Iterable[Path], asked: str = "", windows: Windows | None = None) -> Generator[StoredPicture]:
    """Channels of pictures that may be their matte, one picture at a time; see `open_masks`.

    Raises:
        ValueError: a damaged file, pictures of different sizes, or channels that hold no matte.
    """
    first: list[tuple[Path, Box]] = []
    for file in files:
        yield _stored_picture(file, asked, windows, first)  # without a name, which would hold it beside the frame


def _stored_picture(file: Path, asked: str, windows: Windows | None, first: list[tuple[Path, Box]]) -> StoredPicture:
    """A picture; `first` becomes the sequence's first one and its box, which the others' has to be as large as."""
    with Still(file) as still:
        part, colour, alpha = _channels_of(still, asked)
        canvas = _canvas_of(part, windows)
        first[:] = first or [(file, canvas)]
        ((first_file, first_canvas),) = first
        if (canvas.height, canvas.width) != (first_canvas.height, first_canvas.width):
            raise ValueError(
                f"The masks {first_file.name} and {file.name} differ in size, {first_canvas} and {canvas}: bring them "
                "to one size."
            )
        values = still.read(part, (*colour, *alpha), canvas)
    return StoredPicture(
        file.name,
        values,
        colour,
        alpha,
        0 if part.is_float or still.kind == "openexr" else 255 if values.dtype == np.uint8 else 2**part.bits - 1,
        tuple(name for name in part.channels if name not in (*colour, *alpha)),
        still.kind in ("png", "tiff") and len(colour) == 3 and _is_palette(still, part),
        still.kind in ("jpeg", "jpegxl"),
    )


class MaskAnimation(AnimationShot):
    """An animation whose frames keep their alpha."""

    _mode = "RGBA"

    def stored_picture(self, index: int, asked: str = "") -> StoredPicture:
        """The channels of a frame that may be its matte; see `open_masks`.

        Raises:
            ValueError: a frame that cannot be decoded, or no such channel.
        """
        name = f"Frame {index} of {self.files[0].name}"
        colour, alpha = matte_channels(name, tuple(self._mode), asked)
        places = [self._mode.index(channel) for channel in (*colour, *alpha)]
        return StoredPicture(name, self._frame(index)[..., places], colour, alpha, 255, is_lossy=True)


def _channels_of(still: Still, asked: str) -> tuple[Part, tuple[str, ...], tuple[str, ...]]:
    """The part that holds the matte, and its channels there; those of several parts that are named alike, by the
    part's name."""
    flat = [part for part in still.parts if not part.is_deep] or list(still.parts)
    names = Counter(channel for part in flat for channel in part.channels)
    places = {
        f"{part.name}.{channel}" if part.name and names[channel] > 1 else channel: (part, channel)
        for part in flat
        for channel in part.channels
    }
    colour, alpha = matte_channels(still.file.name, list(places), asked)
    part = places[(*colour, *alpha)[0]][0]
    colour, alpha = (tuple(places[name][1] for name in kind if places[name][0] is part) for kind in (colour, alpha))
    return part, colour, alpha


def matte_part(still: Still, asked: str = "", windows: Windows | None = None) -> tuple[Part, Box]:
    """The part of a picture that holds the matte, and what of it is read; see `open_masks`."""
    part, _, _ = _channels_of(still, asked)
    return part, _canvas_of(part, windows)


def _canvas_of(part: Part, windows: Windows | None) -> Box:
    return windows.data if windows is not None and part.display == windows.display else part.whole


def _is_palette(still: Still, part: Part) -> bool:
    if still.kind == "tiff":
        return part.attributes.get("tiff:ColorSpace") == "palette"
    with still.file.open("rb") as stream:
        return stream.read(26)[25:] == b"\x03"  # PNG 11.2.2, IHDR's colour type

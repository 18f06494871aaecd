"""What a look at a shot's first frame says of its colours: hints, where they are unlike those of footage."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..pixels import unit_values
from .colour import GAMUTS, luminance_weights, srgb_to_linear
from .plate_colour import ASKED
from .plate_space import TRANSFERS
from .shot import Shot

# Display values below which 99 of 100 pixels of footage are not, and below which a frame is black on purpose.
_DARK, _BLACK = 0.12, 0.004
# Light that a hint would bring the 99th percentile of a dark frame to, or the median of a bright one.
_TARGET = 0.4
# Logarithmic footage that is shown as it is: black is grey, white is grey, and colours are pale.
_LOG_BLACK, _LOG_WHITE, _LOG_CHROMA = (0.06, 0.25), (0.4, 0.85), 0.12
_PIXELS = 256  # a side, about; enough for shares


def colour_hints(shot: Shot) -> Iterator[str]:
    """A sentence for each thing that is odd in how the model sees the shot's first frame.

    Raises:
        ValueError: it cannot be read.
    """
    frame = shot.read(0, 1)[0]
    seen = unit_values(frame[:: max(1, frame.shape[0] // _PIXELS), :: max(1, frame.shape[1] // _PIXELS)])
    luma = seen @ np.array(luminance_weights(GAMUTS["rec709"]), np.float32)
    low, middle, high = (float(value) for value in np.percentile(luma, (1, 50, 99)))
    colour = shot.plate_colour
    taken = f"It is taken as {colour.space.name}: name another space with --plate-space, or"
    if _BLACK < high < _DARK:
        stops = math.ceil(math.log2(_TARGET / float(srgb_to_linear(np.array(high)))))
        yield (
            f"{shot.name} is very dark as the model sees it: 99 of 100 pixels of its first frame are below "
            f"{high:.2f} of white. {taken} brighten it with --exposure {colour.exposure + stops:g}."
        )
    elif middle > 0.999 and not colour.shows_as_is:
        yield (
            f"{shot.name} is very bright as the model sees it: half of its first frame is white. {taken} darken it "
            f"with --exposure {colour.exposure - 2:g}."
        )
    pale = float((seen.max(axis=-1) - seen.min(axis=-1)).mean()) < _LOG_CHROMA
    flat = _LOG_BLACK[0] < low < _LOG_BLACK[1] and _LOG_WHITE[0] < high < _LOG_WHITE[1]
    tags = colour.space.tags
    if flat and pale and tags is not None and tags.transfer not in TRANSFERS and colour.known_from != ASKED:
        yield (
            f"{shot.name} looks as flat as logarithmic footage does (from {low:.2f} to {high:.2f} of white). It does "
            "not say so, and is shown as it is: if it is such, name its space with --plate-space, logc3 for example."
        )

"""The part of a frame that has to be worked on, since most of a mask is empty or solid."""

from __future__ import annotations

from torch import Tensor


def bounding_box(where: Tensor, margin: int, step: int = 1) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest box around all that is true in `where` [..., H, W]; None where nothing is.

    Args:
        where: boolean.
        margin: pixels added on each side, as far as the frame goes.
        step: the box starts at multiples of this.
    """
    where = where.reshape(-1, *where.shape[-2:]).any(dim=0)
    sides = []
    for dim in (1, 0):
        places = where.any(dim=dim).nonzero()
        if len(places) == 0:
            return None
        start = max(0, int(places[0]) - margin)
        sides.append(slice(start - start % step, min(int(places[-1]) + margin + 1, where.shape[1 - dim])))
    return sides[0], sides[1]

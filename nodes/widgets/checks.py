"""What is wrong of a node's widgets before anything runs, for `validate_inputs`.

The host hands over what it knows: None is what is linked, and not known yet.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from ...rem_engine.backbones.base import FAMILIES
from ...rem_engine.matte.settings import check_levels
from ...rem_engine.segment.settings import SegmentSettings
from ...rem_engine.setting import check_values


def first_mistake(*checks: Callable[[], object]) -> bool | str:
    """True, or the sentence of the first check that raises one."""
    for check in checks:
        try:
            check()
        except (ValueError, FileNotFoundError) as error:
            return str(error)
    return True


def check_level_widgets(black: float | None, white: float | None) -> None:
    """Raise ValueError for a black level that is not below the white one."""
    if black is not None and white is not None:
        check_levels(black, white)


def check_window_widgets(height: int | None, width: int | None, window: int | None, overlap: int | None) -> None:
    """Raise ValueError for a size or window that no model can have, whichever it is; 0 is the model's own."""
    multiple = gcd(*(family.size_multiple for family in FAMILIES.values()))
    for name, side in (("height", height), ("width", width)):
        if side:
            check_values(SegmentSettings, size=(side, side))
            if side % multiple:
                raise ValueError(f"The {name} is {side}, and models see multiples of {multiple}: give one, or 0.")
    check_values(SegmentSettings, window=window or None, overlap=overlap or None)
    if window and overlap and overlap > window // 2:
        raise ValueError(
            f"Two windows of {window} frames cannot share {overlap}: give an overlap of up to {window // 2}, or 0."
        )

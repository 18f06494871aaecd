"""What is wrong of a node's widgets before anything runs, for `validate_inputs`.

The host hands over what it knows: None is what is linked, and not known yet; and of a number that is none the text, of
which it has told already.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

from ...rem_engine.backbones.base import FAMILIES
from ...rem_engine.matte import MatteSettings
from ...rem_engine.matte.settings import check_levels
from ...rem_engine.segment.settings import SegmentSettings
from ...rem_engine.setting import check_values
from .matte import levels_of


def first_mistake(*checks: Callable[[], object]) -> bool | str:
    """True, or the sentence of the first check that raises one."""
    for check in checks:
        try:
            check()
        except (ValueError, FileNotFoundError) as error:
            return str(error)
    return True


def check_level_widgets(black: Any, white: Any, levels: Any = None) -> None:
    """Raise ValueError for a black level that is not below the white one, in widgets of their own or in a RANGE."""
    known = _numbers(black=black, white=white)
    check_values(MatteSettings, **known)
    if len(known) == 2:
        check_levels(**known)
    moved: dict[str, Any] = levels_of(levels)
    if moved:
        MatteSettings(**moved)


def check_window_widgets(height: Any, width: Any, window: Any, overlap: Any) -> None:
    """Raise ValueError for a size or window that no model can have, whichever it is; 0 is the model's own."""
    multiple = gcd(*(family.size_multiple for family in FAMILIES.values()))
    for name, side in _numbers(height=height, width=width).items():
        if side:
            check_values(SegmentSettings, size=(side, side))
            if side % multiple:
                raise ValueError(f"The {name} is {side}, and models see multiples of {multiple}: give one, or 0.")
    spans = _numbers(window=window, overlap=overlap)
    window, overlap = (spans.get(name) or None for name in ("window", "overlap"))
    check_values(SegmentSettings, window=window, overlap=overlap)
    if window and overlap and overlap > window // 2:
        raise ValueError(
            f"Two windows of {window} frames cannot share {overlap}: give an overlap of up to {window // 2}, or 0."
        )


def _numbers(**values: Any) -> dict[str, Any]:
    """Those of widgets' values that are numbers; of a text that is none the host has told."""
    return {name: value for name, value in values.items() if isinstance(value, int | float)}

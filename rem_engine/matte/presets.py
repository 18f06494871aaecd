"""Settings of the matte stage by the name of what is to be matted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, get_args

PresetName = Literal["solid", "hair", "smoke", "fire", "water"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "solid": {"refine": None, "edges": "solid"},
    "hair": {"refine": None, "edges": "solid", "decontaminate": True},
    "smoke": {"refine": None, "edges": "soft", "smooth": 2},
    "fire": {"refine": None, "edges": "soft"},
    "water": {"refine": None, "edges": "soft", "smooth": 1},
})  # fmt: skip
"""Values of fields of `MatteSettings`; what is not among them stays at its default."""


def preset_values(name: str) -> Mapping[str, Any]:
    """The settings that a preset gives.

    Raises:
        ValueError: no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}: choose {', '.join(get_args(PresetName))}.")
    return PRESETS[name]

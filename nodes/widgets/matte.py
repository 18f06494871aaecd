"""Widgets of the matte stage, which MaskToAlpha and SegmentShot share, and the engine's settings made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

from comfy_api.latest import io

from ...rem_engine.matte import MatteSettings
from ...rem_engine.matte.presets import PresetName, preset_values
from ...rem_engine.matte.settings import NEUTRAL
from ...rem_engine.setting import settings_of
from .from_settings import engine_values, widget

NO_PRESET = "none"
_LEVELS = "levels"


def matte_inputs(names: Iterable[str], start: MatteSettings, **options: Any) -> list[io.Input]:
    """Widgets of fields of `MatteSettings`; those of a new node have the values of `start`."""
    settings = settings_of(MatteSettings)
    return [widget(settings[name], getattr(start, name), **options) for name in names]


def preset_input(tooltip: str, **options: Any) -> io.Input:
    return io.Combo.Input(
        "preset", options=[NO_PRESET, *get_args(PresetName)], default=NO_PRESET, tooltip=tooltip, **options
    )


def whole_matte_inputs() -> list[io.Input]:
    """Widgets that stand for several settings; a graph may leave them out."""
    inputs: list[io.Input] = [
        preset_input(
            "Settings that suit such a thing, for every widget that stands at its first value; others keep what they "
            "are set to.",
            optional=True,
        )
    ]
    if hasattr(io, "Range"):  # from ComfyUI 0.28 on
        inputs.append(
            io.Range.Input(
                _LEVELS,
                default={"min": NEUTRAL.black, "max": NEUTRAL.white, "midpoint": 0.5},
                optional=True,
                tooltip="Black, white and gamma in one. Moved, it stands above the widgets of these names.",
                show_midpoint=True,
                midpoint_scale="gamma",
                value_min=0.0,
                value_max=1.0,
            )
        )
    return inputs


def matte_settings(start: MatteSettings, values: Mapping[str, Any]) -> MatteSettings:
    """Settings of widget values by name, the others those of `start`.

    Raises:
        ValueError: values that do not go together.
    """
    given = engine_values(MatteSettings, values) | levels_of(values.get(_LEVELS))
    preset = values.get("preset", NO_PRESET)
    if preset != NO_PRESET:
        at_first = {name for name, value in given.items() if value == getattr(start, name)}
        given = {name: value for name, value in given.items() if name not in at_first}
        given = {**preset_values(preset), **given}
    return replace(start, **given)


def levels_of(levels: Any) -> dict[str, float]:
    """Black, white and gamma of a RANGE; of one that was not moved none, which leaves the widgets of these names.

    Raises:
        ValueError: it is none.
    """
    if levels is None:
        return {}
    given = [levels.get(name) for name in ("min", "max", "midpoint")] if isinstance(levels, Mapping) else []
    if not given or not all(part is None or isinstance(part, int | float) for part in given):
        raise ValueError(f"The levels are {levels!r}, and a RANGE of the numbers min, max and midpoint is expected.")
    black, white, middle = given
    black, white = NEUTRAL.black if black is None else black, NEUTRAL.white if white is None else white
    # The host's own: the middle grey is where a value of a half comes to lie.
    gamma = 1.0 if middle is None else -math.log2(min(max(middle, 1e-6), 1.0 - 1e-6))
    found = {"black": black, "white": white, "gamma": gamma}
    return {} if found == {name: getattr(NEUTRAL, name) for name in found} else found

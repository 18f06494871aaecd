"""How a plate is read, as widgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ...rem_engine.media.numbering import parse_range
from ...rem_engine.media.plate_settings import AUTO, PlateSettings
from ...rem_engine.media.plate_space import named_space
from ...rem_engine.setting import settings_of
from .from_settings import engine_values, widget


def plate_inputs() -> list[io.Input]:
    """All of them; graphs saved before they were there may leave them out."""
    return [widget(setting, optional=True) for setting in settings_of(PlateSettings).values()]


def plate_settings(values: Mapping[str, Any]) -> PlateSettings:
    """Settings of widgets' values by name; a node's other widgets are left aside."""
    found: dict[str, Any] = engine_values(PlateSettings, values)
    found |= {name: value.strip() for name, value in found.items() if isinstance(value, str)}
    return PlateSettings(**found)


def check_plate_widgets(frames: object, plate_space: object) -> None:
    """Raise ValueError for no range of frames and no colour space; None is not known yet."""
    if isinstance(frames, str) and frames.strip():
        parse_range(frames.strip())
    if isinstance(plate_space, str) and plate_space.strip() != AUTO:
        named_space(plate_space)

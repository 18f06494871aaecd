"""How a plate is read, as widgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ...rem_engine.media.plate_settings import PlateSettings
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

"""Widgets of the matte stage, which MaskToAlpha and SegmentShot share, and the engine's settings made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...rem_engine.matte import MatteSettings
from ...rem_engine.setting import settings_of
from .from_settings import engine_values, widget


def matte_inputs(names: Iterable[str], start: MatteSettings, **options: Any) -> list[io.Input]:
    """Widgets of fields of `MatteSettings`; those of a new node have the values of `start`."""
    settings = settings_of(MatteSettings)
    return [widget(settings[name], getattr(start, name), **options) for name in names]


def matte_settings(start: MatteSettings, values: Mapping[str, Any]) -> MatteSettings:
    """Settings of widget values by name, the others those of `start`.

    Raises:
        ValueError: values that do not go together.
    """
    return replace(start, **engine_values(MatteSettings, values))

"""Widgets made from the engine's settings, and the settings' values of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ...rem_engine.setting import Setting, settings_of
from ..host.schema import advanced


def widget(
    setting: Setting, default: Any = None, *, name: str = "", rare: bool | None = None, **options: Any
) -> io.Input:
    """The widget of a setting.

    Args:
        setting: of one of the engine's dataclasses.
        default: on a new node; None takes the setting's own.
        name: of the widget; without one it has the setting's.
        rare: folded away under "advanced inputs"; None takes what the setting says.
        options: further ones of the host's widget. With `optional`, graphs saved before it was there may leave it out.
    """
    kind, form = _kind_and_form(setting)
    made = kind(
        name or setting.name,
        default=setting.widget_default if default is None else default,
        tooltip=setting.widget_help,
        **form,
        **options,
    )
    return advanced(made) if (setting.rare if rare is None else rare) else made


def engine_values(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a dataclass's settings by name, of those of widgets; widgets of other names are left aside."""
    settings = settings_of(owner)
    return {name: settings[name].of_widget(value) for name, value in values.items() if name in settings}


def _kind_and_form(setting: Setting) -> tuple[type[io.Input], dict[str, Any]]:
    if setting.kind is bool:
        return io.Boolean.Input, {}
    if setting.kind is str:
        return io.Combo.Input, {"options": list(setting.choices)}
    if isinstance(setting.default, str):
        return io.String.Input, {}
    least, largest = setting.widget_bounds
    form = {"min": least, "max": largest, "step": setting.step}
    return (io.Float.Input, form | {"round": setting.round}) if setting.kind is float else (io.Int.Input, form)

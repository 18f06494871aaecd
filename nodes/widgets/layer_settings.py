"""Settings of single layers as lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_api.latest import io

from ...rem_engine.layers import Layer, check_layer_is_there, parse_layers, parse_settings
from ...rem_engine.matte import MatteSettings
from ...rem_engine.matte.layer_settings import settings_of_layers
from ...rem_engine.matte.settings import NEUTRAL


def layer_settings_input() -> io.Input:
    return io.String.Input(
        "layers",
        default="",
        multiline=True,
        optional=True,
        placeholder="smoke | preset: smoke\n2 | grow: -1",
        tooltip="Settings for single layers, one layer a line: its name or number, and widgets of this node or a "
        "preset: 'smoke | preset: smoke | edge_blur: 2'. What it does not say is as the widgets have it.",
    )


def checked_layers(lines: Sequence[str]) -> tuple[Layer, ...]:
    """The layers of prompts, a line each, with settings that are some.

    Raises:
        ValueError: a line that cannot be read, or sets what there is not.
    """
    layers = parse_layers(lines)
    settings_of_layers(NEUTRAL, layers)
    return layers


def settings_of_lines(text: str, names: Sequence[str], common: MatteSettings) -> tuple[MatteSettings, ...]:
    """Settings of each layer: the common ones, and over them those of its lines.

    Args:
        text: lines of a layer's name or number, counted from 1, and what is set.
        names: of the layers.
        common: settings of all.

    Raises:
        ValueError: a line that cannot be read, of no layer, or with what cannot be set.
    """
    own: dict[str, tuple[tuple[str, str], ...]] = {}
    for called, settings in _parsed(text):
        name = names[int(called) - 1] if called.isdecimal() and 0 < int(called) <= len(names) else called
        check_layer_is_there(name, names)
        own[name] = own.get(name, ()) + settings
    return settings_of_layers(common, [Layer(name, "", settings=own.get(name, ())) for name in names])


def check_lines(text: str | None) -> None:
    """Raise ValueError for lines that are wrong whatever the layers are called; None is not known yet."""
    for called, settings in _parsed(text or ""):
        settings_of_layers(NEUTRAL, [Layer(called, "", settings=settings)])


def _parsed(text: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    return [parse_settings(line) for line in text.splitlines() if line.strip()]

"""Settings of the matte stage that each layer has for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..layers import Layer
from ..names import LONGEST_NAME
from ..setting import settings_of, told_values
from .presets import preset_values
from .settings import MatteSettings

_PRESET = "preset"
_COLOUR = "colour"
_CORE, _EDGE = "core", "edge"
_OPTIONS_OF_MATTES = "matte_"
"""With what options of `segment` begin whose names its masks' own have, as --matte-threshold does."""


def settings_of_layers(common: MatteSettings, layers: Sequence[Layer]) -> tuple[MatteSettings, ...]:
    """The settings of each layer: those that all have in common, and over them its preset, and what it sets itself.

    Raises:
        ValueError: a layer sets what there is not, or to what it cannot be, or twice; the sentence names it.
    """
    return tuple(_of_layer(common, layer.name, layer.settings) for layer in layers)


def check_layer_is_there(name: str, layers: Sequence[str]) -> None:
    """Raise ValueError for the name of a layer to set something for, unless it is among those that there are."""
    if name not in layers:
        there = f"the layer is {layers[0]}" if len(layers) == 1 else f"they are {', '.join(layers)}"
        raise ValueError(f"There is no layer {name!r} to set something for: {there}.")


def derived_layers(names: Sequence[str], settings: Sequence[MatteSettings]) -> tuple[str, ...]:
    """Names of the core and edge mattes of layers that have them, in the order of `Frame.derived`.

    Raises:
        ValueError: another layer has such a name, or it is longer than names may be.
    """
    derived = tuple(
        derived for name, own in zip(names, settings, strict=True) for derived in with_derived(name, own)[1:]
    )
    taken = {name.casefold() for name in names}
    for name in derived:
        if name.casefold() in taken:
            raise ValueError(f"A layer is called {name!r}, as an edge matte of another would be: name it otherwise.")
        if len(name) > LONGEST_NAME:
            raise ValueError(
                f"The layer {name.rpartition('_')[0]!r} has too long a name for edge mattes: give it one of up to "
                f"{LONGEST_NAME - 5} characters."
            )
    return derived


def idle_settings(names: Sequence[str], settings: Sequence[MatteSettings]) -> list[str]:
    """Sentences on what layers set that does nothing beside their other settings."""
    known, found = settings_of(MatteSettings), dict[str, list[str]]()
    for name, own in zip(names, settings, strict=True):
        takes = {
            "edges": ("refine: auto", own.refine is None),
            "refine_detail": ("refine by a radius", bool(own.refine)),
            "knee": ("a threshold", own.threshold is not None),
        }
        for setting, (needed, is_there) in takes.items():
            value = getattr(own, setting)
            if value != known[setting].default and not is_there:
                sentence = f"'{_as_written(setting)}: {value}' does nothing for {{}}: it goes with {needed}."
                found.setdefault(sentence, []).append(name)
    return [sentence.format(", ".join(layers)) for sentence, layers in found.items()]


def named_as_fields(given: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """What is set for a layer, by the names of fields where it goes by those of options."""
    return tuple((setting.removeprefix(_OPTIONS_OF_MATTES), text) for setting, text in given)


def told_by_layer(names: Sequence[str], settings: Sequence[MatteSettings]) -> dict[str, dict[str, Any]]:
    """The values of each layer's settings, in words where they are no values, and of its core and edge mattes."""
    return {
        told: told_values(own) for name, own in zip(names, settings, strict=True) for told in with_derived(name, own)
    }


def with_derived(name: str, own: MatteSettings) -> tuple[str, ...]:
    """Names of a layer and, where it has them, of its core and edge mattes."""
    return (name, *(f"{name}_{part}" for part in (_CORE, _EDGE) if own.edge_mattes))


def _of_layer(common: MatteSettings, name: str, given: Sequence[tuple[str, str]]) -> MatteSettings:
    known = settings_of(MatteSettings)
    values: dict[str, Any] = {}
    preset: Mapping[str, Any] = {}
    try:
        named = named_as_fields(given)
        for place, (setting, text) in enumerate(named):
            if setting in [other for other, _ in named[:place]]:
                raise ValueError(f"{_as_written(setting)!r} is set twice: leave one of them out.")
            if setting == _PRESET:
                preset = preset_values(text.lower())
            elif setting in known:
                values[setting] = known[setting].of_text(text)
            elif setting == _COLOUR:
                raise ValueError("A colour is one in overlays, and belongs to a prompt line: leave it out here.")
            else:
                choices = ", ".join(_as_written(one) for one in (_PRESET, *known))
                raise ValueError(f"There is no setting {_as_written(setting)!r}: choose {choices}.")
        return replace(common, **{**preset, **values})
    except ValueError as error:
        raise ValueError(f"Layer {name!r}: {error}") from error


def _as_written(setting: str) -> str:
    return setting.replace("_", " ")

"""What a run had set for its layers, where mattes are made of its masks again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict

from ..layers import parse_settings, settings_line
from ..matte import MatteSettings
from ..matte.layer_settings import named_as_fields
from ..setting import told_values
from .given_masks import GivenMasks

Own = tuple[tuple[str, str], ...]
"""(name, value) of what is set for a layer, as `Layer.settings` has it."""


def kept_settings(
    given: Mapping[str, GivenMasks], own: Mapping[str, Own], common: MatteSettings, asked: Collection[str]
) -> dict[str, Own]:
    """What is set for each layer: what its run had set, less what is given anew, and over it what it is given here.

    A preset that is given anew takes the place of all that the run had set.

    Args:
        given: masks of each layer.
        own: what is given for single layers.
        common: what holds for all.
        asked: names of settings in it that were asked for, and "preset"; these stand above a run's.
    """
    found: dict[str, Own] = {}
    values = told_values(common)
    for name, masks in given.items():
        anew = own.get(name, ())
        kept = dict(_left_of(name, masks, anew, asked))
        if kept:  # whose preset would stand above what was asked for
            set_here = {setting for setting, _ in named_as_fields(anew)}
            kept |= {setting: str(values[setting]) for setting in asked if setting not in set_here}
        found[name] = (*kept.items(), *anew)
    return found


def kept_notes(
    given: Mapping[str, GivenMasks],
    own: Mapping[str, Own],
    common: MatteSettings,
    asked: Collection[str],
    modes: Collection[str],
) -> list[str]:
    """What there is to say of it: what is kept, and what else the runs had that does not hold here.

    Args:
        given, own, common, asked: see `kept_settings`.
        modes: those of which mattes are given here.
    """
    left = {name: _left_of(name, masks, own.get(name, ()), asked) for name, masks in given.items()}
    lines = [settings_line(name, kept) for name, kept in left.items() if kept]
    notes = [f"As in their run: {'; '.join(lines)}. --set gives a layer's settings anew."] if lines else []
    others: dict[str, None] = {}
    for masks in given.values():
        others |= dict.fromkeys([*_other_values(masks, common, asked), *_other_mattes(masks, modes)])
    if others:
        notes.append(f"Not taken over from their run: {', '.join(others)}; give it again where it shall hold here.")
    return notes


def _left_of(name: str, masks: GivenMasks, anew: Own, asked: Collection[str]) -> Own:
    """What the layer's run had set for it and is not given anew."""
    set_here = {*asked, *(setting for setting, _ in named_as_fields(anew))}
    lines = masks.settings.get("own")
    if "preset" in set_here or not isinstance(lines, list):
        return ()
    for called, settings in map(parse_settings, map(str, lines)):
        if called == name:
            return tuple((setting, value) for setting, value in named_as_fields(settings) if setting not in set_here)
    return ()


def _other_values(masks: GivenMasks, common: MatteSettings, asked: Collection[str]) -> list[str]:
    """Options of all layers of the run, as they are written, that are others here without having been asked for."""
    told, here, usual = masks.settings.get("matte"), asdict(common), asdict(MatteSettings())
    if not isinstance(told, dict):
        return []
    other = {name: told.get(name, usual[name]) for name in usual if name not in asked}
    return [
        f"--{name.replace('_', '-')}" if value is True else f"--{name.replace('_', '-')} {value}"
        for name, value in other.items()
        if value not in (usual[name], here[name])
    ]


def _other_mattes(masks: GivenMasks, modes: Collection[str]) -> list[str]:
    """Mattes that the run was given, of modes of which none are given here."""
    told = masks.settings.get("hints")
    if not isinstance(told, dict):
        return []
    return [
        f"--{mode.replace('_', '-')} {text}"
        for mode, texts in told.items()
        if mode not in modes and isinstance(texts, list)
        for text in texts
    ]

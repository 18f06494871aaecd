"""Prompts as an artist writes them: named layers, what to leave out of them, and how they share the picture."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from .names import COMPOSITORS_NAMES, LAYER_NAME, LONGEST_NAME, RESERVED_NAMES, CombineMode, folder_names, names_a_layer

MOST_LAYERS = 255
"""Layers in one run; an id map has 8 bits."""

_HOW = "write 'name: text', for example 'smoke: the smoke'"
_COLOUR = "colour"
_RGB = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Layer:
    """One mask that is asked for.

    Attributes:
        name: of its folder, and of its channels in an EXR.
        text: what to segment.
        without: texts whose masks are taken away from it.
        settings: (name, value) of what is set for this layer alone, as they were written.
        colour: "#rrggbb" in which an overlay shows it; "" for one that stands out.
    """

    name: str
    text: str
    without: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    colour: str = ""


def check_prompt(prompt: str) -> None:
    """Raise ValueError for a prompt without words."""
    if not prompt.strip():
        raise ValueError("The prompt is empty: name what to segment, for example 'the smoke'.")


def parse_layers(lines: Sequence[str]) -> tuple[Layer, ...]:
    """Read prompts, one layer a line: `name: text | -text | -text | setting: value | colour: #rrggbb`.

    All but the text is optional. A line that begins with `#` is none, as if it were blank. What is set is only taken
    apart here, all but the colour in overlays; `matte.layer_settings` knows what can be set. A name is one word of
    letters, digits, `_`, `-` and `.`, which begins and ends with none of the last two; without one a layer is named by
    its text, as its folder always was. A colon between two digits (10:30) belongs to the text. Blank lines are skipped,
    but counted.

    >>> parse_layers(["smoke: the smoke | -the steam from the kettle", "the red car"])
    (Layer(name='smoke', text='the smoke', without=('the steam from the kettle',), settings=(), colour=''),
     Layer(name='the_red_car', text='the red car', without=(), settings=(), colour=''))

    Raises:
        ValueError: no prompt at all, or a line that cannot be read: the sentence names the line, counted from 1, and
            says what to write.
    """
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if _is_prompt(line)]
    if not numbered:
        check_prompt("")
    for number, line in numbered:
        _check_text(line, f"Prompt line {number} ({line!r})")
    if len(numbered) > MOST_LAYERS:
        raise ValueError(f"There are {len(numbered)} prompts, and a run takes up to {MOST_LAYERS}: make several runs.")
    parsed = [_parse_line(line, f"Prompt line {number} ({line!r})") for number, line in numbered]
    given: dict[str, int] = {}
    for (number, line), layer in zip(numbered, parsed, strict=True):
        if not (name := layer.name):
            continue
        # Regardless of case: on some systems Smoke and smoke are one folder.
        first = given.setdefault(name.casefold(), number)
        if first != number:
            raise ValueError(
                f"Prompt line {number} ({line!r}) has the name {name!r} of line {first}: give each layer a name of "
                "its own."
            )
    unnamed = [layer.text for layer in parsed if not layer.name]
    made = iter(folder_names(unnamed, taken={*given, *RESERVED_NAMES}))
    return tuple(replace(layer, name=layer.name or next(made)) for layer in parsed)


def parse_settings(line: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Read what is set for a layer that has no text: `name | setting: value | setting: value`.

    Returns:
        the layer's name, and (name, value) of each setting.

    Raises:
        ValueError: a line that cannot be read.
    """
    name, *parts = [part.strip() for part in line.split("|")]
    where = f"The line {line.strip()!r}"
    settings = tuple(setting for part in parts if (setting := _setting(part)) is not None)
    if not name or len(settings) < max(len(parts), 1):
        bare = next((part for part in parts if re.fullmatch(r"\w[\w\s-]*", part)), "")
        raise ValueError(
            f"{where} is no layer's settings: write its name and what is set, for example 'smoke | feather: 2'"
            + (f"; {bare!r} has no value, and a switch takes on or off: '{bare}: on'." if bare else ".")
        )
    return name, settings


def settings_line(name: str, settings: Sequence[tuple[str, str]]) -> str:
    """What is set for a layer, as `parse_settings` reads it."""
    return " | ".join([name, *(f"{setting.replace('_', ' ')}: {value}" for setting, value in settings)])


def check_layer_is_there(name: str, layers: Sequence[str], why: str = "to set something for") -> None:
    """Raise ValueError for a name that none of the layers has; `why` says what it was given for."""
    if name not in layers:
        there = f"the layer is {layers[0]}" if len(layers) == 1 else f"the layers are {', '.join(layers)}"
        raise ValueError(f"There is no layer {name!r} {why}: {there}.")


def texts_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Every distinct text of the layers, asked for or left out, in order of first use: what is encoded, once each."""
    return tuple(dict.fromkeys(text for layer in layers for text in (layer.text, *layer.without)))


def layer_label(layer: Layer) -> str:
    """What a legend says of a layer: the name an artist gave it, or else its text."""
    (made,) = folder_names([layer.text])
    return layer.text if re.fullmatch(rf"{re.escape(made)}(_\d+)?", layer.name) else layer.name


def layer_prompt(layer: Layer) -> str:
    """What is asked for, as a prompt line has it without its name: `the smoke | -the steam`."""
    return " | ".join([layer.text, *(f"-{text}" for text in layer.without)])


def combined_layers(layers: Sequence[Layer], mode: CombineMode) -> tuple[Layer, ...]:
    """The layers that `combine` gives: those asked for, or the one that is their union.

    Raises:
        ValueError: layers of different settings would become one.
    """
    if mode != "union" or len(layers) == 1:
        return tuple(layers)
    settings = {layer.settings for layer in layers}
    if len(settings) > 1:
        raise ValueError(
            "Layers that become one (combine: union) cannot be set apart: give all of them the same settings, or none."
        )
    colour = next((layer.colour for layer in layers if layer.colour), "")
    return (Layer("union", " + ".join(layer.text for layer in layers), settings=settings.pop(), colour=colour),)


def combine(
    soft: Tensor, layers: Sequence[Layer], mode: CombineMode = "separate", within: Tensor | None = None
) -> Tensor:
    """Soft masks of texts -> soft masks of layers.

    What a layer leaves out is subtracted softly: a * (1 - clip(b, 0, 1)), the operator "out" of Porter and Duff (1984)
    on coverages. What bounds a layer multiplies it, so that it is exactly 0 where that is. Then the layers share the
    picture:

        separate    each keeps its mask; they may overlap.
        union       one mask, the largest value of any layer.
        exclusive   each pixel keeps its value in the layer where it is largest (the first, among equals) and is 0 in
                    the others.

    Args:
        soft: [N,...,H,W], nominally 0..1, of `texts_of(layers)` in that order.
        layers: from `parse_layers`.
        mode: see above.
        within: how far each layer may be anywhere, 0..1, of a shape that multiplies [L,...,H,W]; None for no bounds.

    Returns:
        [L,...,H,W] of `combined_layers(layers, mode)`, of the same type, on the same device.

    Raises:
        ValueError: another number of masks than of texts, or an unknown mode.
    """
    if mode not in get_args(CombineMode):
        raise ValueError(f"Layers cannot be combined by {mode!r}: choose {', '.join(get_args(CombineMode))}.")
    rows = {text: row for row, text in enumerate(texts_of(layers))}
    if len(soft) != len(rows):
        raise ValueError(
            f"The layers name {len(rows)} texts, but {len(soft)} soft masks were given: give one for each."
        )
    masks = torch.stack([_without(soft, rows, layer) for layer in layers])
    if within is not None:
        masks = masks * within
    if mode == "union":
        return masks.amax(dim=0, keepdim=True)
    if mode == "exclusive":
        places = torch.arange(len(layers), device=soft.device).view(-1, *[1] * (soft.ndim - 1))
        return torch.where(places == masks.argmax(dim=0), masks, torch.zeros_like(masks))
    return masks


def id_map(soft: Tensor, threshold: float) -> Tensor:
    """Which layer each pixel belongs to.

    Args:
        soft: soft masks of layers [L,...,H,W], L <= 255.
        threshold: a pixel belongs to a layer where soft > threshold.

    Returns:
        uint8 [...,H,W]: 0 for none, else the number of the layer with the largest value, counted from 1 (the first,
        among equals).
    """
    numbers = soft.argmax(dim=0) + 1
    return torch.where(soft.amax(dim=0) > threshold, numbers, 0).to(torch.uint8)


def _check_text(line: str, where: str) -> None:
    """Raise ValueError for what is no text; a command line's bytes that are not UTF-8 come as half surrogate pairs."""
    if "\0" in line:
        raise ValueError(f"{where} holds a zero byte, which is no letter: leave it out.")
    try:
        line.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} holds a byte that is not UTF-8: write the prompt in UTF-8.") from error


def _is_prompt(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _parse_line(line: str, where: str) -> Layer:
    """The layer of a line that is one, "" for a name that it does not have; `where` begins its error sentences."""
    first, *rest = [part.strip() for part in line.split("|")]
    if first.startswith("-"):
        raise ValueError(
            f"{where} begins with what to leave out: first write what to segment, for example "
            "'the smoke | -the steam from the kettle'."
        )
    name, text = _split_name(first, where)
    if not text:
        raise ValueError(f"{where} does not say what to segment: {_HOW}.")
    found = [(part, _setting(part)) for part in rest]
    without = tuple(_left_out(part, where) for part, setting in found if setting is None)
    if text in without:
        raise ValueError(f"{where} leaves out what it asks for: nothing would be left; name another thing after '-'.")
    settings = [setting for _, setting in found if setting is not None]
    colours = [value for setting, value in settings if setting == _COLOUR]
    if len(colours) > 1 or not all(map(_RGB.fullmatch, colours)):
        raise ValueError(f"{where} has the colour {', '.join(colours)}: write one, as in 'colour: #ff8800'.")
    others = tuple(setting for setting in settings if setting[0] != _COLOUR)
    return Layer(name or "", text, tuple(dict.fromkeys(without)), others, "".join(colours).lower())


def _setting(part: str) -> tuple[str, str] | None:
    """`name: value` of what is set for a layer; None for what is left out, or nothing of either."""
    name, colon, value = (piece.strip() for piece in part.partition(":"))
    if part.startswith("-") or not colon or not name or not value:
        return None
    return re.sub(r"[\s-]+", "_", name.lower()), value


def _split_name(part: str, where: str) -> tuple[str | None, str]:
    """`name: text` -> (name, text); None where the part is text alone."""
    before, colon, after = part.partition(":")
    if not colon or (before[-1:].isdigit() and after[:1].isdigit()):
        return None, part
    name = before.strip()
    if LAYER_NAME.fullmatch(name):
        _check_name(name, where)
        return unicodedata.normalize("NFC", name), after.strip()
    if after and not after[0].isspace():
        return None, part
    raise ValueError(
        f"{where} has {name!r} before its colon, which is no name: a name is one word of letters, digits, '_', '-' "
        f"and '.'; {_HOW}, or leave the colon out."
    )


def _check_name(name: str, where: str) -> None:
    """Raise ValueError for a name that has the form of one and still cannot be a layer's."""
    if names_a_layer(name):
        return
    if len(name) > LONGEST_NAME:
        raise ValueError(f"{where} has a name of {len(name)} characters: up to {LONGEST_NAME} are possible.")
    if name.casefold() in COMPOSITORS_NAMES:
        raise ValueError(
            f"{where} has the name {name!r}, which compositing programs have for channels of their own: take another, "
            f"for example matte_{name}."
        )
    raise ValueError(f"{where} has the name {name!r}, which other files of a run or of Windows have: take another.")


def _left_out(part: str, where: str) -> str:
    text = part.removeprefix("-").strip()
    if text and part.startswith("-"):
        return text
    shown = f"{part!r}" if part else "nothing"
    raise ValueError(
        f"{where} has {shown} after a '|', where each part begins with '-' and says what to leave out, for example "
        "'the smoke | -the steam from the kettle', or sets something, as 'feather: 2' and 'decontaminate: on' do; a "
        "further layer goes into a line of its own."
    )


def _without(soft: Tensor, rows: dict[str, int], layer: Layer) -> Tensor:
    mask = soft[rows[layer.text]]
    for text in layer.without:
        mask = mask * (1.0 - soft[rows[text]].clamp(0.0, 1.0))
    return mask

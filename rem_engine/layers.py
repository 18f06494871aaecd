"""Prompts as an artist writes them: named layers, what to leave out of them, and how they share the picture."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from .names import LAYER_NAME, LONGEST_NAME, RESERVED_NAMES, CombineMode, folder_names, names_a_layer

MOST_LAYERS = 255
"""Layers in one run; an id map has 8 bits."""

_HOW = "write 'name: text', for example 'smoke: the smoke'"


@dataclass(frozen=True)
class Layer:
    """One mask that is asked for.

    Attributes:
        name: of its folder, and of its channels in an EXR.
        text: what to segment.
        without: texts whose masks are taken away from it.
    """

    name: str
    text: str
    without: tuple[str, ...] = ()


def check_prompt(prompt: str) -> None:
    """Raise ValueError for a prompt without words."""
    if not prompt.strip():
        raise ValueError("The prompt is empty: name what to segment, for example 'the smoke'.")


def parse_layers(lines: Sequence[str]) -> tuple[Layer, ...]:
    """Read prompts, one layer a line: `name: text | -text | -text`.

    The name and what is left out are optional. A name is one word of letters, digits, `_`, `-` and `.`, which begins
    and ends with none of the last two; without one a layer is named by its text, as its folder always was. A colon
    between two digits (10:30) belongs to the text. Blank lines are skipped, but counted.

    >>> parse_layers(["smoke: the smoke | -the steam from the kettle", "the red car"])
    (Layer(name='smoke', text='the smoke', without=('the steam from the kettle',)),
     Layer(name='the_red_car', text='the red car', without=()))

    Raises:
        ValueError: no prompt at all, or a line that cannot be read: the sentence names the line, counted from 1, and
            says what to write.
    """
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        check_prompt("")
    for number, line in numbered:
        _check_text(line, f"Prompt line {number} ({line!r})")
    if len(numbered) > MOST_LAYERS:
        raise ValueError(f"There are {len(numbered)} prompts, and a run takes up to {MOST_LAYERS}: make several runs.")
    parsed = [_parse_line(line, f"Prompt line {number} ({line!r})") for number, line in numbered]
    given: dict[str, int] = {}
    for (number, line), (name, _, _) in zip(numbered, parsed, strict=True):
        if name is None:
            continue
        # Regardless of case: on some systems Smoke and smoke are one folder.
        first = given.setdefault(name.casefold(), number)
        if first != number:
            raise ValueError(
                f"Prompt line {number} ({line!r}) has the name {name!r} of line {first}: give each layer a name of "
                "its own."
            )
    unnamed = [text for name, text, _ in parsed if name is None]
    made = iter(folder_names(unnamed, taken={*given, *RESERVED_NAMES}))
    return tuple(Layer(next(made) if name is None else name, text, without) for name, text, without in parsed)


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
    """The layers that `combine` gives: those asked for, or the one that is their union."""
    if mode != "union" or len(layers) == 1:
        return tuple(layers)
    return (Layer("union", " + ".join(layer.text for layer in layers)),)


def combine(soft: Tensor, layers: Sequence[Layer], mode: CombineMode = "separate") -> Tensor:
    """Soft masks of texts -> soft masks of layers.

    What a layer leaves out is subtracted softly: a * (1 - clip(b, 0, 1)), the operator "out" of Porter and Duff (1984)
    on coverages. Then the layers share the picture:

        separate    each keeps its mask; they may overlap.
        union       one mask, the largest value of any layer.
        exclusive   each pixel keeps its value in the layer where it is largest (the first, among equals) and is 0 in
                    the others.

    Args:
        soft: [N,...,H,W], nominally 0..1, of `texts_of(layers)` in that order.
        layers: from `parse_layers`.
        mode: see above.

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


def _parse_line(line: str, where: str) -> tuple[str | None, str, tuple[str, ...]]:
    """(name or None, text, texts left out) of a line that is not blank; `where` begins its error sentences."""
    first, *rest = [part.strip() for part in line.split("|")]
    if first.startswith("-"):
        raise ValueError(
            f"{where} begins with what to leave out: first write what to segment, for example "
            "'the smoke | -the steam from the kettle'."
        )
    name, text = _split_name(first, where)
    if not text:
        raise ValueError(f"{where} does not say what to segment: {_HOW}.")
    without = tuple(_left_out(part, where) for part in rest)
    if text in without:
        raise ValueError(f"{where} leaves out what it asks for: nothing would be left; name another thing after '-'.")
    return name, text, tuple(dict.fromkeys(without))


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
    raise ValueError(f"{where} has the name {name!r}, which other files of a run or of Windows have: take another.")


def _left_out(part: str, where: str) -> str:
    text = part.removeprefix("-").strip()
    if text and part.startswith("-"):
        return text
    shown = f"{part!r}" if part else "nothing"
    raise ValueError(
        f"{where} has {shown} after a '|', where each part begins with '-' and says what to leave out, for example "
        "'the smoke | -the steam from the kettle'; a further layer goes into a line of its own."
    )


def _without(soft: Tensor, rows: dict[str, int], layer: Layer) -> Tensor:
    mask = soft[rows[layer.text]]
    for text in layer.without:
        mask = mask * (1.0 - soft[rows[text]].clamp(0.0, 1.0))
    return mask

"""Layers of prompts in a CONDITIONING: how EncodeText writes them down, and how they are read back out of any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...rem_engine.backbones.base import WAN, fit_text_rows
from ...rem_engine.layers import Layer, texts_of
from ...rem_engine.names import folder_names, unused_name

Conditioning = list[list[Any]]

_PROMPT = "refereverything_prompt"  # an entry's text
_LAYERS = "refereverything_layers"  # all layers of the EncodeText that an entry comes from


def write_layers(layers: Sequence[Layer], rows: Mapping[str, Tensor]) -> Conditioning:
    """A CONDITIONING of layers: a plain list with one entry for each of `texts_of(layers)`, in that order.

    Args:
        layers: from `parse_layers`.
        rows: [77,D] of each text.
    """
    layers = tuple(layers)
    return [
        [rows[text][None], {"pooled_output": None, _PROMPT: text, _LAYERS: layers}]  # the host wants a pooled_output
        for text in texts_of(layers)
    ]


def read_layers(conditioning: Conditioning, width: int = WAN.text_width) -> tuple[tuple[Layer, ...], Tensor]:
    """Layers of a CONDITIONING: of one or several EncodeText, joined by the host, or of its own text nodes.

    Args:
        conditioning: from `write_layers`; an entry that is not is a layer by itself.
        width: of the rows that the denoiser reads.

    Returns:
        the layers, names that occur twice numbered, and float32 rows [N,77,width] of their N `texts_of`.

    Raises:
        ValueError: nothing in it, or made by a text encoder of another width.
    """
    if not conditioning:
        raise ValueError("The CONDITIONING is empty: connect EncodeText.")
    layers: list[Layer] = []
    rows: dict[str, Tensor] = {}
    place = 0
    while place < len(conditioning):
        group = _group_at(conditioning, place)
        known: dict[str, str] = {}  # a text as the group calls it -> as all do
        for text in texts_of(group):
            known[text] = _keep(rows, text, _rows(conditioning[place][0], width))
            place += 1
        for layer in group:
            without = tuple(known[text] for text in layer.without)
            name, text = unused_name(layer.name, (other.name for other in layers)), known[layer.text]
            layers.append(Layer(name, text, without, layer.settings, layer.colour))
    return tuple(layers), torch.stack([rows[text] for text in texts_of(layers)])


def _group_at(conditioning: Conditioning, place: int) -> tuple[Layer, ...]:
    """Layers whose entries begin at a place: those of an EncodeText, if they are all there."""
    extras = conditioning[place][1]
    group = extras.get(_LAYERS, ())
    texts = texts_of(group)
    found = tuple(entry[1].get(_PROMPT) for entry in conditioning[place : place + len(texts)])
    if group and found == texts:
        return group
    text = extras.get(_PROMPT, f"prompt {place + 1}")
    return (Layer(folder_names([text])[0], text),)


def _rows(embeds: Tensor, width: int) -> Tensor:
    if embeds.shape[-1] != width:
        raise ValueError(
            f"The CONDITIONING is {embeds.shape[-1]} wide and the model reads text {width} wide: make it with "
            "EncodeText and the CLIP of the same LoadREM."
        )
    return fit_text_rows(embeds[0], width)


def _keep(rows: dict[str, Tensor], text: str, embeds: Tensor) -> str:
    """Keep the rows of a text; under another one where two text encoders made different rows of the same."""
    name, number = text, 2
    while name in rows and not torch.equal(rows[name], embeds):
        name, number = f"{text} ({number})", number + 1
    rows[name] = embeds
    return name

"""Layers of a shot in the host's MASK and IMAGE, where they follow one another: all frames of the first, and so on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import rearrange, repeat
from torch import Tensor

from ...rem_engine.frames import ArrayFrames
from ...rem_engine.matte.checks import check_same_size
from ...rem_engine.matte.frames import display_values
from ...rem_engine.names import LONGEST_NAME, names_a_layer
from ...rem_engine.wording import number_of, there_are
from .inputs import as_frames, as_masks

_ONE_LAYER = "matte"


def as_layers(frames: ArrayFrames, mask: Tensor, name: str = "MASK") -> Tensor:
    """Masks of a shot by layer, [L,T,H,W], of floats; see `as_masks`.

    Args:
        frames: T of the shot.
        mask: L*T masks, layer after layer; or one for all frames.
        name: of the socket, for sentences.

    Raises:
        ValueError: another size, or another number; and as `as_masks`.
    """
    masks, count = as_masks(mask, frames, name), frames.frame_count
    if len(masks) == 1:
        return repeat(masks, "1 h w -> 1 t h w", t=count)
    if len(masks) == 0 or len(masks) % count:
        at = "" if name.casefold() == "mask" else f" at {name}"
        raise ValueError(
            f"{there_are(count, 'image')} and {number_of(len(masks), 'mask')}{at}; as many masks for each "
            "layer, or one, are needed."
        )
    return rearrange(masks, "(l t) h w -> l t h w", t=count)


def check_layer(layers: Tensor, number: int, what: str) -> None:
    """Raise ValueError for a number of a layer, from 1 on, above those of `as_layers`; `what` is to be done with it."""
    if number > len(layers):
        there = there_are(len(layers), "layer")
        raise ValueError(f"Layer {number} is to be {what}. {there}: choose up to {len(layers)}.")


def masks_of(layers: Iterable[Tensor], index: int) -> Tensor:
    """Masks of a frame out of layers [T,H,W] of any floats, float32 [L,H,W] in 0..1."""
    return torch.stack([layer[index].float() for layer in layers]).clamp_(0.0, 1.0)


def foregrounds_of(foreground: ArrayFrames, index: int, count: int) -> Tensor:
    """Colours of the layers at a frame of `count`, float32 [L,H,W,3], out of L*T pictures, layer after layer."""
    return torch.cat([picture(foreground, place) for place in range(index, foreground.frame_count, count)])


def as_foregrounds(frames: ArrayFrames, foreground: Tensor, layers: int) -> ArrayFrames:
    """Colours of the layers of a shot, as frames; see `as_frames`.

    Args:
        frames: T of the shot.
        foreground: layers*T pictures, layer after layer.
        layers: how many there are.

    Raises:
        ValueError: another size or number; and as `as_frames`.
    """
    colours = as_frames(foreground, "foreground")
    check_same_size("image", (frames.height, frames.width), "foreground", (colours.height, colours.width))
    if colours.frame_count != layers * frames.frame_count:
        raise ValueError(
            f"{there_are(layers, 'layer')} of {number_of(frames.frame_count, 'image')} and "
            f"{number_of(colours.frame_count, 'foreground')}; a "
            "foreground for each mask is needed."
        )
    return colours


def picture(frames: ArrayFrames, index: int) -> Tensor:
    """A frame as RGB, float32 [1,H,W,3] in 0..1."""
    return display_values(torch.from_numpy(frames.read(index, index + 1).copy()))


def layer_names(text: str, count: int) -> tuple[str, ...]:
    """Names of layers, one a line; without any text, made ones.

    Raises:
        ValueError: another number of names than of layers, a name twice, or one that files cannot have.
    """
    names = _names_in(text)
    if not names:
        return tuple(f"{_ONE_LAYER}_{number}" if number > 1 else _ONE_LAYER for number in range(1, count + 1))
    if len(names) != count:
        raise ValueError(
            f"{there_are(count, 'layer')} and {number_of(len(names), 'name')}: write a name for each layer, one a "
            "line, in the order of the masks, or none."
        )
    check_layer_names(text)
    return names


def check_layer_names(text: str) -> None:
    """Raise ValueError for names, one a line, of which one is none, or there twice."""
    names = _names_in(text)
    for name in names:
        if not names_a_layer(name):
            raise ValueError(
                f"A layer cannot have the name {name!r}: write one word of letters, digits, '_', '-' and '.', of up to "
                f"{LONGEST_NAME} characters, that neither another file of the folder nor a compositing program has (as "
                "exr, rgba and depth are)."
            )
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"Two of the layers {', '.join(names)} have one name: give each a name of its own.")


def _names_in(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())

"""Layers of a shot in the host's MASK and IMAGE, where they follow one another: all frames of the first, and so on."""

from __future__ import annotations

from einops import rearrange, repeat
from torch import Tensor

from ...rem_engine.matte.checks import check_same_size
from ...rem_engine.names import LONGEST_NAME, names_a_layer

_ONE_LAYER = "matte"


def as_layers(image: Tensor, mask: Tensor) -> Tensor:
    """Masks of a shot by layer, [L,T,H,W], without a copy.

    Args:
        image: the shot [T,H,W,C].
        mask: [L*T,H,W], layer after layer; or one for all frames.

    Raises:
        ValueError: no frames, another size, or another number.
    """
    count = len(image)
    if count == 0:
        raise ValueError("The IMAGE has no frames; at least one is needed.")
    check_same_size("image", image.shape[1:3], "mask", mask.shape[1:])
    if len(mask) == 1:
        return repeat(mask, "1 h w -> 1 t h w", t=count)
    if len(mask) == 0 or len(mask) % count:
        raise ValueError(
            f"There are {count} images and {len(mask)} masks; as many masks for each layer, or one, are needed."
        )
    return rearrange(mask, "(l t) h w -> l t h w", t=count)


def as_foregrounds(image: Tensor, foreground: Tensor, layers: int) -> Tensor:
    """Colours of the layers of a shot, [L,T,H,W,3], without a copy.

    Args:
        image: the shot [T,H,W,C].
        foreground: [L*T,H,W,3 or 4], layer after layer.
        layers: L.

    Raises:
        ValueError: another size or number.
    """
    check_same_size("image", image.shape[1:3], "foreground", foreground.shape[1:3])
    if len(foreground) != layers * len(image):
        raise ValueError(
            f"There are {layers} layers of {len(image)} images and {len(foreground)} foregrounds; a foreground for "
            "each mask is needed."
        )
    return rearrange(rgb(foreground), "(l t) h w c -> l t h w c", l=layers)


def rgb(image: Tensor) -> Tensor:
    """Pictures [...,C], grey, RGB or RGBA, as RGB."""
    return image[..., :3].expand(*image.shape[:-1], 3)


def layer_names(text: str, count: int) -> tuple[str, ...]:
    """Names of layers, one a line; without any text, made ones.

    Raises:
        ValueError: another number of names than of layers, a name twice, or one that files cannot have.
    """
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        return tuple(f"{_ONE_LAYER}_{number}" if number > 1 else _ONE_LAYER for number in range(1, count + 1))
    if len(names) != count:
        raise ValueError(
            f"There are {count} layers, and names for {len(names)}: write a name for each, one a line, in the "
            "order of the masks, or none."
        )
    for name in names:
        if not names_a_layer(name):
            raise ValueError(
                f"A layer cannot have the name {name!r}: write one word of letters, digits, '_', '-' and '.', of up to "
                f"{LONGEST_NAME} characters, that no other file of the folder has."
            )
    if len({name.casefold() for name in names}) < count:
        raise ValueError(f"Two of the layers {', '.join(names)} have one name: give each a name of its own.")
    return names

"""Layers of a shot in the host's MASK and IMAGE, where they follow one another: all frames of the first, and so on."""

from __future__ import annotations

from torch import Tensor

from ...rem_engine.names import LAYER_NAME, LONGEST_NAME, RESERVED_NAMES, is_device_name

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
    if image.shape[1:3] != mask.shape[1:]:
        raise ValueError(
            f"The image is {image.shape[2]}x{image.shape[1]} pixels and the mask {mask.shape[2]}x{mask.shape[1]}; "
            "they must have the same size: resize one of them first."
        )
    if len(mask) == 1:
        return mask.expand(count, -1, -1)[None]
    if len(mask) == 0 or len(mask) % count:
        raise ValueError(
            f"There are {count} images and {len(mask)} masks; as many masks for each layer, or one, are needed."
        )
    return mask.unflatten(0, (-1, count))


def as_foregrounds(image: Tensor, foreground: Tensor, layers: int) -> Tensor:
    """Colours of the layers of a shot, [L,T,H,W,3], without a copy.

    Args:
        image: the shot [T,H,W,C].
        foreground: [L*T,H,W,3 or 4], layer after layer.
        layers: L.

    Raises:
        ValueError: another size or number.
    """
    if image.shape[1:3] != foreground.shape[1:3]:
        raise ValueError(
            f"The image is {image.shape[2]}x{image.shape[1]} pixels and the foreground {foreground.shape[2]}x"
            f"{foreground.shape[1]}; they must have the same size: resize one of them first."
        )
    if len(foreground) != layers * len(image):
        raise ValueError(
            f"There are {layers} layers of {len(image)} images and {len(foreground)} foregrounds; a foreground for "
            "each mask is needed."
        )
    return rgb(foreground).unflatten(0, (layers, len(image)))


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
        reserved = name.casefold() in RESERVED_NAMES or is_device_name(name)
        if reserved or len(name) > LONGEST_NAME or not LAYER_NAME.fullmatch(name):
            raise ValueError(
                f"A layer cannot have the name {name!r}: write one word of letters, digits, '_', '-' and '.', of up to "
                f"{LONGEST_NAME} characters, that no other file of the folder has."
            )
    if len({name.casefold() for name in names}) < count:
        raise ValueError(f"Two of the layers {', '.join(names)} have one name: give each a name of its own.")
    return names

"""MaskToAlpha: a soft mask to the alpha of an RGBA picture."""

from __future__ import annotations

import comfy.model_management
import numpy as np
import torch
from comfy_api.latest import io
from torch import Tensor

from ..rem_engine import matte
from .host import node_schema, strip_preview

_CHECKER = 16  # pixels of a square in the preview's background


class MaskToAlpha(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="MaskToAlpha",
            display_name="Mask to Alpha",
            description="Makes a production alpha of a mask and joins it with the picture: levels, then grow or "
            "shrink, then feather, then invert.",
            search_aliases=["matte", "alpha", "rgba", "feather", "choke", "premultiply", "join image with alpha"],
            inputs=[
                io.Image.Input("image", tooltip="The shot. An alpha it already has is replaced."),
                io.Mask.Input(
                    "mask", tooltip="A mask a frame, or one for all; the soft mask of SegmentVideo, for example."
                ),
                io.Float.Input(
                    "black", default=0.0, min=0.0, max=1.0, step=0.01, tooltip="Values up to this become transparent."
                ),
                io.Float.Input(
                    "white", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="Values from this on become opaque."
                ),
                io.Float.Input(
                    "gamma",
                    default=1.0,
                    min=0.05,
                    max=20.0,
                    step=0.05,
                    tooltip="Above 1 makes the half-transparent part more opaque, below 1 more transparent.",
                ),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=-256,
                    max=256,
                    tooltip="Moves the edge outwards by that many pixels; below 0, inwards.",
                ),
                io.Float.Input(
                    "feather",
                    default=0.0,
                    min=0.0,
                    max=256.0,
                    step=0.5,
                    tooltip="Softens the edge over about that many pixels to either side.",
                ),
                io.Boolean.Input("invert", default=False, tooltip="Keeps the rest of the picture instead."),
                io.Combo.Input(
                    "colour",
                    options=["straight", "premultiplied"],
                    default="straight",
                    tooltip="straight leaves the colours as they are (PNG, most hand-overs); premultiplied multiplies "
                    "them by the alpha (EXR, most compositing).",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="rgba", tooltip="The shot with its alpha. Save Image keeps it, Save Video cannot."
                ),
                io.Mask.Output(display_name="alpha", tooltip="The alpha alone; 1 is opaque."),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        black: float,
        white: float,
        gamma: float,
        grow: int,
        feather: float,
        invert: bool,
        colour: str,
    ) -> io.NodeOutput:
        _check(image, mask)
        count = len(image)
        alpha = torch.empty(image.shape[:3])
        rgba = torch.empty(*image.shape[:3], 4)
        # Frame by frame: a whole shot at once would hold several copies of every mask.
        for frame in range(count):
            comfy.model_management.throw_exception_if_processing_interrupted()
            values = matte.levels(mask[frame if len(mask) > 1 else 0], black, white, gamma)
            values = matte.feather(matte.grow(values, grow), feather)
            alpha[frame] = 1.0 - values if invert else values
            rgba[frame] = matte.merge_alpha(_rgb(image[frame]), alpha[frame], colour == "premultiplied")
        return io.NodeOutput(rgba, alpha, ui=strip_preview(_over_checker(image, alpha), cls))


def _check(image: Tensor, mask: Tensor) -> None:
    if len(image) == 0:
        raise ValueError("The IMAGE has no frames; at least one is needed.")
    if image.shape[1:3] != mask.shape[1:]:
        raise ValueError(
            f"The image is {image.shape[2]}x{image.shape[1]} pixels and the mask {mask.shape[2]}x{mask.shape[1]}; "
            "they must have the same size: resize one of them first."
        )
    if len(mask) not in (1, len(image)):
        raise ValueError(f"There are {len(image)} images and {len(mask)} masks; as many masks, or one, are needed.")


def _rgb(image: Tensor) -> Tensor:
    """A picture [H,W,C], grey, RGB or RGBA, as RGB."""
    return image[..., :3].expand(*image.shape[:-1], 3)


def _over_checker(image: Tensor, alpha: Tensor) -> np.ndarray:
    """A few frames over the usual checkerboard, uint8 [n,H,W,3]."""
    chosen = torch.linspace(0, len(image) - 1, min(len(image), 4)).round().long()
    rows, columns = (torch.arange(size) // _CHECKER % 2 for size in image.shape[1:3])
    checker = 0.35 + 0.15 * (rows[:, None] ^ columns[None]).float()
    coverage = alpha[chosen, ..., None]
    picture = torch.lerp(checker[..., None].expand(-1, -1, 3), _rgb(image[chosen]), coverage)
    return (picture.clamp(0.0, 1.0) * 255.0).round().byte().numpy()

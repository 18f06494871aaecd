"""The two resizes of the data's way: frames to the model's size, soft masks back to the shot's."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..frames import View
from ..pixels import to_uint8


def frames_to_model(frames: np.ndarray, size: tuple[int, int], eight_bit: bool, view: View | None = None) -> Tensor:
    """Resize frames to the model's size with PIL's antialiased bilinear filter; the aspect is not kept (REM's code).

    Args:
        frames: [n,H,W,3], uint8 or float32 in 0..1.
        size: (height, width).
        eight_bit: resize 8-bit RGB, which rounds as the authors' evaluation does; otherwise float32 throughout.
        view: what brings the resized frames to display values, where `frames` are none.

    Returns:
        float32 [n,3,height,width] in -1..1.
    """
    resized = np.empty((len(frames), *size, 3), np.float32)
    if eight_bit:
        for i, frame in enumerate(to_uint8(frames)):
            resized[i] = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR))
        resized /= 255.0
    else:
        for i, frame in enumerate(frames):
            for channel in range(3):
                plane = Image.fromarray(np.ascontiguousarray(frame[..., channel], np.float32))
                resized[i, ..., channel] = np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR))
        if frames.dtype == np.uint8:
            resized /= 255.0
    if view:
        resized = view(resized)
    return (rearrange(torch.from_numpy(resized), "n h w c -> n c h w").contiguous() - 0.5) / 0.5


def masks_to_shot(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize masks to the shot's (height, width), bilinear without antialiasing, then average channels (REM's code).

    Args:
        masks: [P,n,C,h,w]; C is 3, or 1 where the mean has been taken before.
        size: (height, width).

    Returns:
        [P,n,height,width]
    """
    # One picture at a time, or rounding would depend on how many frames come together.
    prompts, frames, channels, *_ = masks.shape
    single = rearrange(masks, "p n c h w -> (p n c) 1 h w")
    resized = F.interpolate(single, size, mode="bilinear", align_corners=False)
    resized = rearrange(resized, "(p n c) 1 h w -> p n c h w", p=prompts, n=frames)
    return resized[:, :, 0] if channels == 1 else resized.mean(dim=2)


def size_within(box: tuple[int, int], size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The largest (height, width) of about the aspect of `size` that fits into `box`.

    Sides are rounded to the nearest multiple, so that the aspect is kept to within half a multiple of the shorter side.

    Args:
        box: (height, width), multiples of `multiple`.
        size: (height, width) of the frames.
        multiple: of which both sides must be.
    """
    scale = min(box[0] / size[0], box[1] / size[1])
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return height, width

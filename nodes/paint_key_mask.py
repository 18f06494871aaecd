"""PaintKeyMask: a frame of a shot with its mask, to be painted right in the host's mask editor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io, ui
from PIL import Image
from torch import Tensor

from ..rem_engine.frames import ArrayFrames
from ..rem_engine.input_files import told_as_damage
from ..rem_engine.pixels import to_uint8
from .host.inputs import as_frames
from .host.keys import told_frames, with_frame_number
from .host.layers import as_layers, check_layer, picture
from .host.schema import check_connected, node_schema, show_text

_OTHER_LEVELS = 3.0
"""Of 255, by which opaque pixels of a painted picture may differ in the mean from the frame that it was painted on, of
which canvases of browsers keep them exactly."""


class PaintKeyMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="PaintKeyMask",
            display_name="Paint Key Mask (REM)",
            description="One frame of a shot and its present mask, to be painted right: run, open the picture on the "
            "node in the mask editor, save, run again. Correct Mask has the rest of the shot follow.",
            search_aliases=["mask editor", "key frame", "fix frame", "draw mask", "paint over", "roto"],
            inputs=[
                io.Image.Input("shot", tooltip="The shot."),
                io.Int.Input(
                    "frame",
                    default=1,
                    min=1,
                    max=1000000,
                    tooltip="Which frame to paint, counted from 1: Correct Mask says which ones are worth it.",
                ),
                io.String.Input(
                    "image",
                    default="",
                    tooltip="The painted picture; the mask editor writes it here. Empty: nothing is painted yet, and "
                    "no mask is given.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="The present masks, to be painted over: of Segment Video, or of an earlier Correct Mask.",
                ),
                io.Int.Input(
                    "layer", default=1, min=1, max=999, optional=True, tooltip="Which of several layers of the mask."
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="key",
                    tooltip="The painted mask, for Correct Mask; it knows its frame. No mask at all before painting.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            has_intermediate_output=True,
        )

    @classmethod
    def fingerprint_inputs(cls, image: str | None = None, **others: Any) -> Any:
        if not image or not image.strip():
            return ""
        try:
            stat = _painted_file(image).stat()
        except (OSError, ValueError):  # said by the run
            return ""
        return [stat.st_mtime, stat.st_size]

    @classmethod
    def execute(cls, shot: Tensor, frame: int, image: str, mask: Tensor | None = None, layer: int = 1) -> io.NodeOutput:
        check_connected(shot=shot)
        frames = as_frames(shot, "shot")
        if frame > frames.frame_count:
            raise ValueError(f"Frame {frame} is to be painted, and the shot has {frames.frame_count}: choose another.")
        plate = picture(frames, frame - 1)[0]
        painted = _painted(image, frames, frame) if image.strip() else None
        seen = _present(frames, mask, layer, frame) if painted is None else painted
        told = f"Frame {frame}: painted." if painted is not None else f"Frame {frame}: open it in the mask editor."
        show_text(told, cls)
        # The host's masks are 1 where nothing is seen of the picture.
        shown = torch.cat([plate, 1.0 - seen[..., None]], dim=-1)
        key = torch.zeros(0, frames.height, frames.width) if painted is None else painted[None]
        return io.NodeOutput(with_frame_number(key, frame), ui=ui.PreviewImage(shown[None], cls=cls))


def _present(frames: ArrayFrames, mask: Tensor | None, layer: int, frame: int) -> Tensor:
    """The present mask of a frame, float32 [H,W] in 0..1; empty where none is connected."""
    if mask is None:
        return torch.zeros(frames.height, frames.width)
    layers = as_layers(frames, mask)
    check_layer(layers, layer, "painted")
    return layers[layer - 1, frame - 1].float().clamp(0.0, 1.0)


def _painted_file(name: str) -> Path:
    """Where a picture of the mask editor is, by the host's "name [input]".

    Raises:
        FileNotFoundError: it is gone.
        ValueError: a path that leads out of the host's folders.
    """
    if "\0" in name or not folder_paths.exists_annotated_filepath(name.strip()):
        raise FileNotFoundError(f"The painted picture {name!r} is gone: empty 'image', run, and paint it anew.")
    return Path(folder_paths.get_annotated_filepath(name.strip()))


def _painted(name: str, frames: ArrayFrames, frame: int) -> Tensor:
    """The mask that was painted on a frame, float32 [H,W] in 0..1.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: a picture of another size or frame, without a mask, or none at all.
    """
    file = _painted_file(name)
    damaged = f"The painted picture {name!r} cannot be read: empty 'image', run, and paint anew."
    with told_as_damage(damaged), Image.open(file) as opened:
        has_mask = "A" in opened.getbands()
        pixels = np.asarray(opened.convert("RGBA"))
    if not has_mask:
        raise ValueError(f"The picture {name!r} has no mask: paint it in the mask editor, or empty 'image'.")
    height, width = pixels.shape[:2]
    if (height, width) != (frames.height, frames.width):
        raise ValueError(
            f"The painted picture {name!r} is {width}x{height} and the shot {frames.width}x{frames.height}: empty "
            "'image', run, and paint anew."
        )
    opaque = pixels[..., 3] == 255
    if opaque.any() and _apart(pixels, opaque, frames, frame) > _OTHER_LEVELS:
        fits = [
            other for other in range(frames.frame_count) if _apart(pixels, opaque, frames, other + 1) <= _OTHER_LEVELS
        ]
        of = f"It is of {told_frames(fits)}" if fits else "It is of no frame of this shot"
        raise ValueError(
            f"The painted picture {name!r} is not of frame {frame}. {of}: set frame to what was painted, or empty "
            "'image' and paint this one."
        )
    return 1.0 - torch.from_numpy(pixels[..., 3].astype(np.float32)) / 255.0


def _apart(pixels: np.ndarray, opaque: np.ndarray, frames: ArrayFrames, frame: int) -> float:
    """Mean difference of opaque pixels to a frame, of 255."""
    plate = to_uint8(picture(frames, frame - 1)[0].numpy())
    return float(np.abs(pixels[..., :3].astype(np.int16) - plate)[opaque].mean())

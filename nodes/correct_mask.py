"""CorrectMask: masks of a shot that follow the right masks of a few of its frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from einops import rearrange
from torch import Tensor

from ..rem_engine.correct import ShotMotion, corrected
from ..rem_engine.correct import suggest as suggested
from ..rem_engine.frames import ArrayFrames
from ..rem_engine.run.hints import FrameHints
from .host.given import given_inputs, given_mattes
from .host.inputs import as_frames, shot_stamp
from .host.kept_motion import kept_motion
from .host.keys import (
    connected_keys,
    folder_keys,
    frame_numbers,
    growing_keys,
    keep_keys,
    key_folder,
    told_frames,
)
from .host.layers import as_layers, check_layer, picture
from .host.matte_preview import MattePreview
from .host.named_masks import names_of_masks, with_names
from .host.outputs import GRAPH_OF_A_NODE, check_prefix, graph_of
from .host.schema import NodeProgress, check_connected, node_schema
from .widgets.checks import first_mistake

_DEFAULT_PREFIX = "ReferEverything/keys"


class CorrectMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="CorrectMask",
            display_name="Correct Mask",
            description="Fix a few frames, and the rest of the shot follows: takes the right masks of one to four "
            "frames, carries them along the motion of the picture, and says which frame is worth fixing next. The "
            "model is not run again.",
            search_aliases=[
                "fix mask",
                "roto",
                "rotoscoping",
                "keyframe",
                "propagate",
                "mask propagation",
                "interactive",
                "multi-turn",
                "paint mask",
                "track mask",
                "cutie",
                "matanyone",
                "sam2",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The shot."),
                io.Mask.Input(
                    "mask",
                    tooltip="What is to be corrected, a mask a frame: the soft mask of Segment Video, for example. "
                    "Several layers follow one another; one of them is corrected, the others come out as they are.",
                ),
                io.Int.Input("layer", default=1, min=1, max=999, tooltip="Which of several layers: 1 is the first."),
                io.String.Input(
                    "frames",
                    default="",
                    placeholder="12, 40",
                    tooltip="The frames that the key masks are of, counted from 1 as the preview does, in the order of "
                    "the sockets. Empty: masks of Paint Key Mask know theirs.",
                ),
                io.String.Input(
                    "folder",
                    default="",
                    placeholder="roto/star",
                    tooltip="A folder of key masks below ComfyUI's input or output folder, numbered by their frames, "
                    "from 1 or from 1001: star.0012.png. Grey or palette pictures, or the alpha of others. A mask at a "
                    "socket takes the place of one in the folder.",
                ),
                io.Int.Input(
                    "suggest",
                    default=1,
                    min=0,
                    max=100,
                    tooltip="How many frames to name that are worth fixing next, the best first.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default=_DEFAULT_PREFIX,
                    tooltip="Where the key masks are kept, with the graph, below ComfyUI's output folder: for 'folder' "
                    "of this node, or for rem-segment correct --keys.",
                ),
                growing_keys(),
                *given_inputs("include", "hold_out"),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="mask",
                    tooltip="Corrected masks, 0..1, a mask a frame and layer. Key masks are in it as they were given.",
                ),
                io.String.Output(
                    display_name="frames to fix", tooltip="The frames worth fixing next, a number a line, from 1 on."
                ),
                io.Image.Output(display_name="pictures to fix", tooltip="The same frames, as pictures."),
                io.Mask.Output(display_name="masks to fix", tooltip="Their present masks, to be painted over."),
                io.String.Output(display_name="keys", tooltip="The folder in which the key masks were kept."),
            ],
            hidden=[*GRAPH_OF_A_NODE],
            is_output_node=True,
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        frames: str | None = None,
        folder: str | None = None,
        filename_prefix: str | None = None,
        keys: object = None,  # the host hands on what grows, asked for or not
    ) -> bool | str:
        return first_mistake(
            lambda: frame_numbers(frames),
            lambda: key_folder(folder) if folder and folder.strip() else None,
            lambda: check_prefix(filename_prefix),
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str | None = None, **others: Any) -> Any:
        if not folder or not folder.strip():
            return ""
        try:
            return shot_stamp(key_folder(folder))
        except (OSError, ValueError):  # said by the run
            return ""

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        layer: int,
        frames: str,
        folder: str,
        suggest: int,
        filename_prefix: str,
        keys: Mapping[str, Tensor] | None = None,
        **given: Any,
    ) -> io.NodeOutput:
        check_connected(image=image, mask=mask)
        shot = as_frames(image)
        layers = as_layers(shot, mask)
        names = names_of_masks([mask], len(layers))
        check_layer(layers, layer, "corrected")
        fixed = {**folder_keys(folder, shot), **connected_keys(keys or {}, frames, shot)}
        progress = NodeProgress(cls, shot.frame_count)
        out = layers.clone() if fixed else layers
        with kept_motion(shot, progress) as motion:
            if fixed:
                hints = FrameHints(given_mattes(given, shot, 1), ())
                _correct(layers[layer - 1], out[layer - 1], fixed, motion, hints, progress)
            masks = (mask.float().numpy() for mask in out[layer - 1])
            worth = suggested(masks, motion, fixed, suggest) if suggest else ()
        kept = str(keep_keys(fixed, filename_prefix, graph_of(cls))) if fixed else ""
        preview = MattePreview(names, shot.height, shot.width, None, "overlay", progress)
        with closing(preview):
            for index in range(shot.frame_count):
                preview.add(picture(shot, index)[0].numpy(), out[:, index].float().numpy())
        told = _told(fixed, worth)
        progress.say(told)
        return io.NodeOutput(
            with_names(rearrange(out, "l t h w -> (l t) h w"), names),
            "\n".join(str(place + 1) for place in worth),
            *_to_fix(shot, out[layer - 1], worth),
            kept,
            ui=preview.ui() | {"text": [text for text in (told, kept) if text]},
        )


def _correct(
    base: Tensor,
    out: Tensor,
    keys: Mapping[int, Tensor],
    motion: ShotMotion,
    hints: FrameHints,
    progress: NodeProgress,
) -> None:
    """Correct masks [T,H,W] into `out`, which has them already; frames of other takes stay there to the bit."""

    def within(index: int) -> Tensor | None:
        bounds = hints.within(index)
        return None if bounds is None else bounds[0]

    frames = corrected(
        lambda index: base[index].float(),
        keys,
        motion,
        within=within,
        device=comfy.model_management.get_torch_device(),
        progress=progress,
    )
    for frame in frames:
        if frame.is_changed:
            out[frame.index] = frame.soft.to(out)


def _to_fix(shot: ArrayFrames, masks: Tensor, places: Sequence[int]) -> tuple[Any, Any]:
    """Pictures and masks of frames; what stops a node behind them where there are none."""
    if not places:
        return ExecutionBlocker(None), ExecutionBlocker(None)
    pictures = torch.cat([picture(shot, place) for place in places])
    return pictures, masks[[*places]].float().clamp(0.0, 1.0)


def _told(keys: Collection[int], worth: Sequence[int]) -> str:
    given = f"Given: {told_frames(keys)}." if keys else "No key mask was given: masks are as they came."
    return f"{given} Worth fixing next: {', '.join(str(place + 1) for place in worth)}." if worth else given

"""MaskToAlpha: soft masks to the alpha of RGBA pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from einops import rearrange
from torch import Tensor

from ..rem_engine.frames import ArrayFrames
from ..rem_engine.matte import Frame, MatteSettings, merge_alpha
from ..rem_engine.matte.frames import alpha_of, plate_of
from ..rem_engine.matte.layered import matte_layers
from ..rem_engine.matte.settings import NEUTRAL
from ..rem_engine.setting import settings_of
from .host.given import given_inputs, given_mattes
from .host.inputs import as_frames, cuts_of
from .host.layers import as_layers, masks_of, picture
from .host.matte_preview import MattePreview
from .host.named_masks import layers_documents, layers_outputs, names_of_masks, with_names
from .host.schema import NodeProgress, check_connected, node_schema
from .widgets.checks import check_level_widgets, first_mistake
from .widgets.layer_settings import check_lines, layer_settings_input, settings_of_lines
from .widgets.matte import matte_inputs, matte_settings, whole_matte_inputs

_FIRST_WIDGETS = ("black", "white", "gamma", "grow", "feather", "invert")


class MaskToAlpha(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        later = [name for name in settings_of(MatteSettings) if name not in _FIRST_WIDGETS]
        return node_schema(
            node_id="MaskToAlpha",
            display_name="Mask to Alpha",
            description="Makes a production alpha of a mask and joins it with the picture: smoothing over time, levels "
            "or a threshold, holes and specks, edges refined on the picture, grow or shrink, feather, invert, colour.",
            search_aliases=[
                "matte",
                "matting",
                "key",
                "green screen",
                "background removal",
                "alpha",
                "rgba",
                "feather",
                "choke",
                "premultiply",
                "join image with alpha",
                "guided filter",
                "despill",
                "temporal smoothing",
            ],
            inputs=[
                io.Image.Input("image", tooltip="The shot. An alpha it already has is replaced."),
                io.Mask.Input(
                    "mask",
                    tooltip="A mask a frame, or one for all; the soft mask of SegmentVideo, for example. Several "
                    "layers follow one another: first all masks of the first, then all of the second.",
                ),
                *matte_inputs(_FIRST_WIDGETS, NEUTRAL),
                io.Combo.Input(
                    "colour",
                    options=["straight", "premultiplied"],
                    default="straight",
                    tooltip="straight leaves the colours as they are (PNG, most hand-overs); premultiplied multiplies "
                    "them by the alpha (EXR, most compositing).",
                ),
                # Last, as every input added since: values of saved graphs go by their order.
                *matte_inputs(later, NEUTRAL, optional=True),
                *whole_matte_inputs(),
                layer_settings_input(),
                *given_inputs("include", "hold_out", "add"),
            ],
            outputs=[
                io.Image.Output(
                    display_name="rgba",
                    tooltip="The shot with its alpha, a picture a mask. Save Image keeps it, Save Video cannot.",
                ),
                io.Mask.Output(display_name="alpha", tooltip="The alpha alone; 1 is opaque."),
                io.Mask.Output(display_name="core", tooltip="What lies inside the edge; needs edge_mattes above 0."),
                io.Mask.Output(display_name="edge", tooltip="The edge alone; needs edge_mattes above 0."),
                *layers_outputs(),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        black: float | None = None,
        white: float | None = None,
        layers: str | None = None,
        levels: object = None,
    ) -> bool | str:
        return first_mistake(lambda: check_level_widgets(black, white, levels), lambda: check_lines(layers))

    @classmethod
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        colour: str,
        **matte: Any,
    ) -> io.NodeOutput:
        check_connected(image=image, mask=mask)
        common = matte_settings(NEUTRAL, matte)
        frames = as_frames(image)
        layers = as_layers(frames, mask)
        names = names_of_masks([mask], len(layers))
        settings = settings_of_lines(matte.get("layers", ""), names, common)
        given = given_mattes(matte, frames, len(layers)).frames()
        count = frames.frame_count
        progress = NodeProgress(cls, count)
        alpha = torch.empty(len(layers), count, frames.height, frames.width)
        rgba = torch.empty(*alpha.shape, 4)
        cuts = cuts_of(frames) if any(own.frames_before for own in settings) else ()
        derived: list[Tensor] = []
        device = comfy.model_management.get_torch_device()
        preview = MattePreview(names, frames.height, frames.width, None, "checker", progress)
        with closing(preview):
            # Frame by frame: a whole shot at once would hold several copies of every mask.
            for frame in matte_layers(_frames(frames, layers, given), settings, device=device, cuts=cuts):
                plate = plate_of(frame)
                colours = plate.expand(len(layers), -1, -1, -1) if frame.foreground is None else frame.foreground
                finished = alpha_of(frame)
                alpha[:, frame.index] = finished
                if frame.derived is not None:
                    derived.append(frame.derived)
                rgba[:, frame.index] = merge_alpha(colours, finished, colour == "premultiplied")
                preview.add(plate.numpy(), finished.numpy())
                progress.update("mattes", frame.index + 1, count)
        # The host multiplies the colours of layers itself.
        documents = layers_documents(frames, alpha, names, rgba if colour == "straight" else None)
        rgba, alpha = (rearrange(values, "l t ... -> (l t) ...") for values in (rgba, alpha))
        return io.NodeOutput(rgba, with_names(alpha, names), *_core_and_edge(derived), *documents, ui=preview.ui())


def _core_and_edge(derived: Sequence[Tensor]) -> tuple[Any, Any]:
    """Core and edge of all layers that have them, layer after layer; what stops a node behind them where none has."""
    if not derived:
        stop = ExecutionBlocker("There are no core and edge: set edge_mattes of Mask to Alpha above 0.")
        return stop, stop
    core, edge = rearrange(torch.stack(list(derived)), "t (l two) h w -> two (l t) h w", two=2)
    return core, edge


def _frames(frames: ArrayFrames, layers: Tensor, given: Iterator[dict[str, Tensor]]) -> Iterator[Frame]:
    for index in range(frames.frame_count):
        yield Frame(index, masks_of(layers, index), picture(frames, index)[0], given=next(given) or None)

"""SegmentVideo: a shot and prompts to masks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import Input, io
from einops import rearrange, repeat
from torch import Tensor

from ..rem_engine import layers as prompts
from ..rem_engine.frames import ReopenableFrames
from ..rem_engine.known_words import unknown_words
from ..rem_engine.media.overlay import OverlayColours, draw_overlay
from ..rem_engine.media.plate_settings import PlateSettings
from ..rem_engine.pixels import to_uint8
from ..rem_engine.run.coverage import Coverage
from ..rem_engine.run.hints import FrameHints
from ..rem_engine.segment.close_up import CloseUp
from .host.asked_graph import asked_layers, check_asked_windows
from .host.conditioning import Conditioning, read_layers
from .host.given import given_inputs, given_mattes
from .host.inputs import as_frames, video_shot
from .host.matte_preview import MattePreview
from .host.memory import give_back_memory_after_run
from .host.named_masks import layers_documents, layers_outputs, with_names
from .host.schema import NodeProgress, check_connected, node_schema, show_text
from .widgets.checks import check_window_widgets, first_mistake
from .widgets.segment import (
    SEGMENT_ALIASES,
    decoder_input,
    keep_input,
    layer_inputs,
    legend,
    make_segmenter,
    mask_settings,
    model_inputs,
    note_of,
    protocol_input,
    threshold_input,
    window_inputs,
)

_ALL_LAYERS = 0
_EACH_LAYER = -1
_LAST_LAYER = 999


class SegmentVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SegmentVideo",
            display_name="Segment Video (REM)",
            description="Finds what the prompts describe in every frame of a shot: things, but also smoke, fire, "
            "water, shadows and other processes. One image is a shot of one frame.",
            search_aliases=SEGMENT_ALIASES,
            inputs=[
                *model_inputs(),
                io.MultiType.Input(
                    "image",
                    types=[io.Image, io.Video],
                    tooltip="The shot: frames in order, of any size from 16x16 pixels, or a VIDEO from Load Video, "
                    "which is read window by window.",
                ),
                io.Int.Input(
                    "prompt",
                    default=_ALL_LAYERS,
                    min=_EACH_LAYER,
                    max=_LAST_LAYER,
                    tooltip="Which layer the masks are for: 1 is the first line. 0 joins all of them into one mask. "
                    "-1 hands out all of them, one shot after the other, as Mask to Alpha and Save Matte take them. "
                    "The overlay always shows all.",
                ),
                threshold_input(),
                protocol_input(),
                *window_inputs(),
                *layer_inputs(),  # these, as every input added since: values of saved graphs go by their order
                decoder_input(),
                keep_input(),
                *given_inputs("include", "hold_out", box=True),
            ],
            outputs=[
                io.Mask.Output(display_name="soft mask", tooltip="How much each pixel belongs, 0..1, a mask a frame."),
                io.Mask.Output(display_name="mask", tooltip="0 or 1, a mask a frame."),
                io.Image.Output(
                    display_name="overlay", tooltip="The shot with every layer in its colour, and a legend."
                ),
                io.String.Output(display_name="layer names", tooltip="A layer's name a line, for Save Matte."),
                io.Image.Output(
                    display_name="id map",
                    tooltip="The number of each pixel's strongest layer, divided by 255: 0 is none, 1/255 the first. "
                    "Save Image writes the numbers exactly.",
                ),
                *layers_outputs(),
            ],
            hidden=[io.Hidden.unique_id],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        height: int | None = None,
        width: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
        prompt: int | None = None,
        combine: str | None = "separate",  # what a graph has that was saved before
    ) -> bool | str:
        return first_mistake(
            lambda: check_window_widgets(height, width, window, overlap),
            lambda: check_asked_windows(cls),
            lambda: _check_asked_prompt(prompt, combine, asked_layers(cls)),
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        conditioning: Conditioning,
        image: Tensor | Input.Video,
        prompt: int,
        threshold: float,
        decode_vae: VAE | None = None,
        **segment: Any,
    ) -> io.NodeOutput:
        check_connected(model=model, vae=vae, conditioning=conditioning, image=image)
        settings = mask_settings(segment, threshold=threshold)
        wide = make_segmenter(model, vae, decode_vae, segment)
        segmenter = CloseUp(wide) if settings.close_up else wide
        asked, embeds = read_layers(conditioning, segmenter.backbone.family.text_width)
        layers = prompts.combined_layers(asked, settings.combine)
        _check_prompt(prompt, len(layers), len(asked))
        with _shot(image) as (frames, rate):
            size = (frames.frame_count, frames.height, frames.width)
            soft = torch.empty(len(layers) if prompt == _EACH_LAYER else 1, *size)
            ids, overlay = torch.empty(size, dtype=torch.uint8), np.empty((*size, 3), np.uint8)
            labels, chosen_colours = legend(layers), [layer.colour for layer in layers]
            colours = OverlayColours(len(layers), chosen_colours)
            shown, coverage = "", Coverage("masks", [layer.name for layer in layers], threshold)
            given = given_mattes(segment, frames, len(asked))
            hints = FrameHints(given, asked)
            looks: dict[str, Any] = {}
            if isinstance(segmenter, CloseUp):
                looks["within"] = partial(FrameHints(given, asked).of_texts, prompts.texts_of(asked))
            progress = NodeProgress(cls, frames.frame_count)
            preview = MattePreview(labels, frames.height, frames.width, rate, "overlay", progress, chosen_colours)
            with closing(preview), closing(frames.reopen()) as plates:
                for chunk in segmenter.stream(frames, embeds, progress=progress, **looks):
                    if (note := note_of(chunk, len(embeds))) != shown:
                        progress.say(note)
                        shown = note
                    stop = chunk.start + chunk.soft.shape[1]
                    within = hints.within_all(range(chunk.start, stop))
                    masks = prompts.combine(chunk.soft, asked, settings.combine, within)
                    coverage.add(masks)
                    soft[:, chunk.start : stop] = _chosen(masks, prompt)
                    ids[chunk.start : stop] = prompts.id_map(masks, threshold)
                    pixels = to_uint8(plates.read(chunk.start, stop))
                    for frame, layer_masks in enumerate(masks.numpy().swapaxes(0, 1)):
                        chosen = colours.at(pixels[frame], layer_masks, threshold)
                        overlay[chunk.start + frame] = draw_overlay(
                            pixels[frame], layer_masks, labels, threshold=threshold, colours=chosen
                        )
                        preview.add(pixels[frame], layer_masks)
            names = _names_of_chosen([layer.name for layer in layers], prompt)
            binary = rearrange((soft > threshold).float(), "l t h w -> (l t) h w")
            documents = layers_documents(frames, soft.clamp_(0.0, 1.0), names)
        give_back_memory_after_run()
        backbone = segmenter.backbone
        unknown = unknown_words(asked, backbone.name, backbone.known_words)
        told = {}  # also to history, where a page that comes later finds it
        if warnings := [warning["sentence"] for warning in (*unknown, *coverage.warnings())]:
            show_text("\n".join(filter(None, [shown, *warnings])), cls)
            told = {"text": warnings}
        return io.NodeOutput(
            with_names(rearrange(soft, "l t h w -> (l t) h w"), names),
            with_names(binary, names),
            torch.from_numpy(overlay).float() / 255.0,
            "\n".join(layer.name for layer in layers),
            repeat(ids.float() / 255.0, "t h w -> t h w c", c=3),
            *documents,
            ui=preview.ui() | told,
        )


@contextmanager
def _shot(image: Tensor | Input.Video) -> Iterator[tuple[ReopenableFrames, Fraction | None]]:
    """Frames of an IMAGE or a VIDEO, and how many a second, where that is known."""
    if isinstance(image, Input.Video):
        with video_shot(image, PlateSettings()) as shot, closing(shot.open()) as frames:
            yield frames, shot.info.fps
    else:
        yield as_frames(image), None


def _check_asked_prompt(prompt: Any, combine: str | None, asked: int | None) -> None:
    """`_check_prompt` before a run, as far as the graph says."""
    if not isinstance(prompt, int):  # linked, or no number, of which the host tells
        return
    if not _EACH_LAYER <= prompt <= _LAST_LAYER:  # the host leaves limits to who looks at a value
        raise ValueError(f"Prompt {prompt} was asked for: choose a number from {_EACH_LAYER} to {_LAST_LAYER}.")
    if asked is not None and combine is not None:
        _check_prompt(prompt, 1 if combine == "union" else asked, asked)


def _check_prompt(prompt: int, layers: int, asked: int) -> None:
    if prompt > layers:
        joined = "" if asked == layers else f", joined into {layers}"
        raise ValueError(
            f"Prompt {prompt} was asked for, and the CONDITIONING holds {asked}{joined}: choose a number up to "
            f"{layers}, or 0 for all."
        )


def _names_of_chosen(names: list[str], prompt: int) -> list[str]:
    """Names of the layers that the masks are for."""
    if prompt == _EACH_LAYER or len(names) == 1:
        return names
    return ["union"] if prompt == _ALL_LAYERS else names[prompt - 1 : prompt]


def _chosen(masks: Tensor, prompt: int) -> Tensor:
    """Masks [L,n,H,W] -> those asked for, [1 or L,n,H,W]."""
    if prompt == _EACH_LAYER:
        return masks
    return masks.amax(dim=0, keepdim=True) if prompt == _ALL_LAYERS else masks[prompt - 1 : prompt]

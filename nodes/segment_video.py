"""SegmentVideo: a shot and prompts to masks."""

from __future__ import annotations

import textwrap

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io
from torch import Tensor

from ..rem_engine.frames import ArrayFrames
from ..rem_engine.media import draw_overlay
from ..rem_engine.plan import MAX_SEED, SegmentSettings
from ..rem_engine.segmenter import Segmenter
from .backbones import host_backbone
from .encode_text import Conditioning, read_prompts
from .host import advanced, node_schema, progress_hook, show_text, strip_preview

_ALL_PROMPTS = 0
_SHOWN_CHARACTERS = 120  # of a long list of takes


class SegmentVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="SegmentVideo",
            display_name="Segment Video (REM)",
            description="Finds what the prompts describe in every frame of a shot: things, but also smoke, fire, "
            "water, shadows and other processes. One image is a shot of one frame.",
            search_aliases=["segment", "mask", "roto", "rotoscope", "video segmentation", "referring segmentation"],
            inputs=[
                io.Model.Input("model", tooltip="REM's denoiser, from LoadREM; LoRA nodes may come between."),
                io.Vae.Input("vae", tooltip="The model's VAE, from LoadREM or Load VAE."),
                io.Conditioning.Input("conditioning", tooltip="One or more prompts, from EncodeText."),
                io.Image.Input("image", tooltip="The frames of the shot, in order, of any size from 16x16 pixels."),
                io.Int.Input(
                    "prompt",
                    default=_ALL_PROMPTS,
                    min=_ALL_PROMPTS,
                    max=999,
                    tooltip="Which prompt the masks are for: 1 is the first line. 0 joins all of them into one mask. "
                    "The overlay always shows all.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The binary mask is where the soft mask lies above this. Lower takes in more.",
                ),
                io.Combo.Input(
                    "protocol",
                    options=["shot", "paper"],
                    default="shot",
                    tooltip="shot: windows overlap and cross-fade, for footage. paper: windows side by side, as in the "
                    "authors' evaluation, for figures to compare.",
                ),
                advanced(
                    io.Int.Input(
                        "height",
                        default=0,
                        min=0,
                        max=4096,
                        step=16,
                        tooltip="Height the model sees, pixels, a multiple of 16 (of 64 for ModelScope). 0: what it "
                        "was trained at.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "width",
                        default=0,
                        min=0,
                        max=4096,
                        step=16,
                        tooltip="Width the model sees, pixels, a multiple of 16 (of 64 for ModelScope). 0: what it "
                        "was trained at.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "window",
                        default=0,
                        min=0,
                        max=1001,
                        tooltip="Frames seen at once: 1, 5, 9, 13, ... (any number for ModelScope). Shorter needs less "
                        "memory. 0: the model's own.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "overlap",
                        default=0,
                        min=0,
                        max=500,
                        tooltip="Frames two windows share and cross-fade over, at most half a window; shot only. "
                        "0: the model's own.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "keep_aspect",
                        default=False,
                        optional=True,
                        tooltip="Fit frames into height and width with their aspect kept; otherwise they are "
                        "stretched, as REM was trained. shot only.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "seed",
                        default=0,
                        min=0,
                        max=MAX_SEED,
                        # The front end lets every seed change after a run unless it is told not to.
                        control_after_generate=False,
                        optional=True,
                        tooltip="ModelScope only: of the noise its denoiser takes, as the command line's --seed. Wan "
                        "takes none, and gives the same masks for every seed.",
                    )
                ),
                io.Vae.Input(
                    "decode_vae",
                    optional=True,
                    tooltip="Another VAE for decoding the masks alone. With several prompts decoding takes most of the "
                    "time, and the host's tiny autoencoder (Load VAE, lighttaew2_1) is quicker, with softer edges. Not "
                    "connected: vae decodes.",
                ),
            ],
            outputs=[
                io.Mask.Output(display_name="soft mask", tooltip="How much each pixel belongs, 0..1, a mask a frame."),
                io.Mask.Output(display_name="mask", tooltip="0 or 1, a mask a frame."),
                io.Image.Output(
                    display_name="overlay", tooltip="The shot with every prompt in its colour, and a legend."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        vae: VAE,
        conditioning: Conditioning,
        image: Tensor,
        prompt: int,
        threshold: float,
        protocol: str,
        height: int,
        width: int,
        window: int,
        overlap: int,
        keep_aspect: bool = False,
        seed: int = 0,
        decode_vae: VAE | None = None,
    ) -> io.NodeOutput:
        backbone = host_backbone(model, vae, decode_vae)
        labels, embeds = read_prompts(conditioning, backbone.text_width)
        if prompt > len(labels):
            raise ValueError(
                f"Prompt {prompt} was asked for, and the CONDITIONING holds {len(labels)}: choose a number up to that, "
                "or 0 for all."
            )
        size = (height or backbone.default_size[0], width or backbone.default_size[1])
        settings = SegmentSettings(protocol, size, window or None, overlap or None, keep_aspect=keep_aspect, seed=seed)
        segmenter = Segmenter(backbone, settings)
        frames = ArrayFrames(image)

        if len(labels) > 1:
            labels = [f"{number}  {label}" for number, label in enumerate(labels, start=1)]
        soft = torch.empty(frames.frame_count, frames.height, frames.width)
        overlay = np.empty((*soft.shape, 3), np.uint8)
        shown = ""
        for chunk in segmenter.stream(frames, embeds, progress=progress_hook()):
            if (note := _note(segmenter, len(labels))) != shown:
                show_text(note, cls)
                shown = note
            stop = chunk.start + chunk.soft.shape[1]
            chosen = chunk.soft.amax(dim=0) if prompt == _ALL_PROMPTS else chunk.soft[prompt - 1]
            soft[chunk.start : stop] = chosen
            pixels = _eight_bit(frames.read(chunk.start, stop))
            for frame, masks in enumerate(chunk.soft.numpy().swapaxes(0, 1)):
                overlay[chunk.start + frame] = draw_overlay(pixels[frame], masks, labels, threshold=threshold)
        return io.NodeOutput(
            soft.clamp(0.0, 1.0),
            (soft > threshold).float(),
            torch.from_numpy(overlay).float() / 255.0,
            ui=strip_preview(overlay, cls),
        )


def _note(segmenter: Segmenter, prompt_count: int) -> str:
    """What the node says of a run so far: how many prompts go together, and where takes begin."""
    notes = []
    if prompt_count > 1:
        notes.append(f"{segmenter.prompts_per_pass} of {prompt_count} prompts at a time.")
    if segmenter.cuts:
        takes = textwrap.shorten(", ".join(map(str, (0, *segmenter.cuts))), _SHOWN_CHARACTERS, placeholder=" ...")
        notes.append(f"Takes begin at frames {takes}.")
    return " ".join(notes)


def _eight_bit(frames: np.ndarray) -> np.ndarray:
    return frames if frames.dtype == np.uint8 else np.rint(frames * 255.0).astype(np.uint8)

"""What SegmentVideo and SegmentShot share: their inputs for the model, and the engine's segmenter made of them."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ...rem_engine.layers import COMBINE_MODES, Layer, layer_label
from ...rem_engine.segment.close_up import CloseUp
from ...rem_engine.segment.segmenter import Segmenter
from ...rem_engine.segment.settings import MAX_SEED, SegmentSettings
from ..host.open_backbone import host_backbone
from ..host.schema import advanced

_SHOWN_CHARACTERS = 120  # of a long list of takes


def model_inputs() -> list[io.Input]:
    """MODEL, VAE and CONDITIONING."""
    return [
        io.Model.Input("model", tooltip="REM's denoiser, from LoadREM; LoRA nodes may come between."),
        io.Vae.Input("vae", tooltip="The model's VAE, from LoadREM or Load VAE."),
        io.Conditioning.Input("conditioning", tooltip="One or more prompts, from EncodeText."),
    ]


def threshold_input(tooltip: str) -> io.Input:
    return io.Float.Input("threshold", default=0.5, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


def window_inputs() -> list[io.Input]:
    """How the model sees the shot; all of them advanced."""
    size = "{} the model sees, pixels, a multiple of 16 (of 64 for ModelScope). 0: what it was trained at."
    return [
        advanced(io.Int.Input("height", default=0, min=0, max=4096, step=16, tooltip=size.format("Height"))),
        advanced(io.Int.Input("width", default=0, min=0, max=4096, step=16, tooltip=size.format("Width"))),
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
    ]


def layer_inputs() -> list[io.Input]:
    """How layers share the picture, and the second pass."""
    return [
        io.Combo.Input(
            "combine",
            options=list(COMBINE_MODES),
            default=COMBINE_MODES[0],
            optional=True,
            tooltip="How several layers share the picture. separate: each has its own mask, they may overlap. union: "
            "one mask of all. exclusive: each pixel belongs to its strongest layer alone.",
        ),
        advanced(
            io.Boolean.Input(
                "close_up",
                default=False,
                optional=True,
                tooltip="For small things in large frames: the model looks a second time, at a crop that follows each "
                "mask, and the finer mask is blended in. Takes about twice as long.",
            )
        ),
    ]


@dataclass(frozen=True)
class Seen:
    """Values of `window_inputs` and of `close_up`."""

    height: int
    width: int
    window: int
    overlap: int
    keep_aspect: bool = False
    seed: int = 0
    close_up: bool = False


def make_segmenter(
    model: ModelPatcher, vae: VAE, decode_vae: VAE | None, protocol: str, seen: Seen
) -> Segmenter | CloseUp:
    """The engine's segmenter over the host's MODEL and VAE.

    Raises:
        ValueError: a MODEL, VAE or setting that cannot be used.
    """
    backbone = host_backbone(model, vae, decode_vae)
    size = (seen.height or backbone.default_size[0], seen.width or backbone.default_size[1])
    settings = SegmentSettings(
        protocol, size, seen.window or None, seen.overlap or None, keep_aspect=seen.keep_aspect, seed=seen.seed
    )
    segmenter = Segmenter(backbone, settings)
    return CloseUp(segmenter) if seen.close_up else segmenter


def legend(layers: tuple[Layer, ...]) -> list[str]:
    """A line for each layer, numbered where there are several."""
    labels = [layer_label(layer) for layer in layers]
    return labels if len(labels) == 1 else [f"{number}  {label}" for number, label in enumerate(labels, start=1)]


def note_of(segmenter: Segmenter | CloseUp, prompt_count: int) -> str:
    """What a node says of a run so far: how many prompts go together, and where takes begin."""
    notes = []
    if prompt_count > 1:
        notes.append(f"{segmenter.prompts_per_pass} of {prompt_count} prompts at a time.")
    if segmenter.cuts:
        takes = textwrap.shorten(", ".join(map(str, (0, *segmenter.cuts))), _SHOWN_CHARACTERS, placeholder=" ...")
        notes.append(f"Takes begin at frames {takes}.")
    return " ".join(notes)

"""What SegmentVideo and SegmentShot share: their inputs for the model, and the engine's segmenter made of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.latest import io

from ...rem_engine.checkpoints.pickle_file import SUFFIXES
from ...rem_engine.layers import Layer, layer_label
from ...rem_engine.run.segment_job import Provenance
from ...rem_engine.segment.segmenter import Chunk, Segmenter
from ...rem_engine.segment.settings import MaskSettings, SegmentSettings
from ...rem_engine.setting import settings_of
from ..host.open_backbone import host_backbone
from ..host.schema import advanced
from .from_settings import engine_values, widget

SEGMENT_ALIASES = [
    "segment", "mask", "matte", "matting", "roto", "rotoscope", "track", "sam", "video segmentation", "video mask",
    "text to mask", "referring segmentation", "smoke", "fire", "water", "vfx",
]  # fmt: skip
"""What people look for who need one of the nodes that find things."""

_LAYER_WIDGETS = ("combine", "close_up")
_SHOWN_CHARACTERS = 120  # of a long list of takes


def model_inputs() -> list[io.Input]:
    """MODEL, VAE and CONDITIONING."""
    return [
        io.Model.Input("model", tooltip="REM's denoiser, from LoadREM; LoRA nodes may come between."),
        io.Vae.Input("vae", tooltip="The model's VAE, from LoadREM or Load VAE."),
        io.Conditioning.Input("conditioning", tooltip="One or more prompts, from EncodeText."),
    ]


def threshold_input() -> io.Input:
    return widget(settings_of(MaskSettings)["threshold"])


def protocol_input() -> io.Input:
    return widget(settings_of(SegmentSettings)["protocol"])


def window_inputs() -> list[io.Input]:
    """How the model sees the shot; all of them advanced."""
    settings = settings_of(SegmentSettings)
    side = replace(settings["size"], kind=int)
    return [
        widget(side, name="height"),
        widget(side, name="width"),
        widget(settings["window"]),
        widget(settings["overlap"]),
        widget(settings["keep_aspect"], optional=True),
        # The front end lets every seed change after a run unless it is told not to.
        widget(settings["seed"], optional=True, control_after_generate=False),
        io.Vae.Input(
            "decode_vae",
            optional=True,
            tooltip="Another VAE for decoding the masks alone. With several prompts decoding takes most of the "
            "time, and the host's tiny autoencoder (Load VAE, lighttaew2_1) is quicker, with softer edges. Not "
            "connected: vae decodes.",
        ),
    ]


def decoder_input() -> io.Input:
    """What draws the masks; a graph may leave it out."""
    return widget(settings_of(SegmentSettings)["decoder"], optional=True)


def layer_inputs() -> list[io.Input]:
    """How layers share the picture, and the second pass; a graph may leave them out."""
    settings = settings_of(MaskSettings)
    return [widget(settings[name], optional=True) for name in _LAYER_WIDGETS]


def keep_input() -> io.Input:
    """Whether encoded windows stay on disk; a graph may leave it out."""
    return advanced(
        io.Boolean.Input(
            "keep_windows",
            default=True,
            optional=True,
            tooltip="Keep what the VAE made of the shot on disk, up to 4 GB in all, so that another prompt need not "
            "wait for it after a restart either. Off: in memory alone.",
        )
    )


def mask_settings(values: Mapping[str, Any], **further: Any) -> MaskSettings:
    """Settings of the values of `layer_inputs` by name, and of further ones; a node's other widgets are left aside."""
    given = {name: values[name] for name in _LAYER_WIDGETS if name in values}
    return MaskSettings(**engine_values(MaskSettings, given | further))


def segment_settings(values: Mapping[str, Any], default_size: tuple[int, int]) -> SegmentSettings:
    """Settings of the values of `window_inputs` and the protocol by name, for a model of that (height, width); other
    widgets are left aside.

    Raises:
        ValueError: a value that no model can have.
    """
    size = (values["height"] or default_size[0], values["width"] or default_size[1])
    return SegmentSettings(size=size, **engine_values(SegmentSettings, values))


def make_segmenter(model: ModelPatcher, vae: VAE, decode_vae: VAE | None, values: Mapping[str, Any]) -> Segmenter:
    """The engine's segmenter over the host's MODEL and VAE.

    Args:
        model, vae, decode_vae: from their sockets.
        values: of widgets by name; others than those of `window_inputs` and the protocol are left aside.

    Raises:
        ValueError: a MODEL, VAE or setting that cannot be used.
    """
    backbone = host_backbone(model, vae, decode_vae, values.get("keep_windows", True))
    return Segmenter(backbone, segment_settings(values, backbone.default_size))


def provenance_of(segmenter: Segmenter, source: str) -> Provenance:
    """What the files of a run say of the model, which LoadREM names by the file of its weights, where there is one."""
    name = segmenter.backbone.name
    if name.endswith((".safetensors", *SUFFIXES)):
        return Provenance(source, model=segmenter.backbone.family.name, checkpoint=name)
    return Provenance(source, model=name)


def legend(layers: tuple[Layer, ...]) -> list[str]:
    """A line for each layer, numbered where there are several."""
    labels = [layer_label(layer) for layer in layers]
    return labels if len(labels) == 1 else [f"{number}  {label}" for number, label in enumerate(labels, start=1)]


def note_of(chunk: Chunk, prompt_count: int) -> str:
    """What a node says of a run so far: how many prompts go together, and where takes begin."""
    notes = []
    if prompt_count > 1:
        notes.append(f"{chunk.prompts_per_pass} of {prompt_count} prompts at a time.")
    if chunk.cuts:
        takes = textwrap.shorten(", ".join(map(str, (0, *chunk.cuts))), _SHOWN_CHARACTERS, placeholder=" ...")
        notes.append(f"Takes begin at frames {takes}.")
    return " ".join(notes)

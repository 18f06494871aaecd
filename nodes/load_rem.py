"""LoadREM: REM weights as the host's MODEL, CLIP and VAE."""

from __future__ import annotations

import os

import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io

from ..rem_engine.models import missing_checkpoint
from .host.memory import give_back_memory_after
from .host.schema import MODEL_FOLDER, node_schema, show_text
from .host.weights import BUNDLED, check_whole, load_checkpoint, load_mini


class LoadREM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="LoadREM",
            display_name="Load REM",
            description="Loads a model that segments what you describe. REM-mini comes with the pack; "
            "larger checkpoints go into models/rem.",
            search_aliases=["refereverything", "rem", "load model", "segmentation model", "wan"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=[BUNDLED, *folder_paths.get_filename_list(MODEL_FOLDER)],
                    default=BUNDLED,
                    tooltip="REM-mini needs nothing else. A file from models/rem (.safetensors, .gguf, or the "
                    "authors' .pth) needs Wan's text encoder at clip, and Wan's VAE at vae unless the file holds one; "
                    "one of REM on ModelScope needs the folder text-to-video-ms-1.7b in models/diffusers.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="A Wan2.1 MODEL the checkpoint is meant for, from Load Diffusion Model. A copy of it gets "
                    "REM's weights, and keeps its LoRAs, precision and settings. A delta or LoRA of REM needs it. "
                    "Not for REM on ModelScope.",
                ),
                io.Clip.Input(
                    "clip", optional=True, tooltip="Wan's text encoder (Load CLIP, umt5_xxl, type wan); passed through."
                ),
                io.Vae.Input("vae", optional=True, tooltip="Wan's VAE (Load VAE, wan_2.1_vae); passed through."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="How much of a delta or LoRA is laid over the MODEL: 1 is REM, 0 the MODEL as it was. "
                    "Whole weights take 1 only.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="REM's denoiser, for SegmentVideo."),
                io.Clip.Output(display_name="clip", tooltip="Its text encoder, for EncodeText."),
                io.Vae.Output(display_name="vae", tooltip="Its VAE, for SegmentVideo."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, checkpoint: str | None) -> bool | str:
        # Where it is linked, the value is not known yet.
        if checkpoint in (None, BUNDLED) or folder_paths.get_full_path(MODEL_FOLDER, checkpoint):
            return True
        return _not_found(checkpoint)

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str | None, **_: object) -> object:
        # A checkpoint written anew under the same name, by a training run say, is loaded again.
        path = None if checkpoint in (None, BUNDLED) else folder_paths.get_full_path(MODEL_FOLDER, checkpoint)
        return (checkpoint, os.path.getmtime(path) if path else None)

    @classmethod
    def execute(
        cls,
        checkpoint: str,
        model: ModelPatcher | None = None,
        clip: CLIP | None = None,
        vae: VAE | None = None,
        strength: float = 1.0,
    ) -> io.NodeOutput:
        if checkpoint == BUNDLED:
            check_whole(BUNDLED, strength)
            loaded = load_mini(model, clip, vae)
            give_back_memory_after(loaded[0].model)
            return io.NodeOutput(*loaded)
        path = folder_paths.get_full_path(MODEL_FOLDER, checkpoint or "")
        if path is None:
            raise FileNotFoundError(_not_found(checkpoint))
        parts, note = load_checkpoint(path, model, clip, vae, strength)
        give_back_memory_after(parts[0].model)
        if note:
            show_text(note, cls)
        return io.NodeOutput(*parts)


def _not_found(checkpoint: str | None) -> str:
    return missing_checkpoint(checkpoint or "", folder_paths.get_folder_paths(MODEL_FOLDER))

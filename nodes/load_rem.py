"""LoadREM: REM weights as the host's MODEL, CLIP and VAE."""

from __future__ import annotations

import os

import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP, VAE
from comfy_api.latest import io

from .host import MODEL_FOLDER, node_schema
from .weights import load_checkpoint, load_mini

BUNDLED = "REM-mini (bundled)"


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
                    tooltip="REM-mini needs nothing else. A file from models/rem (.safetensors, or the authors' .pth) "
                    "needs Wan's text encoder at clip, and Wan's VAE at vae unless the file holds one.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="A Wan2.1 MODEL the checkpoint is meant for. REM's weights take the place of its own; "
                    "its precision (fp8, for example) and LoRAs are kept.",
                ),
                io.Clip.Input(
                    "clip", optional=True, tooltip="Wan's text encoder (Load CLIP, umt5_xxl, type wan); passed through."
                ),
                io.Vae.Input("vae", optional=True, tooltip="Wan's VAE (Load VAE, wan_2.1_vae); passed through."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="REM's denoiser, for SegmentVideo."),
                io.Clip.Output(display_name="clip", tooltip="Its text encoder, for EncodeText."),
                io.Vae.Output(display_name="vae", tooltip="Its VAE, for SegmentVideo."),
            ],
        )

    @classmethod
    def validate_inputs(cls, checkpoint: str | None) -> bool | str:
        # ComfyUI 0.3.64 does not check choices; and where it is linked, the value is not known yet.
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
    ) -> io.NodeOutput:
        if checkpoint == BUNDLED:
            return io.NodeOutput(*load_mini(model, clip, vae))
        path = folder_paths.get_full_path(MODEL_FOLDER, checkpoint)
        if path is None:
            raise FileNotFoundError(_not_found(checkpoint))
        return io.NodeOutput(*load_checkpoint(path, model, clip, vae))


def _not_found(checkpoint: str) -> str:
    folders = " or ".join(folder_paths.get_folder_paths(MODEL_FOLDER))
    return f"There is no checkpoint {checkpoint!r}: put the file into {folders}, or choose {BUNDLED!r}."

"""Known weights: what they are, where they belong, whether they are there, and how to get them."""

from __future__ import annotations

from .catalogue import CATALOGUE, KnownModel, SizeSource, known_model
from .download import download
from .find import destination_folder, find
from .folders import ModelFolders, find_comfyui, model_folders
from .missing import (
    missing_base,
    missing_checkpoint,
    missing_model,
    missing_modelscope,
    missing_text_encoder,
    missing_vae,
)
from .sizes import size_of

__all__ = [
    "CATALOGUE",
    "KnownModel",
    "ModelFolders",
    "SizeSource",
    "destination_folder",
    "download",
    "find",
    "find_comfyui",
    "known_model",
    "missing_base",
    "missing_checkpoint",
    "missing_model",
    "missing_modelscope",
    "missing_text_encoder",
    "missing_vae",
    "model_folders",
    "size_of",
]

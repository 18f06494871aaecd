"""The kinds of files that come from outside: whole ones of each, and the commands that read them."""

from __future__ import annotations

from collections.abc import Mapping

from kinds_of_pictures import write_dpx, write_exr, write_jpeg, write_mov, write_mp4, write_png, write_tiff, write_webm
from kinds_of_records import write_datasets, write_npz, write_prompts, write_run, write_training
from kinds_of_weights import write_configurations, write_gguf, write_pth, write_safetensors, write_tokenizers
from targets import Kind

KINDS: Mapping[str, Kind] = {
    "png": Kind(write_png, named=True),
    "jpeg": Kind(write_jpeg, named=True),
    "tiff": Kind(write_tiff, named=True),
    "dpx": Kind(write_dpx, named=True),
    "exr": Kind(write_exr, named=True),
    "mp4": Kind(write_mp4, named=True),
    "mov": Kind(write_mov, named=True),
    "webm": Kind(write_webm, named=True),
    "soft.npz": Kind(write_npz, named=True),
    "run.json": Kind(write_run, changed="run"),
    "prompts": Kind(write_prompts),
    "safetensors": Kind(write_safetensors, loads=True),
    "gguf": Kind(write_gguf, loads=True, named=True),
    "pth": Kind(write_pth, loads=True, named=True),
    "config.json": Kind(write_configurations, loads=True),
    "tokenizer": Kind(write_tokenizers, loads=True),
    "training": Kind(write_training, loads=True, changed="run"),
    "datasets": Kind(write_datasets),
}

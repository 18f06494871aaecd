"""What to tell who lacks a file: exactly which one goes where. Sentences only; nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .catalogue import KnownModel, known_model
from .find import find

Folders = Sequence["str | os.PathLike[str]"]


def missing_checkpoint(checkpoint: str, folders: Folders) -> str:
    """The sentence for a REM checkpoint that is not there.

    Args:
        checkpoint: the name that was asked for.
        folders: the host's `rem` folders.
    """
    models = [known_model(name) for name in ("rem-wan-14b", "rem-modelscope")]
    meant = [model for model in models if model.matches(checkpoint.rpartition("/")[2])]
    offered = meant if len(meant) == 1 else models  # by its name it is the one, or it may be either
    there = [file for model in offered for file in find(model, {model.folder: _paths(folders)})]
    instead = f" or choose {there[0].name!r}, which is there," if there else ""
    ways = " or ".join(f"`python -m rem_engine models get {model.name}`, {_gigabytes(model)}" for model in offered)
    return (
        f"There is no checkpoint {checkpoint!r}: put the file into {_either(folders)},{instead} or choose REM-mini. "
        f"REM's weights are at {models[0].url} ({ways})."
    )


def missing_text_encoder(label: str, folders: Folders) -> str:
    """The sentence for a checkpoint that needs Wan's text encoder at LoadREM's `clip` input.

    Args:
        label: the checkpoint's name.
        folders: the host's `text_encoders` folders.
    """
    return _missing_part(
        f"{label} comes without a text encoder",
        ("umt5-xxl-fp8", "umt5-xxl-fp16"),
        folders,
        loader="Load CLIP (type wan)",
        socket="clip",
    )


def missing_vae(label: str, folders: Folders) -> str:
    """The sentence for a checkpoint that needs Wan's VAE at LoadREM's `vae` input.

    Args:
        label: the checkpoint's name.
        folders: the host's `vae` folders.
    """
    return _missing_part(f"{label} comes without a VAE", ("wan2.1-vae",), folders, loader="Load VAE", socket="vae")


def missing_base(label: str, folders: Folders) -> str:
    """The sentence for a delta or LoRA that needs Wan2.1-14B at LoadREM's `model` input.

    Args:
        label: the checkpoint's name.
        folders: the host's `diffusion_models` folders.
    """
    return _missing_part(
        f"{label} holds only what REM changed of a base",
        ("wan2.1-t2v-14b-bf16", "wan2.1-t2v-14b-fp16", "wan2.1-t2v-14b-fp8"),
        folders,
        loader="Load Diffusion Model",
        socket="model",
    )


def missing_modelscope(label: str, folders: Folders) -> str:
    """The sentence for a ModelScope checkpoint whose base folder is not there.

    Args:
        label: the checkpoint's name.
        folders: the host's `diffusers` folders.
    """
    base = known_model("modelscope-1.7b-diffusers")
    parts = ", ".join(base.components)
    return (
        f"{label} belongs to ModelScope's other parts: put the folder {base.local_name()} ({parts}) into "
        f"{_either(folders)}. It is at {base.url} (`python -m rem_engine models get {base.name}` downloads it)."
    )


def missing_model(folder: str | os.PathLike[str]) -> str:
    """The sentence for the command line's `--model` where there is no such folder."""
    base = known_model("wan2.1-t2v-14b-diffusers")
    parts = ", ".join(base.components)
    return (
        f"There is no model {str(folder)!r}; use 'mini' or a folder with {parts}: "
        f"`python -m rem_engine models get {base.name} --to DIR` makes DIR/{base.local_name()}."
    )


def _missing_part(what: str, names: Sequence[str], folders: Folders, *, loader: str, socket: str) -> str:
    models = [known_model(name) for name in names]
    there = [file for model in models for file in find(model, {model.folder: _paths(folders)})]
    if there:
        return f"{what}: load {there[0].name} with {loader} and connect it to LoadREM's {socket} input."
    return (
        f"{what}: put {_files(models)} into {_either(folders)}, load it with {loader} and connect it to LoadREM's "
        f"{socket} input. It is at {models[0].url} (`python -m rem_engine models get {names[0]}` downloads it)."
    )


def _paths(folders: Folders) -> list[Path]:
    return [Path(folder) for folder in folders]


def _files(models: Sequence[KnownModel]) -> str:
    return " or ".join(model.local_name() for model in models)


def _either(folders: Folders) -> str:
    return " or ".join(os.fspath(folder) for folder in folders)


def _gigabytes(model: KnownModel) -> str:
    return f"{model.size / 1e9:.1f} GB"

"""Whether known weights are on this machine, and where they would go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .catalogue import KnownModel
from .folders import ModelFolders


def find(model: KnownModel, folders: ModelFolders) -> list[Path]:
    """Files, or folders in diffusers' layout, that are this model by their name, in the order of `folders`.

    Folders are also looked for in the cache of the Hugging Face hub. Contents are not read.
    """
    places = folders.get(model.folder, [])
    if model.is_folder:
        candidates = [place / model.local_name() for place in places]
        return [folder for folder in (*candidates, *_cached(model)) if _is_complete(model, folder)]
    return [file for place in places for file in _files(place) if model.matches(file.name)]


def destination_folder(model: KnownModel, folders: ModelFolders | None, to: Path | None) -> Path:
    """The folder that a download is put into: `to`, else the model's folder of ComfyUI.

    Raises:
        ValueError: neither is known.
    """
    if to is not None:
        return to.expanduser().absolute()
    if folders is None:
        raise ValueError(
            f"No ComfyUI was found, so there is no models/{model.folder} to put {model.name} into; "
            "say where with --to DIR, or where ComfyUI is with --comfyui DIR."
        )
    return folders[model.folder][0]


def _files(folder: Path) -> Sequence[Path]:
    """Files at any depth, as ComfyUI lists them: through links, but not in hidden folders (unfinished downloads)."""
    found = []
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(parent) / name for name in sorted(names)]
    return found


def _is_complete(model: KnownModel, folder: Path) -> bool:
    return all((folder / component).is_dir() for component in model.components)


def _cached(model: KnownModel) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(model.repository, "model_index.json")
    return [Path(index).parent] if isinstance(index, str) else []

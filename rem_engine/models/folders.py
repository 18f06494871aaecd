"""ComfyUI's model folders, found without ComfyUI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..input_files import load_text

ModelFolders = Mapping[str, "list[Path]"]
"""Folders by ComfyUI's name for them, the one new files go into first."""

EXTRA_PATHS = "extra_model_paths.yaml"

# As in ComfyUI's folder_paths.py, where the names of before 2024 still work; "rem" is this pack's.
_DEFAULT_FOLDERS = {
    "diffusion_models": ("diffusion_models", "unet"),
    "text_encoders": ("text_encoders", "clip"),
    "vae": ("vae",),
    "diffusers": ("diffusers",),
    "rem": ("rem",),
}
_LEGACY_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}


def find_comfyui(folder: str | Path | None = None) -> Path | None:
    """The ComfyUI of this machine: `folder`, else $COMFYUI_PATH (the first, where it lists several), else ~/ComfyUI or
    ~/comfy/ComfyUI (where comfy-cli puts it); None where there is none.

    Raises:
        FileNotFoundError: `folder` or $COMFYUI_PATH was given and holds no `models` folder.
    """
    if folder is not None:
        return _checked(Path(folder), "")
    if listed := os.environ.get("COMFYUI_PATH"):
        return _checked(Path(listed.split(os.pathsep)[0]), " (from COMFYUI_PATH)")
    candidates = (Path.home() / "ComfyUI", Path.home() / "comfy" / "ComfyUI")
    return next((candidate for candidate in candidates if (candidate / "models").is_dir()), None)


def _checked(folder: Path, source: str) -> Path:
    folder = folder.expanduser().absolute()
    if not (folder / "models").is_dir():
        raise FileNotFoundError(f"There is no ComfyUI at {folder}{source}: a folder that holds `models` is expected.")
    return folder


def model_folders(comfyui: Path) -> ModelFolders:
    """Where a ComfyUI looks for models: its own folders and those of its extra_model_paths.yaml.

    Raises:
        ValueError: extra_model_paths.yaml cannot be read as ComfyUI reads it.
    """
    folders = {name: [comfyui / "models" / sub for sub in subs] for name, subs in _DEFAULT_FOLDERS.items()}
    extra = comfyui / EXTRA_PATHS
    if extra.is_file():
        for name, path, is_default in _extra_paths(extra):
            known = folders.setdefault(name, [])
            if path in known and is_default:
                known.remove(path)
            if path not in known:
                known.insert(0 if is_default else len(known), path)
    return folders


def _extra_paths(file: Path) -> list[tuple[str, Path, bool]]:
    """Folder name, path and `is_default` of every entry, read as ComfyUI's utils/extra_config.py does."""
    import yaml

    try:
        sections = yaml.safe_load(load_text(file)) or {}
        entries = []
        for section in filter(None, sections.values()):
            settings = dict(section)
            base = _expanded(settings.pop("base_path", ""), file.parent)
            is_default = bool(settings.pop("is_default", False))
            for name, lines in settings.items():
                for line in filter(None, lines.split("\n")):
                    path = Path(os.path.normpath(base / line))
                    entries.append((_LEGACY_NAMES.get(str(name), str(name)), path, is_default))
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(
            f"{file} cannot be read ({first}); compare it with the extra_model_paths.yaml.example beside it."
        ) from error
    return entries


def _expanded(base: str, folder: Path) -> Path:
    """A base_path, with ~ and variables, relative to the folder of the file."""
    return folder.absolute() / os.path.expandvars(os.path.expanduser(base))

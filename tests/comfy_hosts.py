"""Which ComfyUI installations the tests run against."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

PACK = Path(__file__).parents[1]
NO_HOST = "no ComfyUI found: set COMFYUI_PATH (several are separated like PATH), or put one at ~/ComfyUI"


def found_hosts() -> list[Path]:
    """Folders of ComfyUI: $COMFYUI_PATH, else ~/ComfyUI* and ~/comfy/ComfyUI."""
    if paths := os.environ.get("COMFYUI_PATH"):
        candidates = [Path(path) for path in paths.split(os.pathsep) if path]
    else:
        candidates = [*sorted(Path.home().glob("ComfyUI*")), Path.home() / "comfy" / "ComfyUI"]
    return [folder for folder in candidates if (folder / "comfyui_version.py").is_file()]


def host_params() -> list[object]:
    """Every ComfyUI as a pytest parameter, or one skipped parameter where there is none."""
    params = [pytest.param(folder, id=host_version(folder)) for folder in found_hosts()]
    return params or [pytest.param(None, marks=pytest.mark.skip(reason=NO_HOST))]


def host_version(folder: Path) -> str:
    text = (folder / "comfyui_version.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "([^"]+)"', text)[1]


def host_python(folder: Path) -> str:
    """The interpreter that runs a ComfyUI; skips the test where none is known."""
    if python := os.environ.get("COMFYUI_PYTHON"):
        return python
    for name in ("venv/bin/python", ".venv/bin/python", "venv/Scripts/python.exe", ".venv/Scripts/python.exe"):
        if (folder / name).is_file():
            return str(folder / name)
    pytest.skip(f"{folder} has no venv; set COMFYUI_PYTHON to the Python that runs it")


def make_base(folder: Path) -> Path:
    """A --base-directory for a host, with this pack in its custom_nodes, so that the user's own stays as it is."""
    models = ("models/rem", "models/diffusion_models", "models/vae")
    for name in ("custom_nodes", "input", "output", "temp", "user", *models):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "custom_nodes" / "ComfyUI-ReferEverything").symlink_to(PACK, target_is_directory=True)
    return folder

"""Which ComfyUI installations the tests run against."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

PACK = Path(__file__).parents[1]
UNTESTED = "no ComfyUI to test in: "
"""How every skip of a test for want of a ComfyUI begins."""


def found_hosts() -> list[Path]:
    """Folders of ComfyUI, the newest version first: $COMFYUI_PATH, else ~/ComfyUI* and ~/comfy/ComfyUI."""
    if paths := os.environ.get("COMFYUI_PATH"):
        candidates = [Path(path) for path in paths.split(os.pathsep) if path]
    else:
        candidates = [*sorted(Path.home().glob("ComfyUI*")), Path.home() / "comfy" / "ComfyUI"]
    found = [folder for folder in candidates if (folder / "comfyui_version.py").is_file()]
    return sorted(found, key=version_number, reverse=True)


def host_params(every: bool) -> list[object]:
    """The newest ComfyUI as a pytest parameter, or every one; one skipped parameter where there is none."""
    hosts = found_hosts()
    params = [
        pytest.param(folder, id=host_version(folder), marks=pytest.mark.host)
        for folder in (hosts if every else hosts[:1])
    ]
    absent = UNTESTED + "set COMFYUI_PATH (several are separated like PATH), or put one at ~/ComfyUI"
    return params or [pytest.param(None, id="none", marks=[pytest.mark.host, pytest.mark.skip(reason=absent)])]


def host_version(folder: Path) -> str:
    text = (folder / "comfyui_version.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "([^"]+)"', text)[1]


def version_number(folder: Path) -> tuple[int, ...]:
    """Of a ComfyUI, to be compared: (0, 33, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", host_version(folder)))


def host_python(folder: Path) -> str:
    """The interpreter that runs a ComfyUI; skips the test where none is known."""
    if python := os.environ.get("COMFYUI_PYTHON"):
        return python
    for name in ("venv/bin/python", ".venv/bin/python", "venv/Scripts/python.exe", ".venv/Scripts/python.exe"):
        if (folder / name).is_file():
            return str(folder / name)
    pytest.skip(f"{UNTESTED}{folder} has no venv; set COMFYUI_PYTHON to the Python that runs it")


def make_base(folder: Path) -> Path:
    """A --base-directory for a host, with this pack in its custom_nodes, so that the user's own stays as it is."""
    models = ("models/rem", "models/diffusion_models", "models/vae")
    for name in ("custom_nodes", "input", "output", "temp", "user", *models):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "custom_nodes" / "ComfyUI-ReferEverything").symlink_to(PACK, target_is_directory=True)
    return folder

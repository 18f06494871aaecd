"""Makes a Python process a ComfyUI without a server, with the pack in it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACK_NAME = "refereverything_pack"


def start(host: Path, base: Path, pack: Path) -> dict[str, Any]:
    """Start ComfyUI in this process, on the CPU.

    Args:
        host: its folder.
        base: its --base-directory.
        pack: this repository.

    Returns:
        the pack's node classes by id.
    """
    os.environ["HF_ASSETS_CACHE"] = str(base / "kept")  # where windows are kept from run to run
    sys.argv = ["main.py", "--cpu", "--base-directory", str(base)]
    sys.path.insert(0, str(host))
    sys.path.append(str(pack / "tests"))  # last: nothing there may come before the host's own modules
    os.chdir(host)
    import comfy.options

    comfy.options.enable_args_parsing()
    import utils.extra_config  # noqa: F401  before the host's `nodes`, or its import of `utils` fails

    spec = importlib.util.spec_from_file_location(
        PACK_NAME, pack / "__init__.py", submodule_search_locations=[str(pack)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK_NAME] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    nodes = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
    for node in nodes.values():
        node.hidden = SimpleNamespace(unique_id="1", prompt=None, extra_pnginfo=None)
    return nodes


def sentence(call: Callable[[], Any]) -> str:
    """What a call is answered with: type and text of its error, or "no error"."""
    try:
        call()
    except (ValueError, FileNotFoundError, RuntimeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"

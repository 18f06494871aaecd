"""Modules of the pack that are tried without a ComfyUI."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

PACK = Path(__file__).parents[2]


@contextmanager
def host_module(name: str, **of_host: ModuleType) -> Iterator[ModuleType]:
    """The module `name` of nodes/host alone, in a host of the modules given and no others."""
    packages = {"pack": PACK, "pack.nodes": PACK / "nodes", "pack.nodes.host": PACK / "nodes" / "host"}
    made = {**of_host}
    for package, folder in packages.items():
        made[package] = ModuleType(package)
        made[package].__path__ = [str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        for place, module in made.items():
            patch.setitem(sys.modules, place, module)
        yield importlib.import_module(f"pack.nodes.host.{name}")
        for place in [place for place in sys.modules if place.startswith("pack.")]:
            patch.delitem(sys.modules, place)

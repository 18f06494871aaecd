"""What a type checker is told of the names that a package looks up when they are asked for."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["rem_engine", "rem_engine.matte"])
def test_checkers_see_the_names_there_are_and_where_they_are_from(package: str) -> None:
    module = import_module(package)
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text("utf-8"))
    told = {
        alias.asname: (f"{package}.{node.module}", alias.name)
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(told) == sorted(set(module.__all__) - {"__version__"})
    for name, (home, inner) in told.items():
        assert getattr(module, name) is getattr(import_module(home), inner)

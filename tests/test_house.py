"""The floor plan: which room may import which, and that no import goes round in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rem_engine", "trainer", "nodes")

# CONTRIBUTING.md draws it: a room imports from rooms below its own floor, and from its neighbours on it.
FLOORS = (
    (
        "content_hash",
        "devices",
        "finite",
        "folder_lock",
        "frames",
        "input_files",
        "known_words",
        "layers",
        "lazy",
        "memory",
        "metrics",
        "names",
        "pixels",
        "processes",
        "progress",
        "setting",
        "shelf",
        "sizes",
        "whole_files",
        "wording",
    ),
    ("checkpoints", "models"),
    ("backbones",),
    ("segment", "matte", "media", "shapes"),
    ("correct",),
    ("run",),
    ("qc",),
    ("commands",),
)


def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of our own that a file imports, wherever the import stands, and be it for types alone."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(package, node)
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names]
        else:
            continue
        yield from (target for target in targets if target in known)


def _absolute(package: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".") if package else []
    above = parents[: len(parents) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def floor_of(module: str) -> int | None:
    _, _, room = module.partition(".")
    return next((floor for floor, rooms in enumerate(FLOORS) if room.split(".")[0] in rooms), None)


def test_no_room_of_the_engine_imports_upwards() -> None:
    known = modules()
    upwards = [
        f"{name} imports {target}"
        for name, file in known.items()
        if name.startswith("rem_engine.") and floor_of(name) is not None
        for target in imported(name, file, known)
        if floor_of(target) is not None and floor_of(target) > floor_of(name)
    ]
    assert upwards == []


def test_every_room_of_the_engine_has_its_floor() -> None:
    rooms = {name.split(".")[1] for name in modules() if name.startswith("rem_engine.")}
    assert rooms - {room for floor in FLOORS for room in floor} - {"__main__", "minimal"} == set()


@pytest.mark.parametrize(
    ("package", "others"), [("rem_engine", ("trainer", "nodes")), ("trainer", ("nodes",)), ("nodes", ("trainer",))]
)
def test_arrows_between_the_packages_run_one_way(package: str, others: tuple[str, ...]) -> None:
    known = modules()
    backwards = [
        f"{name} imports {target}"
        for name, file in known.items()
        if name.split(".")[0] == package
        for target in imported(name, file, known)
        if target.split(".")[0] in others
    ]
    assert backwards == []


def test_no_import_goes_round_in_a_circle() -> None:
    known = modules()
    graph = {name: {*imported(name, file, known)} - {name} for name, file in known.items()}
    assert circles(graph) == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach one another (strongly connected components of Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found

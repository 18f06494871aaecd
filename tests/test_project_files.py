"""The files that services and installers outside of this repository read."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def field(name: str) -> str:
    """A field of pyproject.toml; the standard library of Python 3.10 has no reader for it."""
    (value,) = re.findall(rf'^{name} = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    return value


def extra(name: str) -> set[str]:
    """The packages of an extra of pyproject.toml."""
    _, _, extras = (ROOT / "pyproject.toml").read_text("utf-8").partition("[project.optional-dependencies]\n")
    (found,) = re.findall(rf"^{name} = \[(.*?)\]$", extras.partition("\n[")[0], re.MULTILINE | re.DOTALL)
    return package_names(re.findall(r'"(.+?)"', found))


def requirements() -> set[str]:
    return package_names((ROOT / "requirements.txt").read_text("utf-8").splitlines())


def package_names(lines: list[str]) -> set[str]:
    """Without their versions, in lower case."""
    return {re.split(r"[<>=]", line)[0].lower() for line in lines}


PACKAGES = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "openjd": "openjd-model"}
"""Those that are imported under another name."""
HOST = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}
"""Modules of ComfyUI."""


def imported(*folders: str) -> set[str]:
    """Packages of others that the code in these folders imports."""
    found = set()
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    found -= {*sys.stdlib_module_names, *HOST, "rem_engine"}
    return {PACKAGES.get(name, name).lower() for name in found}


def shell_lines() -> Iterator[str]:
    for workflow in WORKFLOWS:
        for job in read(workflow)["jobs"].values():
            yield from (line for step in job["steps"] for line in step.get("run", "").splitlines())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_what_github_asks_for(workflow: Path) -> None:
    content = read(workflow)
    assert content["name"]
    assert content[True]  # YAML 1.1 reads the key `on` as a truth
    for job in content["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_workflows_call_make_targets_that_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    called = {line.split()[1] for line in shell_lines() if line.startswith("make ")}
    assert called
    assert called <= targets


def test_tests_run_on_the_oldest_python_that_is_promised() -> None:
    oldest = field("requires-python").removeprefix(">=")
    assert oldest in read(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python-version"]


def test_pre_commit_takes_both_of_ruffs_commands_from_one_release() -> None:
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["entry"].split()[:2] for hook in hooks] == [["ruff", "check"], ["ruff", "format"]]
    assert len({tuple(hook["additional_dependencies"]) for hook in hooks}) == 1


def test_the_version_is_the_same_wherever_it_stands() -> None:
    import rem_engine

    version = field("version")
    assert rem_engine.__version__ == version
    assert read(ROOT / "CITATION.cff")["version"] == version
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", version]


def test_the_citation_has_what_its_format_asks_for() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert str(citation["cff-version"]) == "1.2.0"
    for entry in (citation, *citation["references"]):
        assert entry["title"]
        assert entry["authors"]
    assert citation["license"] == field("license")


def test_requirements_are_what_is_imported_and_nothing_else() -> None:
    optional = extra("edits") | extra("farm")  # imported late, with a sentence where they are not there
    assert imported("rem_engine", "nodes") - optional == requirements()
    assert imported("rem_engine") & optional == optional - {"otio-cmx3600-adapter"}  # opentimelineio finds it


def test_the_trainers_extra_is_what_it_imports_beside_these() -> None:
    wanted_by_some = {"deepspeed", "bitsandbytes", "trackio"}  # imported where a run asks for them
    beside = imported("trainer") - requirements() - wanted_by_some
    not_imported_here = {"protobuf", "tensorboard"}  # but by sentencepiece and by torch
    assert extra("trainer") - not_imported_here == beside
    assert extra("trainer") >= not_imported_here


def test_every_package_has_its_row_among_the_dependencies() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8").partition("## Where kornia loses")[0]
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    named = {name.lower() for row in rows for name in row.split(", ")} - {"package", "---"}
    extras = ("trainer", "edits", "farm", "test", "lint")
    assert named == requirements().union(*map(extra, extras))


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest takes the second for the first."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))

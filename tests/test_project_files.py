"""The files that services outside of this repository read."""

from __future__ import annotations

import re
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

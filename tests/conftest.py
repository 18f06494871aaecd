"""Fixtures shared by all tests: the golden cases, hosts, and models small enough to build in seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from comfy_hosts import UNTESTED, host_params
from tiny_models import write_tiny_modelscope, write_tiny_wan

_BESIDE = Path(__file__).parents[2] / "shared" / "golden"
_NO_GOLDEN = "golden cases not found: set REM_GOLDEN or put them in ../shared/golden beside the checkout"


def _golden_folder() -> Path | None:
    folder = Path(os.environ.get("REM_GOLDEN", _BESIDE))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden cases; the test is skipped where there is none."""
    folder = _golden_folder()
    if folder is None:
        pytest.skip(_NO_GOLDEN)
    return folder


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Path:
    """The folder of a ComfyUI: the newest found, or with --all-hosts each; the test is skipped where there is none."""
    return request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutations", type=int, default=3, help="of each kind of file, damaged in as many ways (3)")
    parser.addoption("--screenshots", help="a folder that the browser's pictures of the documents are put into")
    parser.addoption("--all-hosts", action="store_true", help="in every ComfyUI found, and all that is marked thorough")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `host`, `wan_case` or `modelscope_case` runs once for every one there is."""
    if "host" in metafunc.fixturenames:
        params = host_params(metafunc.config.getoption("all_hosts"))
        metafunc.parametrize("host", params, scope="session", indirect=True)
    for backbone in ("wan", "modelscope"):
        if f"{backbone}_case" not in metafunc.fixturenames:
            continue
        folder = _golden_folder()
        cases = sorted((folder / backbone / "cases").iterdir()) if folder else []
        params = [pytest.param(case, id=case.name) for case in cases]
        if not params:
            params = [pytest.param(None, marks=pytest.mark.skip(reason=_NO_GOLDEN))]
        metafunc.parametrize(f"{backbone}_case", params, scope="module", indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that take long come first: no process is left alone with one of them while the others have ended."""
    if not config.getoption("all_hosts"):
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="runs with --all-hosts, as make test-all does"))
    turns: dict[Path, int] = {}
    for item in items:
        turn = 0 if item.get_closest_marker("host") else 1 if item.get_closest_marker("slow") else 2
        turns[item.path] = min(turn, turns.get(item.path, turn))
    items.sort(key=lambda item: turns[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped tests are easily overlooked; that no node was tried in a host should not be."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    untested = sorted(reason for reason in reasons if UNTESTED in reason)
    if untested:
        terminalreporter.section(f"{len(untested)} tests of the nodes were not run", yellow=True)
        for reason in dict.fromkeys(untested):
            terminalreporter.line(reason.removeprefix("Skipped: "))


@pytest.fixture(scope="session")
def tiny_wan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_tiny_wan`."""
    return write_tiny_wan(tmp_path_factory.mktemp("tiny_wan"))


@pytest.fixture(scope="session")
def tiny_modelscope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_tiny_modelscope`."""
    return write_tiny_modelscope(tmp_path_factory.mktemp("tiny_modelscope"))

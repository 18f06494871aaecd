"""A running ComfyUI for every installation found, with the pack linked in and folders of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_hosts import NO_HOST, found_hosts, host_params, host_python, make_base
from comfy_server import ComfyServer


@pytest.fixture(scope="session", params=host_params())
def comfy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server with fresh model, input and output folders; it ends with the tests."""
    host: Path = request.param
    server = ComfyServer(host, host_python(host), make_base(tmp_path_factory.mktemp("base")))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Skipped tests are easily overlooked; that no node was tried in a host should not be."""
    if not found_hosts():
        terminalreporter.section("the nodes were not tested", yellow=True)
        terminalreporter.line(NO_HOST)

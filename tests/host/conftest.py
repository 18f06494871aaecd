"""A running ComfyUI with the pack linked in and folders of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from comfy_hosts import make_base
from comfy_server import ComfyServer, running


@pytest.fixture(scope="session")
def comfy(host: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server with fresh model, input and output folders; it ends with the tests."""
    with running(host, make_base(tmp_path_factory.mktemp("base"))) as server:
        yield server

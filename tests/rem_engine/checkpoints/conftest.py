"""Checkpoints of the golden cases."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def source(golden: Path) -> Path:
    """The official file of REM on Wan."""
    return golden / "wan" / "rem_wan.pth"


@pytest.fixture(scope="session")
def base(golden: Path) -> Path:
    """The model folder it was trained from."""
    return golden / "wan" / "base"

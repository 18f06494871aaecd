"""What tests of mattes share."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch


@pytest.fixture
def pymatting() -> Iterator[ModuleType]:
    """The library of the methods' own authors; the test is skipped where it is missing.

    What it compiles sets the number of threads of the thread that calls it, and torch's sums in that thread would
    differ from those in others for all tests that follow.
    """
    threads = torch.get_num_threads()
    yield pytest.importorskip("pymatting")
    torch.set_num_threads(threads)

"""What does not fit into memory is told before it is allocated, in sizes that people read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from rem_engine import memory
from rem_engine.memory import check_fits, free_bytes, is_out_of_memory
from rem_engine.sizes import gigabytes

FAR_TOO_MUCH = 1 << 50


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"),
        (999_999, "999999 bytes"),
        (40_000_000, "40 MB"),
        (1_250_000_000, "1.2 GB"),
    ],
)
def test_sizes_are_never_shown_as_nothing(size: int, shown: str) -> None:
    assert gigabytes(size) == shown


def test_what_is_larger_than_free_memory_is_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: 3_000_000_000)
    check_fits(3_000_000_000, "The pixels")
    with pytest.raises(ValueError) as refusal:
        check_fits(112_000_000_000, "The pixels")
    assert str(refusal.value) == (
        "The pixels take 112.0 GB of memory, and 3.0 GB are free: give a smaller one, or make memory free."
    )


def test_a_system_that_does_not_tell_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: None)
    check_fits(FAR_TOO_MUCH, "The pixels")


def test_a_containers_limit_counts_where_it_is_lower(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\nactive_file 100000\ninactive_file 50000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    if free_bytes() is not None:
        assert free_bytes() == 450_000
        (tmp_path / "memory.max").write_text("max\n")
        assert free_bytes() > 450_000


@pytest.mark.parametrize("of", ["python", "numpy", "torch", "opencv"])
def test_full_memory_is_known_whoever_tells_it(of: str) -> None:
    def fill() -> None:
        if of == "python":
            bytearray(FAR_TOO_MUCH)
        elif of == "numpy":
            np.empty(FAR_TOO_MUCH, np.uint8)
        elif of == "torch":
            torch.empty(FAR_TOO_MUCH, dtype=torch.uint8)
        else:
            cv2.resize(np.zeros((2, 2), np.float64), (2**30 - 1, 2**20))

    with pytest.raises(Exception) as raised:
        fill()
    assert is_out_of_memory(raised.value), repr(raised.value)
    assert not is_out_of_memory(ValueError("The mask is damaged."))

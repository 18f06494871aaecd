"""Tensors that are kept on disk come back as they were, within bounds, and a folder that fails costs nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from rem_engine.checkpoints.kept_tensors import KeptTensors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_was_kept_comes_back_to_the_bit(folder: Path, dtype: torch.dtype) -> None:
    tensor = torch.randn(2, 3, 5, dtype=dtype).transpose(0, 1)
    KeptTensors("latents", most=9, most_bytes=2**20).keep("a", tensor)
    again = KeptTensors("latents", most=9, most_bytes=2**20).get("a")
    assert again is not None and again.dtype == dtype and torch.equal(again, tensor)
    assert KeptTensors("latents", most=9, most_bytes=2**20).get("b") is None
    assert KeptTensors("prompts", most=9, most_bytes=2**20).get("a") is None


def test_those_not_asked_for_longest_go(folder: Path) -> None:
    kept = KeptTensors("latents", most=100, most_bytes=3 * 4500)  # three with their headers
    for number, name in enumerate("abc"):
        kept.keep(name, torch.full((1000,), float(number)))
        os.utime(files(folder)[-1], (number, number))
    assert kept.get("a") is not None
    kept.keep("d", torch.zeros(1000))
    assert [file.stem for file in files(folder)] == ["a", "c", "d"]
    kept.keep("large", torch.zeros(10_000))
    assert kept.get("large") is None and kept.get("d") is not None


def test_a_damaged_file_is_as_none(folder: Path) -> None:
    kept = KeptTensors("latents", most=9, most_bytes=2**20)
    kept.keep("a", torch.ones(100))
    (file,) = files(folder)
    for damage in (b"", b"x" * 40, file.read_bytes()[:-7]):
        file.write_bytes(damage)
        assert kept.get("a") is None
    kept.keep("a", torch.ones(100))
    assert torch.equal(kept.get("a"), torch.ones(100))  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_to_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "file"))
    kept = KeptTensors("latents", most=9, most_bytes=2**20)
    kept.keep("a", torch.ones(3))
    assert kept.get("a") is None


def test_a_folder_that_is_only_read_from_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeptTensors("latents", most=9, most_bytes=2**20).keep("a", torch.ones(3))

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for change in ("utime", "replace", "mkdir", "unlink"):
        monkeypatch.setattr(os, change, refuse)
    kept = KeptTensors("latents", most=9, most_bytes=2**20)
    kept.keep("b", torch.ones(3))
    assert torch.equal(kept.get("a"), torch.ones(3)) and kept.get("b") is None  # type: ignore[arg-type]

"""How many prompts the Wan backbone takes at once: as many as half of the memory holds by its formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rem_engine.backbones.wan
from rem_engine import load_segmenter
from rem_engine.backbones.wan import WanBackbone

LATENTS = torch.randn(1, 16, 3, 24, 32, generator=torch.Generator().manual_seed(0))
TOKENS = 3 * 12 * 16


@pytest.fixture(scope="module")
def wan(tiny_wan: Path) -> WanBackbone:
    return load_segmenter(tiny_wan, size=(32, 32), device="cpu").backbone


def counted(wan: WanBackbone, monkeypatch: pytest.MonkeyPatch, available: int) -> int:
    monkeypatch.setattr(rem_engine.backbones.wan, "available_bytes", lambda device: available)
    return wan.prompts_per_pass(LATENTS)


def test_half_of_the_memory_that_is_available_is_filled(wan: WanBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    # One head of 128, feed-forward 64, float32: 2 * 64 * 4 + 7 * 128 * 4 bytes a token.
    one_prompt = TOKENS * (2 * 64 * 4 + 7 * 128 * 4)
    assert counted(wan, monkeypatch, 2 * one_prompt * 5 + 10) == 5
    assert counted(wan, monkeypatch, 2 * one_prompt * 5 - 10) == 4
    assert counted(wan, monkeypatch, 0) == 1

"""How many prompts the Wan backbone takes at once: as many as memory allows, with the masks of single prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import rem_engine.wan
from rem_engine import Segmenter, SegmentSettings, load_segmenter
from rem_engine.wan import WanBackbone

LATENTS = torch.randn(1, 16, 3, 24, 32, generator=torch.Generator().manual_seed(0))
TOKENS = 3 * 12 * 16


@pytest.fixture(scope="module")
def wan(tiny_wan: Path) -> WanBackbone:
    return load_segmenter(tiny_wan, size=(32, 32), device="cpu").backbone


def counted(wan: WanBackbone, monkeypatch: pytest.MonkeyPatch, available: int) -> int:
    monkeypatch.setattr(rem_engine.wan, "available_bytes", lambda device: available)
    return wan.prompts_per_pass(LATENTS)


def test_half_of_the_memory_that_is_available_is_filled(wan: WanBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    # One head of 128, feed-forward 64, float32: 2 * 64 * 4 + 7 * 128 * 4 bytes a token.
    one_prompt = TOKENS * (2 * 64 * 4 + 7 * 128 * 4)
    assert counted(wan, monkeypatch, 2 * one_prompt * 5 + 10) == 5
    assert counted(wan, monkeypatch, 2 * one_prompt * 5 - 10) == 4
    assert counted(wan, monkeypatch, 0) == 1


def test_a_prompt_takes_no_more_memory_than_estimated(wan: WanBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(count: int) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            wan.predict_mask_latents(LATENTS, torch.zeros(count, 77, 4096))
        events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
        held = torch.tensor([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).cumsum(0)
        return int(held.max())

    estimate = 2**40 // 2 / counted(wan, monkeypatch, 2**40)
    text = 77 * 4096 * 4  # the prompt itself, of which a model of this size is hardly larger
    each = (peak(5) - peak(1)) / 4
    assert 0.3 * estimate < each <= estimate + text


def test_masks_do_not_depend_on_how_many_prompts_go_together(wan: WanBackbone) -> None:
    frames = torch.rand(5, 32, 48, 3, generator=torch.Generator().manual_seed(1))
    prompts = ["the smoke", "the red car", "a dog", "rain"]
    settings = SegmentSettings(size=(32, 32), window=5, overlap=0)
    together = Segmenter(wan, settings).segment(frames, prompts).soft
    for index, prompt in enumerate(prompts):
        alone = Segmenter(wan, settings).segment(frames, [prompt]).soft[0]
        torch.testing.assert_close(together[index], alone, atol=1e-5, rtol=0)

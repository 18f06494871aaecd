"""Threads that share a segmenter get each its own masks, and none waits for a stream that was left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_scenes import edit
from red_model import RedBackbone

from rem_engine import Segmenter, load_segmenter
from rem_engine.frames import ArrayFrames
from rem_engine.segment.segmenter import Chunk

PROMPTS = ("a cat",)
THREADS = 3


@pytest.fixture(scope="module")
def segmenter(tiny_wan: Path) -> Segmenter:
    return load_segmenter(tiny_wan, size=(32, 32), window=5, overlap=2, cuts=(), device="cpu")


@pytest.fixture(scope="module")
def shots() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (5 + 3 * number, 32, 32, 3), np.uint8) for number in range(THREADS)]


def test_masks_of_threads_are_those_of_one_after_the_other(segmenter: Segmenter, shots: list[np.ndarray]) -> None:
    expected = [segmenter.segment(frames, PROMPTS).soft for frames in shots]
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(lambda frames: segmenter.segment(frames, PROMPTS).soft, shots))
    for found, right in zip(results, expected, strict=True):
        torch.testing.assert_close(found, right, atol=0, rtol=0)


def test_two_segmenters_of_one_model_share_it_too(segmenter: Segmenter, shots: list[np.ndarray]) -> None:
    several = [Segmenter(segmenter.backbone, segmenter.plan.settings) for _ in shots]
    expected = [one.segment(frames, PROMPTS).soft for one, frames in zip(several, shots)]
    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(lambda one, frames: one.segment(frames, PROMPTS).soft, several, shots))
    for one, right in zip(found, expected, strict=True):
        torch.testing.assert_close(one, right, atol=0, rtol=0)


def test_nobody_waits_for_a_stream_that_was_left(segmenter: Segmenter, shots: list[np.ndarray]) -> None:
    left = segmenter.stream(ArrayFrames(shots[1]), segmenter.encode_prompts(PROMPTS))
    first = next(left)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(segmenter.segment, shots[0], PROMPTS).result(timeout=120)
    segmenter.segment(shots[0], PROMPTS)
    # and it goes on as if it had been alone
    soft = torch.cat([first.soft, *(chunk.soft for chunk in left)], dim=1)
    torch.testing.assert_close(soft, segmenter.segment(shots[1], PROMPTS).soft, atol=0, rtol=0)


def test_a_stream_tells_its_own_cuts() -> None:
    segmenter = Segmenter(RedBackbone())
    embeds = segmenter.encode_prompts(PROMPTS)
    streams = [segmenter.stream(ArrayFrames(edit(*lengths)), embeds) for lengths in ((9, 14), (23,))]
    told = [list(chunks) for chunks in zip(*(chunks_by_frame(stream) for stream in streams), strict=True)]
    assert [chunk.cuts for chunk in told[-1]] == [(9,), ()]


def chunks_by_frame(stream: Iterator[Chunk]) -> Iterator[Chunk]:
    for chunk in stream:
        yield from [chunk] * chunk.soft.shape[1]

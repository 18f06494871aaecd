"""A shot that devices share, each in a process of its own, has the masks that one of them gives, bit by bit."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from progress_log import ProgressLog

from rem_engine import Segmenter, load_segmenter
from rem_engine.backbones.load import load_backbone
from rem_engine.devices import split_devices
from rem_engine.frames import ArrayFrames
from rem_engine.segment.close_up import CloseUp
from rem_engine.segment.settings import SegmentSettings

FRAMES = np.random.default_rng(0).integers(0, 256, (22, 96, 96, 3), dtype=np.uint8)
PROMPTS = ["fire", "the smoke"]
SETTINGS = {"size": (32, 32), "window": 5, "overlap": 1, "cuts": ()}


@pytest.fixture(scope="module")
def one(tiny_wan: Path) -> Segmenter:
    return load_segmenter(tiny_wan, device="cpu", **SETTINGS)


@pytest.fixture(scope="module")
def two(tiny_wan: Path) -> Segmenter:
    return load_segmenter(tiny_wan, device="cpu,cpu", **SETTINGS)


@pytest.fixture(autouse=True)
def encoded_here(two: Segmenter, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many frames each window had that the first device encoded."""
    lengths: list[int] = []
    encode = two.backbone.encode_video
    monkeypatch.setattr(two.backbone, "encode_video", lambda frames: lengths.append(len(frames)) or encode(frames))
    yield lengths


def test_two_devices_share_the_windows_and_give_the_masks_of_one(
    one: Segmenter, two: Segmenter, encoded_here: list[int]
) -> None:
    log = ProgressLog()
    assert torch.equal(two.segment(FRAMES, PROMPTS, log).soft, one.segment(FRAMES, PROMPTS).soft)
    windows = len(one.windows(len(FRAMES)))
    assert windows == 6 and len(encoded_here) == 3
    assert log.counts["steps"][-1] == (windows * (2 + len(PROMPTS)),) * 2


def test_a_shot_of_one_window_and_one_that_goes_on_are_shared_too(one: Segmenter, two: Segmenter) -> None:
    assert torch.equal(two.segment(FRAMES[:4], PROMPTS).soft, one.segment(FRAMES[:4], PROMPTS).soft)
    embeds = one.encode_prompts(PROMPTS)
    parts = [chunk.soft for chunk in two.stream(ArrayFrames(FRAMES), embeds, first_frame=7)]
    assert torch.equal(torch.cat(parts, dim=1), one.segment(FRAMES, PROMPTS).soft[:, 7:])


def test_close_ups_are_shared(one: Segmenter, two: Segmenter) -> None:
    embeds = one.encode_prompts(PROMPTS)
    softs = [
        torch.cat([chunk.soft for chunk in CloseUp(each).stream(ArrayFrames(FRAMES), embeds)], dim=1)
        for each in (one, two)
    ]
    assert torch.equal(*softs)


def test_stages_one_after_another_are_shared(tiny_wan: Path, one: Segmenter, two: Segmenter) -> None:
    streaming = load_backbone(tiny_wan, device="cpu", memory="stream")
    streaming.prompts_per_pass = lambda latents: 1
    alone = Segmenter(streaming, SegmentSettings(**SETTINGS))
    shared = Segmenter(streaming, SegmentSettings(**SETTINGS), two.others)
    for prompt in PROMPTS:
        assert torch.equal(shared.segment(FRAMES, [prompt]).soft, alone.segment(FRAMES, [prompt]).soft)


def test_what_another_device_raises_is_raised_here(two: Segmenter) -> None:
    nothing = torch.full((5, 3, 32, 32), float("nan"))
    number = two.others[0].begin("encode", nothing, "frames 5 to 9")
    with pytest.raises(ValueError, match="The model's latents of frames 5 to 9 hold values that are not finite"):
        two.others[0].result(number)


def test_a_process_that_ends_is_told_and_not_waited_for(tiny_wan: Path, two: Segmenter) -> None:
    # The last test of this file that asks for it.
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    with pytest.raises(RuntimeError, match="The process that computes on the device 'cpu' has ended, perhaps for want"):
        two.segment(FRAMES, PROMPTS)


def test_devices_that_cannot_share_are_told() -> None:
    assert split_devices("auto") == ["auto"] and split_devices("cpu, cpu") == ["cpu", "cpu"]
    with pytest.raises(ValueError, match="There is no device 'abacus'; use 'auto', 'cpu', or one that PyTorch has"):
        split_devices("cpu,abacus")
    with pytest.raises(ValueError, match="'auto,cpu' are to be named each, as in 'cuda:0,cuda:1'; 'auto' stands alone"):
        split_devices("auto,cpu")
    with pytest.raises(ValueError, match="'cpu,meta' are of several kinds"):
        split_devices("cpu,meta")
    with pytest.raises(RuntimeError, match=r"'cuda:0,cuda:99' were asked for, and PyTorch sees \d+ CUDA GPUs; name"):
        split_devices("cuda:0,cuda:99")

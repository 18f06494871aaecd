"""The second look: finer where it helps, without a seam, and otherwise what the first pass says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from progress_log import ProgressLog
from torch import Tensor

from rem_engine import Segmenter
from rem_engine.backbones.base import WAN, TextsOneByOne
from rem_engine.frames import ArrayFrames
from rem_engine.metrics import region_similarity
from rem_engine.segment.close_up import CloseUp
from rem_engine.segment.settings import SegmentSettings
from rem_engine.shelf import Shelf

HEIGHT, WIDTH, FRAMES = 360, 640, 24
PROMPTS = ("red", "green")


class ColourBackbone(TextsOneByOne):
    """Stands in for a model that sees 64x64 pixels: a mask is how far a prompt's colour exceeds the others."""

    name = "colour"
    default_size = (64, 64)
    default_window = 9
    default_overlap = 4
    streamed = None
    family = WAN

    def encode_video(self, frames: Tensor) -> Tensor:
        return (frames[None].transpose(1, 2) + 1) / 2

    def encode_text(self, prompt: str) -> Tensor:
        embeds = torch.zeros(77, 4096)
        embeds[0, PROMPTS.index(prompt)] = 1.0
        return embeds

    def prompts_per_pass(self, latents: Tensor) -> int:
        return 4

    def draw_noise(self, latents: Tensor, seed: int) -> None:
        return None

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: None = None) -> Tensor:
        red, green, blue = latents.unbind(1)
        masks = torch.stack([red - green - blue, green - red - blue], dim=1)
        return torch.cat([masks[:, int(rows[0, :2].argmax())][:, None] for rows in prompt_embeds])

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        return mask_latents.transpose(1, 2)[0].clamp(0, 1).expand(-1, 3, -1, -1)


def shot(radius: float = 14.0, step: float = 11.0, seen: range = range(FRAMES)) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 [T,H,W,3] with a red disk that crosses a grey picture, and its exact masks."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    for index in seen:
        masks[index] = np.hypot(rows - 120 - 2 * index, columns - 100 - step * index) < radius
    grey = np.random.default_rng(0).integers(90, 130, (HEIGHT, WIDTH, 1))
    frames = np.broadcast_to(grey, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8)
    frames[masks] = (250, 5, 5)
    return frames, masks


def both(
    frames: np.ndarray, prompts: tuple[str, ...] = PROMPTS[:1], settings: SegmentSettings | None = None
) -> tuple[Tensor, Tensor]:
    """Soft masks [P,T,H,W] of a single pass and with close-ups."""
    segmenter = Segmenter(ColourBackbone(), settings or SegmentSettings(cuts=()))
    return whole(segmenter, frames, prompts), whole(CloseUp(segmenter), frames, prompts)


def whole(segmenter: Segmenter | CloseUp, frames: np.ndarray, prompts: tuple[str, ...], first: int = 0) -> Tensor:
    chunks = list(segmenter.stream(ArrayFrames(frames), segmenter.encode_prompts(prompts), first_frame=first))
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(starts) and starts[0] == first
    return torch.cat([chunk.soft for chunk in chunks], dim=1)


def mean_j(soft: Tensor, masks: np.ndarray) -> float:
    return float(np.mean(region_similarity((soft > 0.5).numpy(), masks)))


def test_a_small_thing_in_a_large_frame_is_found_more_exactly() -> None:
    frames, masks = shot()
    once, twice = both(frames)
    # 28 pixels of 640 are under three of the model's 64.
    assert mean_j(once[0], masks) < 0.7
    assert mean_j(twice[0], masks) > 0.9


def test_what_fills_the_frame_is_left_to_the_first_pass() -> None:
    frames, _ = shot(radius=110.0, step=5.0)
    once, twice = both(frames)
    assert torch.allclose(once, twice, atol=1e-3)  # the first pass waits in half precision


def test_each_prompt_has_a_crop_of_its_own() -> None:
    frames, masks = shot()
    green = np.zeros_like(masks)
    green[:, 300:322, 40:62] = True
    frames[green] = (5, 250, 5)
    _, twice = both(frames, PROMPTS)
    assert mean_j(twice[0], masks) > 0.9 and mean_j(twice[1], green) > 0.9


def test_outside_of_the_crop_the_first_pass_stands_and_no_seam_shows() -> None:
    frames, masks = shot()
    # A faint red over everything: the crop's border would show as a step in it.
    frames[~masks] = frames[~masks] // 2 + np.array([60, 0, 0], np.uint8)
    once, twice = both(frames)
    middle = once[0, 12]
    around = torch.from_numpy(np.abs(np.arange(WIDTH) - 232) > 160)
    assert torch.allclose(twice[0, 12][:, around], middle[:, around], atol=1e-3)
    background = torch.from_numpy(~masks[12])
    apart = (twice[0, 12] - middle).abs()[background]
    steps = twice[0, 12].diff(dim=1).abs().quantile(0.99), middle.diff(dim=1).abs().quantile(0.99)
    assert apart.median() < 1e-3
    assert steps[0] < steps[1] + 0.05


def test_a_frame_without_anything_stays_empty_and_the_thing_comes_back() -> None:
    frames, masks = shot(seen=range(14, FRAMES))
    _, twice = both(frames)
    assert twice[0, :7].max() < 0.1
    assert mean_j(twice[0, 14:], masks[14:]) > 0.9


def test_crops_do_not_look_across_cuts() -> None:
    frames, masks = shot(step=2.0)
    # From frame 12 on mirrored and of another ground: another take, whose crop lies elsewhere.
    frames[12:], masks[12:] = 255 - frames[12:, :, ::-1] // 3, masks[12:, :, ::-1]
    frames[masks] = (250, 5, 5)
    segmenter = Segmenter(ColourBackbone(), SegmentSettings(cuts=(12,)))
    assert mean_j(whole(CloseUp(segmenter), frames, PROMPTS[:1])[0], masks) > 0.9
    alone = Segmenter(ColourBackbone(), SegmentSettings(cuts=()))
    parts = [whole(CloseUp(alone), part, PROMPTS[:1]) for part in (frames[:12], frames[12:])]
    assert torch.allclose(whole(CloseUp(segmenter), frames, PROMPTS[:1]), torch.cat(parts, dim=1), atol=1e-3)


def test_cuts_that_have_to_be_found_are_those_of_the_first_pass() -> None:
    frames, masks = shot(step=2.0)
    rng = np.random.default_rng(1)
    frames[:] = rng.integers(0, 120, (HEIGHT // 20, WIDTH // 20, 3)).repeat(20, 0).repeat(20, 1)
    frames[12:] = rng.integers(100, 250, (HEIGHT // 20, WIDTH // 20, 1)).repeat(20, 0).repeat(20, 1)
    frames[masks] = (250, 5, 5)
    segmenter = CloseUp(Segmenter(ColourBackbone(), SegmentSettings(cuts="auto")))
    found = whole(segmenter, frames, PROMPTS[:1])
    assert segmenter.cuts == (12,)
    given = CloseUp(Segmenter(ColourBackbone(), SegmentSettings(cuts=(12,))))
    assert torch.equal(found, whole(given, frames, PROMPTS[:1]))


@pytest.mark.parametrize("first", [1, 13, FRAMES - 1])
def test_a_run_that_goes_on_gives_the_same_masks(first: int) -> None:
    frames, _ = shot()
    segmenter = CloseUp(Segmenter(ColourBackbone(), SegmentSettings(cuts=())))
    expected = whole(segmenter, frames, PROMPTS)
    assert torch.equal(whole(segmenter, frames, PROMPTS, first), expected[:, first:])


def test_progress_rises_to_all_the_steps_of_both_passes() -> None:
    frames, _ = shot()
    segmenter = CloseUp(Segmenter(ColourBackbone(), SegmentSettings(cuts=())))
    log = ProgressLog()
    for _ in segmenter.stream(ArrayFrames(frames), segmenter.encode_prompts(PROMPTS), progress=log):
        pass
    seen = log.counts["steps"]
    window_count = len(segmenter.windows(FRAMES))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1] == (window_count * (4 + 2 * 3),) * 2


@pytest.mark.slow
def test_masks_that_are_held_do_not_grow_with_the_shot(monkeypatch: pytest.MonkeyPatch) -> None:
    from rem_engine.segment import close_up

    most = []
    make = close_up._FirstPass._make

    def watched(self: close_up._FirstPass, stop: int) -> None:
        make(self, stop)
        most[-1] = max(most[-1], len(self._masks), len(self._places), len(self._found))

    monkeypatch.setattr(close_up._FirstPass, "_make", watched)
    frames, _ = shot(step=0.0)
    segmenter = CloseUp(Segmenter(ColourBackbone(), SegmentSettings(cuts=())))
    for times in (2, 6):
        most.append(0)
        whole(segmenter, np.concatenate([frames] * times), PROMPTS[:1])
    assert most[1] - most[0] < segmenter.plan.window


def test_masks_that_wait_in_a_file_are_those_that_wait_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, _ = shot()
    segmenter = Segmenter(ColourBackbone(), SegmentSettings(cuts=()))
    expected = whole(CloseUp(segmenter), frames, PROMPTS)
    monkeypatch.setattr("rem_engine.shelf._IN_MEMORY", 3 * HEIGHT * WIDTH * 2)
    assert torch.equal(whole(CloseUp(segmenter), frames, PROMPTS), expected)


@pytest.mark.slow
def test_soft_masks_of_a_streamed_shot_wait_on_disk(tiny_wan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that predicts all windows together the first pass is whole before the first close-up begins."""
    from rem_engine import load_segmenter
    from rem_engine.segment import close_up

    shelves: list[Shelf] = []
    monkeypatch.setattr(close_up, "Shelf", lambda: shelves.append(Shelf()) or shelves[-1])
    monkeypatch.setattr("rem_engine.shelf._IN_MEMORY", 2**20)
    frames = np.random.default_rng(0).integers(0, 256, (40, 200, 320, 3), dtype=np.uint8)
    segmenter = load_segmenter(tiny_wan, device="cpu", memory="stream", size=(32, 32), window=5, overlap=1, cuts=())
    whole(CloseUp(segmenter), frames, ("fire",))
    (shelf,) = shelves
    assert len(shelf) == 40 and shelf._file._rolled  # 5 MB


def test_a_model_that_sees_the_frame_at_its_own_size_looks_once() -> None:
    frames, _ = shot()
    once, twice = both(frames[:, :96, 60:156])
    assert torch.equal(once, twice)


def test_both_looks_are_through_one_model() -> None:
    """A mask decoder is read once, and what memory did not suffice for in the first pass is not tried in the second."""
    decoders = []

    class Distilled(ColourBackbone):
        def mask_decoder(self) -> Callable[[Tensor], Tensor]:
            decoders.append(self.decode_masks)
            return self.decode_masks

    settings = SegmentSettings(cuts=(), decoder="mask")
    segmenter = Segmenter(Distilled(), settings)
    near = CloseUp(segmenter)
    frames, masks = shot()
    assert mean_j(whole(near, frames, PROMPTS[:1])[0], masks) > 0.9
    assert len(decoders) == 1
    assert near.seconds == segmenter.seconds and near.prompts_per_pass == 1


def test_the_papers_protocol_has_no_close_ups() -> None:
    with pytest.raises(ValueError, match="knows no close-ups"):
        CloseUp(Segmenter(ColourBackbone(), SegmentSettings(protocol="paper")))


def two_disks() -> tuple[np.ndarray, Tensor]:
    """Frames of two red disks that stand far apart, and how far "red" may be: on the left, from the fourth frame on."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 110, np.uint8)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for column in (120, 540):
        frames[:, np.hypot(rows - 180, columns - column) < 14] = (250, 5, 5)
    within = torch.zeros(1, HEIGHT, WIDTH)
    within[..., :320] = 1.0
    return frames, within


def test_a_close_up_follows_what_lies_within_the_hints() -> None:
    frames, within = two_disks()
    segmenter = Segmenter(ColourBackbone(), SegmentSettings(cuts=()))
    near = CloseUp(segmenter)
    embeds = segmenter.encode_prompts(PROMPTS[:1])
    exact = torch.from_numpy(np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([180, 120])[:, None, None])) < 14)
    errors = []
    for bound in (None, lambda _: within):
        soft = torch.cat([chunk.soft for chunk in near.stream(ArrayFrames(frames), embeds, within=bound)], dim=1)
        errors.append((soft[0, 12, :, :320] - exact[:, :320].float()).abs().sum().item())
    free, hinted = errors
    assert hinted < 0.5 * free  # a crop of both disks is most of the frame


def test_where_nothing_is_found_a_close_up_looks_where_it_was_told_to() -> None:
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), 110, np.uint8)
    frames[:, 176:182, 116:122] = (250, 5, 5)  # too small for the first look
    within = torch.zeros(1, HEIGHT, WIDTH)
    within[:, 150:210, 90:150] = 1.0
    segmenter = Segmenter(ColourBackbone(), SegmentSettings(cuts=()))
    embeds = segmenter.encode_prompts(PROMPTS[:1])
    peaks = [
        max(chunk.soft.max().item() for chunk in CloseUp(segmenter).stream(ArrayFrames(frames), embeds, within=bound))
        for bound in (None, lambda _: within)
    ]
    assert peaks[0] < 0.3 < 0.6 < peaks[1]

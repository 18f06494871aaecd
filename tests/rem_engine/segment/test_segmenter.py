"""What the segmenter promises, on backbones whose masks are known in advance."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from progress_log import Cancel, Cancelled, ProgressLog
from torch import Tensor

from rem_engine import Segmenter, SegmentSettings, load_segmenter
from rem_engine.backbones.base import MODELSCOPE, WAN, TextsOneByOne
from rem_engine.frames import ArrayFrames
from rem_engine.segment.cuts import LOOKAHEAD

STRENGTH = {"all of it": 1.0, "half of it": 0.5, "none of it": 0.0}


class PlainBackbone(TextsOneByOne):
    """Latents are the frames themselves, and a prompt's mask is its strength times the picture in 0..1.

    Windows are Wan's.
    """

    name = "plain"
    default_size = (32, 32)
    default_window = 9
    default_overlap = 2
    streamed = None
    family = WAN

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.window_lengths: list[int] = []

    def encode_video(self, frames: Tensor) -> Tensor:
        self.calls["encode_video"] += 1
        self.window_lengths.append(len(frames))
        assert frames.min() >= -1.0
        assert frames.max() <= 1.0
        return frames.transpose(0, 1)[None]

    def encode_text(self, prompt: str) -> Tensor:
        self.calls["encode_text"] += 1
        return torch.full((77, 4096), STRENGTH[prompt])

    def prompts_per_pass(self, latents: Tensor) -> int:
        return 4

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor | None:
        return None

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        self.calls["predict"] += 1
        return prompt_embeds[:, 0, 0].view(-1, 1, 1, 1, 1) * (latents + 1) / 2

    def decode_masks(self, mask_latents: Tensor) -> Tensor:
        self.calls["decode"] += 1
        return mask_latents[0].transpose(0, 1)


class NoisyBackbone(PlainBackbone):
    """Takes windows and noise as ModelScope does, and shows as much of the noise in its masks as it is told to."""

    name = "noisy"
    family = replace(MODELSCOPE, size_multiple=16)
    noise_share = 0.0

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor:
        return torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        assert noise is not None
        return super().predict_mask_latents(latents, prompt_embeds) + self.noise_share * noise


@pytest.fixture(params=[PlainBackbone, NoisyBackbone], ids=["Wan", "ModelScope"])
def backbone(request: pytest.FixtureRequest) -> PlainBackbone:
    return request.param()


class SeedBackbone(NoisyBackbone):
    """The mask is the seed of the noise that was drawn for its window and prompt."""

    def __init__(self, prompts_per_pass: int) -> None:
        super().__init__()
        self._prompts_per_pass = prompts_per_pass

    def prompts_per_pass(self, latents: Tensor) -> int:
        return self._prompts_per_pass

    def draw_noise(self, latents: Tensor, seed: int) -> Tensor:
        return torch.full_like(latents, float(seed))

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        return noise.expand(len(prompt_embeds), -1, -1, -1, -1)


class CountingBackbone(PlainBackbone):
    """The mask of the k-th window is k everywhere, so that one sees which window a mask came from."""

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: Tensor | None = None) -> Tensor:
        return torch.full_like(latents, float(self.calls["encode_video"] - 1)).expand(
            len(prompt_embeds), -1, -1, -1, -1
        )


class ReadRecorder(ArrayFrames):
    def __init__(self, frames: np.ndarray) -> None:
        super().__init__(frames)
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> np.ndarray:
        self.reads.append((start, stop))
        return super().read(start, stop)


def ramp(count: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Frame t is uniformly t / 255."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, height, width, 3)).copy()


@pytest.mark.parametrize("protocol", ["shot", "paper"])
@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 23, 80])
def test_every_frame_keeps_its_place(protocol: str, count: int, backbone: PlainBackbone) -> None:
    result = Segmenter(backbone, SegmentSettings(protocol=protocol)).segment(ramp(count), ["all of it"])
    assert result.soft.shape == (1, count, 40, 48)
    assert result.soft.dtype == torch.float32
    expected = (torch.arange(count) / 255).view(1, count, 1, 1).expand_as(result.soft)
    torch.testing.assert_close(result.soft, expected, atol=1e-6, rtol=0)


def test_windows_are_encoded_once_whatever_the_number_of_prompts(backbone: PlainBackbone) -> None:
    Segmenter(backbone).segment(ramp(23), ["all of it", "half of it", "none of it"])
    assert backbone.calls == {"encode_video": 3, "encode_text": 3, "predict": 3, "decode": 9}


def test_prompts_are_told_apart(backbone: PlainBackbone) -> None:
    soft = Segmenter(backbone).segment(ramp(3) + 100, ["none of it", "all of it", "half of it"]).soft
    torch.testing.assert_close(soft[2], soft[1] / 2)
    assert not soft[0].any()
    assert soft[1].min() > 0.39


def test_a_prompt_is_encoded_once_for_many_shots(backbone: PlainBackbone) -> None:
    segmenter = Segmenter(backbone)
    for _ in range(2):
        segmenter.segment(ramp(2), ["all of it", "all of it"])
    assert backbone.calls["encode_text"] == 1


def test_neighbouring_windows_cross_fade() -> None:
    soft = Segmenter(CountingBackbone(), SegmentSettings(overlap=3)).segment(ramp(14), ["all of it"]).soft[0, :, 0, 0]
    # Windows 0-8 and 5-13 share frames 5-8, of which the last two fade over, at a third and two thirds of smootherstep.
    expected = [0.0] * 7 + [17 / 81, 64 / 81] + [1.0] * 5
    torch.testing.assert_close(soft, torch.tensor(expected))


def test_paper_windows_do_not_blend() -> None:
    soft = Segmenter(CountingBackbone(), SegmentSettings("paper", window=9)).segment(ramp(14), ["all of it"]).soft
    assert soft[0, :, 0, 0].tolist() == [0.0] * 9 + [1.0] * 5


@pytest.mark.parametrize("together", [1, 2, 4])
def test_prompts_share_the_noise_of_a_window_of_the_shot_protocol(together: int) -> None:
    segmenter = Segmenter(SeedBackbone(together), SegmentSettings(seed=40))
    soft = segmenter.segment(ramp(23), ["all of it", "half of it", "none of it"]).soft
    # Windows 0-8, 7-15 and 14-22.
    assert soft[:, [0, 11, 22], 0, 0].tolist() == [[40.0, 41.0, 42.0]] * 3


@pytest.mark.parametrize("together", [1, 2, 4])
def test_every_window_of_every_prompt_has_noise_of_its_own_in_the_paper_protocol(together: int) -> None:
    segmenter = Segmenter(SeedBackbone(together), SegmentSettings("paper", window=9, seed=40))
    soft = segmenter.segment(ramp(23), ["all of it", "half of it", "none of it"]).soft
    per_prompt = [[40.0 + prompt * 3] * 9 + [41.0 + prompt * 3] * 9 + [42.0 + prompt * 3] * 5 for prompt in range(3)]
    assert soft[:, :, 0, 0].tolist() == per_prompt


@pytest.mark.parametrize("protocol", ["shot", "paper"])
def test_chunks_come_in_order_and_each_frame_once(protocol: str, backbone: PlainBackbone) -> None:
    segmenter = Segmenter(backbone, SegmentSettings(protocol, window=9))
    next_frame = 0
    for chunk in segmenter.stream(ArrayFrames(ramp(31)), segmenter.encode_prompts(["all of it"])):
        assert chunk.start == next_frame
        next_frame += chunk.soft.shape[1]
    assert next_frame == 31


@pytest.mark.parametrize("protocol", ["shot", "paper"])
@pytest.mark.parametrize("first_frame", [0, 1, 6, 7, 8, 9, 13, 22])
def test_a_resumed_run_gives_the_masks_of_an_uninterrupted_one(
    protocol: str, first_frame: int, backbone: PlainBackbone
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (23, 40, 48, 3), dtype=np.uint8)
    segmenter = Segmenter(backbone, SegmentSettings(protocol, window=9))
    backbone.noise_share = 0.1
    whole = segmenter.segment(frames, ["half of it"]).soft
    segmenter.backbone.calls.clear()
    chunks = list(
        segmenter.stream(ArrayFrames(frames), segmenter.encode_prompts(["half of it"]), first_frame=first_frame)
    )
    assert chunks[0].start == first_frame
    assert torch.equal(torch.cat([chunk.soft for chunk in chunks], dim=1), whole[:, first_frame:])
    if first_frame == 22:
        assert segmenter.backbone.calls["encode_video"] == 1  # earlier windows are not run again


def test_a_resumed_run_without_a_search_for_cuts_reads_no_earlier_windows(backbone: PlainBackbone) -> None:
    source = ReadRecorder(ramp(23))
    segmenter = Segmenter(backbone, SegmentSettings(cuts=()))
    list(segmenter.stream(source, segmenter.encode_prompts(["half of it"]), first_frame=22))
    assert source.reads == [(14, 23)]


@pytest.mark.parametrize(("cuts", "ahead"), [((), 9), ("auto", 9 + 7 + LOOKAHEAD)])
def test_a_frame_is_read_once_and_no_more_than_a_window_ahead(
    cuts: str | tuple[int, ...], ahead: int, backbone: PlainBackbone
) -> None:
    source = ReadRecorder(ramp(30))
    segmenter = Segmenter(backbone, SegmentSettings(cuts=cuts))
    chunks = segmenter.stream(source, segmenter.encode_prompts(["all of it"]))
    next(chunks)
    assert source.reads[-1][1] == ahead
    list(chunks)
    assert [frame for start, stop in source.reads for frame in range(start, stop)] == list(range(30))


def test_full_size_frames_are_read_a_few_at_a_time(backbone: PlainBackbone) -> None:
    source = ReadRecorder(np.zeros((9, 1080, 1920, 3), np.uint8))
    segmenter = Segmenter(backbone)
    chunks = list(segmenter.stream(source, segmenter.encode_prompts(["all of it"])))
    assert max(stop - start for start, stop in source.reads) == 2
    assert max(chunk.soft.shape[1] for chunk in chunks) == 2


def test_a_short_shot_repeats_its_last_frame() -> None:
    backbone = PlainBackbone()
    Segmenter(backbone).segment(ramp(6), ["all of it"])
    Segmenter(backbone).segment(ramp(1), ["all of it"])
    assert backbone.window_lengths == [9, 1]


def test_progress_counts_every_stage_of_every_window(backbone: PlainBackbone) -> None:
    log = ProgressLog()
    Segmenter(backbone).segment(ramp(23), ["all of it", "half of it"], progress=log)
    assert log.counts == {"steps": [(done, 12) for done in range(1, 13)]}


def test_cancelling_ends_the_run_and_the_segmenter_goes_on_working(backbone: PlainBackbone) -> None:
    segmenter, cancel = Segmenter(backbone), Cancel("steps", 5)
    chunks: Iterator = segmenter.stream(ArrayFrames(ramp(23)), segmenter.encode_prompts(["all of it"]), progress=cancel)
    finished = []
    with pytest.raises(Cancelled):
        finished.extend(chunk.start for chunk in chunks)
    assert backbone.calls["encode_video"] == 2
    assert backbone.calls["decode"] == 1
    assert list(chunks) == []
    assert segmenter.segment(ramp(2), ["all of it"]).soft.shape[1] == 2


def test_seconds_are_kept_for_every_stage(backbone: PlainBackbone) -> None:
    segmenter = Segmenter(backbone)
    segmenter.segment(ramp(9), ["all of it"])
    assert set(segmenter.seconds) == {"read", "encode_video", "encode_text", "predict", "decode", "resize"}
    assert all(seconds > 0 for seconds in segmenter.seconds.values())


def test_masks_are_those_above_the_threshold(backbone: PlainBackbone) -> None:
    result = Segmenter(backbone).segment(ramp(3) + 127, ["all of it"])
    assert result.masks()[0, :, 0, 0].tolist() == [False, True, True]
    assert result.masks(0.5).dtype == torch.bool
    assert not result.masks(0.6).any()


PICTURE = np.random.default_rng(1).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "frames",
    [
        PICTURE.astype(np.uint16) * 257,
        (PICTURE / 255.0).astype(np.float32),
        PICTURE / 255.0,
        torch.from_numpy(PICTURE),
        torch.from_numpy(PICTURE) / 255.0,
        np.concatenate([PICTURE, np.zeros_like(PICTURE[..., :1])], axis=-1),
    ],
    ids=["uint16", "float32", "float64", "tensor", "float tensor", "RGBA"],
)
@pytest.mark.parametrize("protocol", ["shot", "paper"])
def test_one_picture_in_any_usual_form_gives_the_same_masks(
    frames: np.ndarray | Tensor, protocol: str, backbone: PlainBackbone
) -> None:
    segmenter = Segmenter(backbone, SegmentSettings(protocol))
    expected = segmenter.segment(PICTURE, ["all of it"]).soft
    torch.testing.assert_close(segmenter.segment(frames, ["all of it"]).soft, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("grey", [PICTURE[..., 0], PICTURE[..., :1]], ids=["[T,H,W]", "[T,H,W,1]"])
def test_grey_frames_are_equal_channels(grey: np.ndarray, backbone: PlainBackbone) -> None:
    segmenter = Segmenter(backbone)
    expected = segmenter.segment(np.repeat(PICTURE[..., :1], 3, axis=-1), ["all of it"]).soft
    assert torch.equal(segmenter.segment(grey, ["all of it"]).soft, expected)


def test_sixteen_bit_frames_keep_their_depth_in_the_shot_protocol(backbone: PlainBackbone) -> None:
    frames = np.full((1, 32, 32, 3), 257 * 100 + 64, np.uint16)
    soft = Segmenter(backbone).segment(frames, ["all of it"]).soft
    torch.testing.assert_close(soft, torch.full_like(soft, (257 * 100 + 64) / 65535), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (np.zeros((0, 40, 48, 3), np.uint8), "The shot has no frames; at least one is needed."),
        (ramp(2, 15, 48), "The frames are 48x15 pixels; at least 16x16 are needed."),
        (np.zeros((40, 48, 3), np.uint8), "look like one picture"),
        (np.zeros((2, 40, 48, 2), np.uint8), r"shape \[2, 40, 48, 2\] cannot be read"),
        (np.zeros((2, 40, 48, 3), np.int64), "type int64 cannot be read"),
        (np.full((2, 40, 48, 3), 255.0), "values 255 to 255 were found"),
        (np.full((2, 40, 48, 3), np.nan), "Frame 0 of the shot holds values that are not finite"),
    ],
)
def test_frames_that_cannot_be_used_are_told_in_a_sentence(
    frames: np.ndarray, sentence: str, backbone: PlainBackbone
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Segmenter(backbone).segment(frames, ["all of it"])


class UncheckedFrames(ArrayFrames):
    """Frames as they are, such as a source of one's own may give."""

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._frames[start:stop]


@pytest.mark.parametrize("protocol", ["shot", "paper"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_frames_of_any_source_that_are_not_finite_are_told(
    protocol: str, value: float, backbone: PlainBackbone
) -> None:
    frames = np.zeros((12, 40, 48, 3), np.float32)
    frames[7, 3, 5, 1] = value
    with pytest.raises(ValueError, match=r"^Frame 7 of the shot holds values that are not finite"):
        Segmenter(backbone, SegmentSettings(protocol)).segment(UncheckedFrames(frames), ["all of it"])


def test_a_source_that_ends_early_is_told(backbone: PlainBackbone) -> None:
    source = ArrayFrames(ramp(12))
    source.frame_count = 20
    segmenter = Segmenter(backbone)
    with pytest.raises(ValueError, match="ended after 12 frames; 20 were expected"):
        list(segmenter.stream(source, segmenter.encode_prompts(["all of it"])))


def test_no_prompt_is_told(backbone: PlainBackbone) -> None:
    with pytest.raises(ValueError, match="No prompt was given"):
        Segmenter(backbone).segment(ramp(2), [])


@pytest.mark.parametrize("first_frame", [-1, 5])
def test_going_on_outside_the_shot_is_told(first_frame: int, backbone: PlainBackbone) -> None:
    segmenter = Segmenter(backbone)
    with pytest.raises(ValueError, match="frames 0 to 4"):
        list(segmenter.stream(ArrayFrames(ramp(5)), torch.zeros(1, 77, 4096), first_frame=first_frame))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (SegmentSettings(size=(30, 32)), "multiples of 16"),
        (SegmentSettings(size=(32, 24)), "multiples of 16"),
        (SegmentSettings(window=8), "windows of 8 frames; use 9"),
        (SegmentSettings(overlap=5), "0 to 4, not 5"),
        (SegmentSettings(protocol="paper", overlap=2), "do not overlap"),
    ],
)
def test_settings_that_cannot_work_are_told_at_once(settings: SegmentSettings, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Segmenter(PlainBackbone(), settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"protocol": "film"}, "protocol is one of shot, paper, not 'film'"),
        ({"seed": -1}, "seed of -1 is not possible; give 0 to 4294967295"),
        ({"seed": 2**32}, "seed of 4294967296 is not possible"),
        ({"size": (0, 32)}, "size of 0 pixels is not possible; give 16 to 4096 pixels"),
        ({"size": (32, 65536)}, "size of 65536 pixels is not possible"),
        ({"window": -3}, "window of -3 frames is not possible; give 1 to 1001 frames"),
        ({"window": 10**9 + 1}, "window of 1000000001 frames is not possible"),
        ({"overlap": -1}, "overlap of -1 frames is not possible; give 0 to 500 frames"),
    ],
)
def test_settings_that_no_model_takes_are_refused_before_one_is_loaded(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_segmenter("no model of this name", **settings)


def test_a_window_shorter_than_the_usual_overlap_works(backbone: PlainBackbone) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = Segmenter(backbone, SegmentSettings(window=1)).segment(ramp(4), ["all of it"])
    assert result.soft.shape[1] == 4

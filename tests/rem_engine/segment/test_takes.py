"""Takes, sizes and passes: no window looks across a cut, nothing moves in time or space, memory decides the batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_scenes import edit
from PIL import Image
from progress_log import ProgressLog
from red_model import RedBackbone, segment
from test_segmenter import PlainBackbone
from torch import Tensor

from rem_engine import Segmenter, SegmentSettings
from rem_engine.frames import ArrayFrames
from rem_engine.segment.segmenter import disagreements
from rem_engine.segment.windows import shot_windows

PROMPTS = ["the smoke", "the red thing"]


def cut_points(lengths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(point) for point in np.cumsum(lengths)[:-1])


@pytest.mark.parametrize("lengths", [(14, 9, 23), (1, 7, 4, 12), (5, 5, 5), (20, 1)], ids=str)
@pytest.mark.parametrize("given", [True, False])
def test_every_take_gets_the_masks_it_has_alone(lengths: tuple[int, ...], given: bool) -> None:
    """RedBackbone's masks depend on all frames of a window, so a window across a cut would show."""
    frames, cuts = edit(*lengths), cut_points(lengths)
    segmenter = Segmenter(RedBackbone(), SegmentSettings(cuts=cuts if given else "auto"))
    whole = segmenter.segment(frames, PROMPTS).soft
    assert segmenter.cuts == cuts
    alone = [
        Segmenter(RedBackbone(), SegmentSettings(cuts=())).segment(take, PROMPTS).soft
        for take in np.split(frames, cuts)
    ]
    assert torch.equal(whole, torch.cat(alone, dim=1))


def test_cuts_are_crossed_when_told_so_and_by_the_paper() -> None:
    frames = edit(7, 7)
    backbone = PlainBackbone()
    for settings in (SegmentSettings(cuts=()), SegmentSettings("paper")):
        segmenter = Segmenter(backbone, settings)
        segmenter.segment(frames, ["all of it"])
        assert segmenter.cuts == ()
    assert backbone.window_lengths == [9, 9, 9, 9]


@pytest.mark.parametrize("given", [True, False])
def test_a_run_goes_on_anywhere_as_if_it_had_not_stopped(given: bool) -> None:
    lengths = (8, 1, 13)
    frames = edit(*lengths)
    segmenter = Segmenter(RedBackbone(), SegmentSettings(cuts=cut_points(lengths) if given else "auto"))
    whole = segmenter.segment(frames, PROMPTS).soft
    embeds = segmenter.encode_prompts(PROMPTS)
    for first in range(len(frames)):
        chunks = list(segmenter.stream(ArrayFrames(frames), embeds, first_frame=first))
        assert torch.equal(torch.cat([chunk.soft for chunk in chunks], dim=1), whole[:, first:]), first
        assert segmenter.cuts == cut_points(lengths)


def test_progress_ends_at_its_total_though_cuts_come_to_light() -> None:
    log = ProgressLog()
    Segmenter(RedBackbone()).segment(edit(9, 4, 12, 3), PROMPTS, progress=log)
    seen = log.counts["steps"]
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]
    assert all(done <= total for done, total in seen)


@pytest.mark.parametrize("cut", [0, 14, -3])
def test_a_cut_outside_the_shot_is_told(cut: int) -> None:
    with pytest.raises(ValueError, match=f"cannot begin at frame {cut}: the shot has frames 0 to 13"):
        Segmenter(RedBackbone(), SegmentSettings(cuts=(5, cut))).segment(edit(14), PROMPTS)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (SegmentSettings("paper", cuts=(5,)), "knows no cuts"),
        (SegmentSettings("paper", keep_aspect=True), "does not keep the aspect"),
    ],
)
def test_the_paper_takes_no_settings_of_ours(settings: SegmentSettings, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Segmenter(RedBackbone(), settings)


def test_windows_of_takes_are_whole_and_stay_within_them() -> None:
    def pad(count: int) -> int:
        return -(-(count - 1) // 4) * 4 + 1

    for lengths in [(1, 1, 30), (9, 9), (10, 8, 27), (40,), (13, 14, 15)]:
        edges = (0, *np.cumsum(lengths))

        def end_of_take(start: int, limit: int, edges: tuple[int, ...] = edges) -> int:
            return min(min(edge for edge in edges if edge > start), limit)

        windows = list(shot_windows(sum(lengths), 9, 4, pad, end_of_take))
        covered = set()
        for window in windows:
            take = max(edge for edge in edges if edge <= window.start)
            end = min(edge for edge in edges if edge > window.start)
            assert take <= window.start <= window.keep < window.stop <= end
            assert window.length == (9 if end - take >= 9 else pad(end - take))
            covered |= set(range(window.keep, window.stop))
        assert covered == set(range(sum(lengths)))


# ---- time and space


def moving_square(count: int, height: int, width: int) -> np.ndarray:
    frames = np.zeros((count, height, width, 3), np.uint8)
    for number in range(count):
        frames[number, height // 3 : height // 2, 6 + 4 * number : 30 + 4 * number] = 255
    return frames


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8, 10, 11, 15])
@pytest.mark.parametrize("keep_aspect", [True, False])
def test_a_moving_square_stays_where_it_is_in_time_and_space(count: int, keep_aspect: bool) -> None:
    frames = moving_square(count, 90, 160)
    settings = SegmentSettings(size=(48, 80) if keep_aspect else (64, 64), keep_aspect=keep_aspect)
    soft = Segmenter(PlainBackbone(), settings).segment(frames, ["all of it"]).soft[0]
    x = torch.arange(160.0)
    for number in range(count):
        share = soft[number].sum(dim=0)
        assert float((share * x).sum() / share.sum()) == pytest.approx(17.5 + 4 * number, abs=0.1)


@pytest.mark.parametrize(
    ("box", "shot", "seen"),
    [
        ((512, 512), (1080, 1920), (288, 512)),
        ((512, 512), (1920, 1080), (512, 288)),
        ((480, 832), (1080, 1920), (464, 832)),
        ((480, 832), (1920, 1080), (480, 272)),
        ((480, 832), (480, 832), (480, 832)),
        ((64, 64), (1000, 20), (64, 16)),
    ],
)
def test_the_aspect_is_kept_in_multiples_of_16_within_the_size(
    box: tuple[int, int], shot: tuple[int, int], seen: tuple[int, int]
) -> None:
    segmenter = Segmenter(PlainBackbone(), SegmentSettings(size=box, keep_aspect=True))
    assert segmenter.plan.size_for(*shot) == seen
    assert Segmenter(PlainBackbone(), SegmentSettings(size=box)).plan.size_for(*shot) == box


# ---- many prompts


class SmallMemory(RedBackbone):
    """Has room for two prompts at a time, and thinks it has for eight."""

    def __init__(self) -> None:
        self.passes: list[int] = []

    def prompts_per_pass(self, latents: Tensor) -> int:
        return 8

    def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: None = None) -> Tensor:
        self.passes.append(len(prompt_embeds))
        if len(prompt_embeds) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().predict_mask_latents(latents, prompt_embeds)


def test_prompts_go_together_as_far_as_the_backbone_has_room() -> None:
    class Roomy(SmallMemory):
        def prompts_per_pass(self, latents: Tensor) -> int:
            return 2

    segmenter = Segmenter(Roomy())
    prompts = ["a", "bb", "ccc", "dddd", "eeeee"]
    soft = segmenter.segment(edit(5), prompts).soft
    assert segmenter.backbone.passes == [2, 2, 1]
    assert segmenter.prompts_per_pass == 2
    for index, prompt in enumerate(prompts):
        assert torch.equal(soft[index], Segmenter(RedBackbone()).segment(edit(5), [prompt]).soft[0])


def test_a_pass_that_memory_does_not_suffice_for_is_tried_with_half_as_many() -> None:
    segmenter = Segmenter(SmallMemory())
    prompts = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"]
    with pytest.warns(UserWarning) as said:
        soft = segmenter.segment(edit(8), prompts).soft
    assert ["goes on with 4" in str(said[0].message), "goes on with 2" in str(said[1].message)] == [True, True]
    assert segmenter.backbone.passes == [7, 4, 2, 2, 2, 1, 2, 2, 2, 1]  # two windows; the second knows
    assert segmenter.prompts_per_pass == 2
    expected = Segmenter(RedBackbone()).segment(edit(8), prompts).soft
    assert torch.equal(soft, expected)


def test_memory_that_does_not_suffice_for_one_prompt_is_an_error() -> None:
    class NoMemory(SmallMemory):
        def predict_mask_latents(self, latents: Tensor, prompt_embeds: Tensor, noise: None = None) -> Tensor:
            raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.warns(UserWarning), pytest.raises(torch.cuda.OutOfMemoryError):
        Segmenter(NoMemory()).segment(edit(5), PROMPTS)


# ---- the command line


@pytest.mark.usefixtures("fake_model")
def test_run_json_tells_cuts_size_and_prompts_per_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot = tmp_path / "edit"
    shot.mkdir()
    for number, frame in enumerate(edit(6, 9, width=64)):
        Image.fromarray(frame).save(shot / f"{number}.png")
    out = tmp_path / "out"
    assert segment(shot, out, "--write", "masks", "--size", "48x64", "--keep-aspect") == 0
    said = capsys.readouterr().err
    assert "Takes begin at frames 0, 6" in said
    assert "The denoiser takes all 2 prompts at once." in said
    run = json.loads((out / "run.json").read_text())
    assert run["cuts"] == [6] and run["prompts_per_pass"] == 2
    assert run["settings"]["size"] == [32, 64] and run["settings"]["keep_aspect"] is True
    for option, cuts in (("none", []), ("4, 11", [4, 11])):
        assert segment(shot, out, "--write", "masks", "--cuts", option) == 0
        assert json.loads((out / "run.json").read_text())["cuts"] == cuts


def test_a_list_of_cuts_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        segment(Path("shot.mov"), Path("out"), "--cuts", "1:30")
    assert stop.value.code == 2
    assert "'1:30' is no list of cuts: give auto, none, or frames" in capsys.readouterr().err


# ---- where two windows disagree


def test_a_disagreement_is_what_either_window_found_that_the_other_did_not() -> None:
    before, after = torch.zeros(2, 1, 1, 20, 20), torch.zeros(2, 1, 1, 20, 20)
    before[0, ..., :10, :] = 1.0  # 200 pixels of which 100 are the other's, too
    after[0, ..., 5:15, :] = 1.0
    after[1, ..., 0, 0] = 1.0  # a speck: of the least area, two pixels
    assert disagreements(before, after) == [pytest.approx(200 / 300)]
    assert disagreements(before[1:], after[1:]) == [pytest.approx(1 / 2)]
    assert disagreements(before[:1], before[:1] * 1.4) == [0.0]


@pytest.mark.usefixtures("fake_model")
def test_a_run_says_how_far_its_windows_disagree_of_just_the_frames_they_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(12):
        (tmp_path / "shot").mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (33, 47, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "shot" / f"a.{index:04d}.png")
    assert segment(tmp_path / "shot", tmp_path / "out", "--cuts", "none", "--write", "soft") == 0
    said = json.loads((tmp_path / "out" / "run.json").read_text())["window_disagreement"]
    windows = list(Segmenter(RedBackbone()).windows(12))
    shared = {frame for window in windows[1:] for frame in range(window.keep, window.keep + window.fade)}
    assert {int(frame) for frame in said} == shared and shared
    assert all(0.0 < value < 1.0 for value in said.values())

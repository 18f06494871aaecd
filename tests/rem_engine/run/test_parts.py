"""Parts of a run that several machines make join to what one machine makes alone, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving_scenes import edit, write_edit
from red_model import FRAMES, PROMPTS, RedBackbone, check_refused, files_of, segment
from stops import disk_full, stop_at

import rem_engine.segment.window_masks
from rem_engine import Segmenter, SegmentSettings, load_segmenter
from rem_engine.frames import ArrayFrames
from rem_engine.segment.close_up import CloseUp
from rem_engine.segment.window_masks import WindowMasks

SETTINGS = {
    "cuts found": SegmentSettings(),
    "cuts given": SegmentSettings(cuts=(8, 9)),
    "one take": SegmentSettings(cuts=()),
    "no overlap": SegmentSettings(overlap=0),
    "paper": SegmentSettings("paper"),
}
PARTS = ((0, 3), (3, 11), (11, 12), (12, 23))


class SeededBackbone(RedBackbone):
    """Takes noise, as ModelScope does: where a window's number were another, so would its masks be."""

    def draw_noise(self, latents: torch.Tensor, seed: int) -> torch.Tensor:
        return torch.full_like(latents, 0.01 * seed)

    def predict_mask_latents(self, latents, prompt_embeds, noise=None):
        return super().predict_mask_latents(latents, prompt_embeds) + noise


@pytest.fixture
def windows_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of all windows that went through a RedBackbone."""
    seen: list[int] = []
    encode = RedBackbone.encode_video

    def counted(self: RedBackbone, frames: torch.Tensor) -> torch.Tensor:
        seen.append(len(frames))
        return encode(self, frames)

    monkeypatch.setattr(RedBackbone, "encode_video", counted)
    return seen


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("backbone", [RedBackbone, SeededBackbone])
def test_parts_that_are_the_shot_make_each_window_once_and_give_its_masks(
    settings: SegmentSettings, backbone: Callable[[], Any], windows_seen: list[int], tmp_path: Path
) -> None:
    frames = ArrayFrames(edit(8, 1, 14))
    alone = Segmenter(backbone(), settings).segment(frames, PROMPTS).soft
    once = list(windows_seen)
    windows_seen.clear()
    for start, stop in reversed(PARTS):  # each by a machine of its own, in any order
        segmenter = Segmenter(backbone(), settings)
        embeds = segmenter.encode_prompts(PROMPTS)
        segmenter.make_windows(frames, embeds, range(start, stop), WindowMasks(tmp_path))
    assert sorted(windows_seen) == sorted(once)
    windows_seen.clear()
    chunks = [*Segmenter(backbone(), settings).stream(frames, embeds, made=WindowMasks(tmp_path))]
    assert torch.equal(torch.cat([chunk.soft for chunk in chunks], dim=1), alone) and windows_seen == []
    resumed = Segmenter(backbone(), settings).stream(frames, embeds, first_frame=5, made=WindowMasks(tmp_path))
    assert torch.equal(torch.cat([chunk.soft for chunk in resumed], dim=1), alone[:, 5:]) and windows_seen == []


def test_a_window_of_other_noise_is_made_anew(tmp_path: Path) -> None:
    """A take that one task had not seen begin gives the windows behind it other numbers."""
    frames, made = ArrayFrames(edit(8, 1, 14)), WindowMasks(tmp_path)
    with_cuts, without = (Segmenter(SeededBackbone(), SegmentSettings(cuts=cuts)) for cuts in ((8,), ()))
    embeds = without.encode_prompts(PROMPTS)
    without.make_windows(frames, embeds, range(23), made)
    joined = torch.cat([chunk.soft for chunk in with_cuts.stream(frames, embeds, made=made)], dim=1)
    assert made.given and torch.equal(joined, with_cuts.segment(frames, PROMPTS).soft)


def test_a_window_that_is_joined_is_read_from_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, segmenter = ArrayFrames(edit(8, 1, 14)), Segmenter(RedBackbone())
    embeds = segmenter.encode_prompts(PROMPTS)
    made, _ = segmenter.make_windows(frames, embeds, range(23), WindowMasks(tmp_path))
    read: list[Path] = []
    index = rem_engine.segment.window_masks.read_index

    def counted(file: Path) -> Any:
        read.append(file)
        return index(file)

    monkeypatch.setattr(rem_engine.segment.window_masks, "read_index", counted)
    masks = WindowMasks(tmp_path)
    assert sum(chunk.soft.shape[1] for chunk in segmenter.stream(frames, embeds, made=masks)) == 23
    assert masks.given == made == len(read) == len(set(read))


def test_a_part_reads_no_more_than_it_needs_where_cuts_are_given(tmp_path: Path) -> None:
    class Counted(ArrayFrames):
        read_frames: set[int] = set()

        def read(self, start: int, stop: int) -> np.ndarray:
            self.read_frames |= {*range(start, stop)}
            return super().read(start, stop)

    frames = Counted(edit(8, 1, 14))
    segmenter = Segmenter(RedBackbone(), SegmentSettings(cuts=(8, 9)))
    segmenter.make_windows(frames, segmenter.encode_prompts(PROMPTS), range(9, 12), WindowMasks(tmp_path))
    assert frames.read_frames == {*range(9, 14)}  # the take's first window


def test_close_ups_take_the_first_look_from_parts(tmp_path: Path, windows_seen: list[int]) -> None:
    frames = ArrayFrames(np.repeat(np.repeat(edit(8, 6), 4, axis=1), 4, axis=2))
    segmenter, made = Segmenter(RedBackbone()), WindowMasks(tmp_path)
    embeds = segmenter.encode_prompts(PROMPTS)
    alone = torch.cat([chunk.soft for chunk in CloseUp(segmenter).stream(frames, embeds)], dim=1)
    seen, first_look = len(windows_seen), sum(len(segmenter.windows(take)) for take in (8, 6))
    for start, stop in ((0, 6), (6, 14)):
        segmenter.make_windows(frames, embeds, range(start, stop), made)
    windows_seen.clear()
    joined = torch.cat([chunk.soft for chunk in CloseUp(segmenter).stream(frames, embeds, made=made)], dim=1)
    assert torch.equal(joined, alone) and len(windows_seen) == seen - first_look > 0


@pytest.mark.thorough
def test_weights_that_stay_in_their_files_and_several_devices_join_parts_too(tiny_wan: Path, tmp_path: Path) -> None:
    frames = ArrayFrames(np.random.default_rng(0).integers(0, 256, (22, 96, 96, 3), dtype=np.uint8))
    settings = {"size": (32, 32), "window": 5, "overlap": 1, "cuts": ()}
    one = load_segmenter(tiny_wan, device="cpu", **settings)
    embeds = one.encode_prompts(["fire"])
    alone = one.segment(frames, ["fire"]).soft
    streamed = load_segmenter(tiny_wan, device="cpu", memory="stream", **settings)
    two = load_segmenter(tiny_wan, device="cpu,cpu", **settings)
    for segmenter, part in ((streamed, range(0, 6)), (two, range(6, 16))):
        made, there = segmenter.make_windows(frames, embeds, part, WindowMasks(tmp_path))
        assert made > 1 and there == 0
    for segmenter in (one, streamed, two):
        masks = WindowMasks(tmp_path)
        joined = torch.cat([chunk.soft for chunk in segmenter.stream(frames, embeds, made=masks)], dim=1)
        assert torch.equal(joined, alone) and 0 < masks.given < len(one.windows(22))


@pytest.fixture
def cut_shot(tmp_path: Path) -> Path:
    """Frames 1001 to 1014 with a cut at 1009."""
    return write_edit(tmp_path / "cut", 8, 6)


def without_account(out: Path) -> dict[str, bytes]:
    """All files but run.json, which has seconds and times."""
    return {name: data for name, data in files_of(out).items() if name != "run.json"}


@pytest.mark.parametrize("source", ["shot", "cut_shot"])
@pytest.mark.parametrize("cuts", ["auto", "8"])
def test_a_run_of_parts_has_the_files_of_one_that_is_alone(
    source: str,
    cuts: str,
    request: pytest.FixtureRequest,
    fake_model: list[dict[str, Any]],
    tmp_path: Path,
    windows_seen: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    shot, alone, parts = request.getfixturevalue(source), tmp_path / "alone", tmp_path / "parts"
    options = ("--write", "masks,soft,alpha,exr", "--cuts", cuts, "--combine", "exclusive", "--smooth", "1")
    assert segment(shot, alone, *options) == 0
    seen = len(windows_seen)
    for part in ("1006-1012", "1001-1005", "1013-1014"):
        assert segment(shot, parts, *options, "--part", part) == 0
    assert len(windows_seen) == 2 * seen and not (parts / "run.json").exists()
    capsys.readouterr()
    assert segment(shot, parts, *options) == 0
    assert len(windows_seen) == 2 * seen
    assert f"{seen} of its windows had been made by other tasks." in capsys.readouterr().err
    assert without_account(parts) == without_account(alone) and not (parts / ".parts").exists()
    ours, theirs = (json.loads((out / "run.json").read_text()) for out in (parts, alone))
    for name in ("prompts", "cuts", "window_disagreement", "prompts_per_pass", "settings"):
        assert ours[name] == theirs[name]


@pytest.mark.usefixtures("fake_model")
def test_what_is_missing_or_damaged_is_made_by_the_run_itself(
    shot: Path, tmp_path: Path, windows_seen: list[int]
) -> None:
    alone, parts = tmp_path / "alone", tmp_path / "parts"
    assert segment(shot, alone) == segment(shot, parts, "--part", "1001-1010") == 0
    made = sorted((parts / ".parts").rglob("*.safetensors"))
    assert len(made) == 3
    damaged = bytearray(made[0].read_bytes())
    damaged[-3] ^= 1
    made[0].write_bytes(damaged)
    made[1].write_bytes(made[1].read_bytes()[:-10])
    windows_seen.clear()
    assert segment(shot, parts) == 0
    assert len(windows_seen) == len(Segmenter(RedBackbone()).windows(FRAMES)) - 1
    assert without_account(parts) == without_account(alone)


@pytest.mark.usefixtures("fake_model")
def test_a_part_that_stops_leaves_whole_windows_and_goes_on(
    shot: Path, tmp_path: Path, windows_seen: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with stop_at(3, rem_engine.segment.window_masks.Writer, "finish"):
        assert segment(shot, out, "--part", "1001-1014") == 130
    assert len([*(out / ".parts").rglob("*.safetensors")]) == 2 and not [*out.rglob("*.tmp")]
    with stop_at(1, rem_engine.segment.window_masks.Writer, "finish", disk_full()):
        assert segment(shot, out, "--part", "1001-1014") == 2
    assert "No space is left on the disk" in capsys.readouterr().err
    assert len([*(out / ".parts").rglob("*.safetensors")]) == 2 and not [*out.rglob("*.tmp")]
    windows_seen.clear()
    assert segment(shot, out, "--part", "1001-1014") == 0
    count = len(Segmenter(RedBackbone()).windows(FRAMES))
    assert len(windows_seen) == count - 2
    assert f"{count - 2} windows made, 2 were there" in capsys.readouterr().out


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize(
    ("options", "differs"), [(("--window", "9"), "settings"), (("--frames", "1001-1012"), "plate")], ids=str
)
def test_parts_of_another_run_are_told_and_not_used(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], differs: str
) -> None:
    alone, parts = tmp_path / "alone", tmp_path / "parts"
    assert segment(shot, alone) == segment(shot, parts, "--part", "1001-1014", *options) == 0
    capsys.readouterr()
    assert segment(shot, parts) == 0
    said = capsys.readouterr().err
    assert f"has parts of another run, which are not used (other than here: {differs})" in said
    left = {name for name in files_of(parts) if name.startswith(".parts")}
    assert left and without_account(alone) == {
        name: data for name, data in without_account(parts).items() if name not in left
    }


@pytest.mark.usefixtures("fake_model")
def test_where_a_shot_lies_and_when_it_was_written_makes_it_no_other(
    shot: Path, tmp_path: Path, windows_seen: list[int]
) -> None:
    """Machines of a farm have it under paths of their own."""
    out = tmp_path / "out"
    assert segment(shot, out, "--part", "1001-1014") == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in shot.iterdir():
        (elsewhere / file.name).write_bytes(file.read_bytes())
    windows_seen.clear()
    assert segment(elsewhere, out) == 0 and windows_seen == []


@pytest.mark.parametrize(
    ("part", "sentence"),
    [("900-950", "plate has no frames 900-950: give a part of 1001-1014."), ("first", "'first' is no range of frames")],
)
def test_a_part_that_is_none_gets_a_sentence(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, sentence: str
) -> None:
    arguments = ["segment", str(shot), "-p", "the smoke", "-o", str(tmp_path / "out"), "--part", part]
    check_refused(arguments, sentence, capsys)
    assert not (tmp_path / "out").exists()

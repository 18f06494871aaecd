"""A look in one command: what is held out, what is chosen, what is written, and what is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from rem_engine import Segmenter, SegmentSettings, load_segmenter
from tests.trainer.benchmarks.test_predicting import Reddish
from tests.trainer.miniatures import COLOURS, moving_squares, write_folder, write_refcoco
from trainer.adapt import adapt as adapting
from trainer.adapt.adapt import Adaptation, adapt
from trainer.adapt.plan import plan, split_shots
from trainer.adapt.score import score_shots
from trainer.commands.cli import main
from trainer.data.augment import Varied, mirrored_words, recoloured
from trainer.data.folder import Folder
from trainer.data.open import open_sources
from trainer.data.video import clip_frames
from trainer.run.checkpoint import Checkpoints
from trainer.settings import AugmentSettings, DataSettings

SMALL = {
    "size": [32, 32],
    "streams.0.frames": 5,
    "streams.0.workers": 0,
    "evaluation.frames": 5,
    "evaluation.workers": 0,
    "optim.accumulate": 1,
    "precision": "float32",
    "gradient_checkpointing": False,
}
"""What makes the plan for a Wan model one for a tiny one."""


def write_look(root: Path, shots: int, frames: int = 5) -> Path:
    """Shots of two squares on noise."""
    for number in range(shots):
        video, ids = moving_squares(number, frames, 2)
        shot = root / f"sh{number}"
        for folder in ("frames", "masks/red", "masks/blue"):
            (shot / folder).mkdir(parents=True)
        for t, (frame, each) in enumerate(zip(video, ids), 1):
            Image.fromarray(frame).save(shot / "frames" / f"{t:04d}.png")
            for thing, name in ((1, "red"), (2, "blue")):
                Image.fromarray((each == thing).astype(np.uint8) * 255).save(shot / "masks" / name / f"{t:04d}.png")
        (shot / "prompts.txt").write_text("red: the red square on the left\nblue: the water\n-: the green star\n")
    return root


def test_scores_on_users_shots_are_those_that_can_be_worked_out(tmp_path: Path) -> None:
    """A model that finds red whatever is asked for: all of the one, nothing of the other."""
    segmenter = Segmenter(Reddish(), SegmentSettings())
    scores = score_shots(segmenter, write_look(tmp_path, 2))
    assert 0.35 < scores["J"] <= 0.5  # of 1, but for edges, and 0
    assert scores["J_processes"] == 0.0  # of the sentence about water
    assert scores["referring_accuracy"] == 0.5
    assert scores["absent_area"] == pytest.approx(81 / (36 * 48), rel=0.2)
    assert (scores["shots"], scores["sentences"], scores["absent"]) == (2, 4, 2)
    one = score_shots(segmenter, tmp_path, ["sh1"])
    assert (one["shots"], one["sentences"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "names_one"),
    [
        ("the firefighter on the left", False),
        ("a watermelon, a snowman and a lighthouse", False),
        ("the light-blue breakfast table", False),
        ("the light blue car", False),
        ("the light of the lamp", True),
        ("the mister with the raincoat", False),
        ("Smoke", True),
        ("the candle's flames", True),
        ("a glass that is breaking", True),
        ("the ice melts", True),
        ("burnt paper", True),
        ("an explosion; sparks", True),
    ],
)
def test_a_process_is_named_by_whole_words(text: str, names_one: bool, tmp_path: Path) -> None:
    shot = write_look(tmp_path, 1, frames=1) / "sh0"
    (shot / "prompts.txt").write_text(f"red: {text}\n")
    scores = score_shots(Segmenter(Reddish(), SegmentSettings()), tmp_path)
    assert scores["sentences"] == 1 and ("J_processes" in scores) is names_one


def test_masks_of_some_frames_count_at_those(tmp_path: Path) -> None:
    truth = write_folder(tmp_path)
    folder = Folder(tmp_path)
    (blue,) = (i for i in folder.sentences_of("sh010") if folder.text(i).startswith("the blue"))
    places, masks = folder.truth(blue)
    assert places == [1, 3]
    np.testing.assert_array_equal(masks, truth["blue"])


def test_a_fifth_of_the_shots_is_held_out_and_never_trained_on(tmp_path: Path) -> None:
    write_look(tmp_path, 10, frames=1)
    split = split_shots(tmp_path)
    assert len(split.held_out) == 2 and sorted(split.trained + split.held_out) == [f"sh{n}" for n in range(10)]
    assert split == split_shots(tmp_path)
    settings = plan("mini", tmp_path, split, None, None, None, None, {})
    assert settings.streams[0].sources[0].shots == split.trained
    assert settings.evaluation.sources[0].shots == split.held_out
    source = open_sources(settings.streams[0])
    assert not any(
        f"/{name}/" in str(path) for i in range(len(source)) for path in source.files(i) for name in split.held_out
    )
    with pytest.raises(ValueError, match="holds 1 shots and two are needed"):
        split_shots(write_look(tmp_path / "one", 1))


@pytest.mark.parametrize("steps", [40, 400])
def test_constants_scale_with_the_length(steps: int, tmp_path: Path) -> None:
    split = split_shots(write_look(tmp_path, 3, frames=1))
    settings = plan("mini", tmp_path, split, None, None, None, steps, {})
    assert settings.optim.schedule.warmup == steps // 20
    assert settings.ema == pytest.approx(1 - 1 / max(10, steps // 10))
    assert settings.evaluate_every == settings.save_every == steps // 6
    assert settings.steps == steps


def test_old_shots_are_half_of_what_is_drawn(tmp_path: Path) -> None:
    new, old = write_look(tmp_path / "new", 4), write_look(tmp_path / "old", 9)
    splits = split_shots(new), split_shots(old)
    settings = plan("mini", new, splits[0], old, splits[1], None, None, {})
    source = open_sources(settings.streams[0])
    drawn = [weight * len(part) for weight, part in zip(source.weights, source.parts)]
    assert drawn[0] == pytest.approx(drawn[1])
    assert len(settings.evaluation.sources) == 2


def test_variants_are_the_sample_parts_of_it_and_its_mirror_image(tmp_path: Path) -> None:
    source = Folder(write_look(tmp_path, 1))
    settings = AugmentSettings(crop=0.6, flip=True, colour=0.2, variants=4)
    varied = Varied(source, settings)
    assert len(varied) == 4 * len(source) and varied.is_fixed(5)
    assert [varied.text(3 * v) for v in range(4)] == ["the red square on the left", "the red square on the right"] * 2
    plain = source.read(0, 5, np.random.default_rng(0))
    first = varied.read(0, 5, np.random.default_rng(1))
    np.testing.assert_array_equal(first.frames, plain.frames)
    for index in (3, 6, 9):
        sample = varied.read(index, 5, np.random.default_rng(1))
        again = varied.read(index, 5, np.random.default_rng(2))
        np.testing.assert_array_equal(sample.frames, again.frames)  # kept: the same whatever is drawn
        assert sample.frames.shape == plain.frames.shape and not np.array_equal(sample.frames, plain.frames)
        if sample.masks.any():  # what the mask covers is red still
            mean = sample.frames[sample.masks].mean(axis=0)
            assert mean[0] > mean[1] + 60 and mean[0] > mean[2] + 60
    mirrored = Varied(source, AugmentSettings(flip=True)).read(len(source), 5, np.random.default_rng(0))
    np.testing.assert_array_equal(mirrored.frames, plain.frames[:, :, ::-1])
    np.testing.assert_array_equal(mirrored.masks, plain.masks[:, :, ::-1])


def test_left_and_right_change_places_in_the_words_alone() -> None:
    assert mirrored_words("Left of the leftmost star, moving right") == "Right of the rightmost star, moving left"
    assert mirrored_words("the bright cleft") == "the bright cleft"


def test_colours_change_by_their_share_and_keep_their_hue() -> None:
    clip = np.broadcast_to(np.array(COLOURS, np.uint8)[None, None], (2, 1, 3, 3))
    np.testing.assert_array_equal(recoloured(clip, 0.0, np.random.default_rng(0)), clip)
    for seed in range(50):
        changed = recoloured(clip, 0.2, np.random.default_rng(seed)).astype(int)
        assert (changed.argmax(axis=-1) == clip.argmax(axis=-1)).all()
        assert (changed[0] == changed[1]).all()


def test_clips_are_scattered_contiguous_or_strided() -> None:
    rng = np.random.default_rng(0)
    steps = {kind: set() for kind in ("scattered", "contiguous", "strided")}
    for kind, seen in steps.items():
        for _ in range(300):
            chosen = clip_frames(40, 5, (kind,), rng)
            assert len(chosen) == 5 and chosen[0] >= 0 and chosen[-1] < 40
            seen.add(tuple(np.diff(chosen)))
    assert steps["contiguous"] == {(1, 1, 1, 1)}
    assert steps["strided"] == {(n,) * 4 for n in range(2, 10)}
    assert len(steps["scattered"]) > 100
    assert clip_frames(3, 5, ("strided",), rng).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"shots": ["x"]}, "has no shots by name"), ({"clips": ["strided"]}, "holds still images")],
)
def test_settings_that_a_dataset_has_nothing_for_are_told(setting: dict, words: str, tmp_path: Path) -> None:
    write_refcoco(tmp_path)
    source = {"kind": "refcoco", "name": "refcoco", "root": tmp_path, **setting}
    with pytest.raises(ValueError, match=words):
        open_sources(DataSettings(sources=[source], frames=1, batch=1))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["full", pytest.param("lora", marks=pytest.mark.thorough)])
def test_a_look_is_written_over_the_rem_it_was_trained_from(
    form: str, tiny_wan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a checkpoint over the base; what is read with both is what was trained, at the best of its steps."""
    rem = tmp_path / "rem.safetensors"
    weights = load_file(next((tiny_wan / "transformer").glob("*.safetensors")))
    generator = torch.Generator().manual_seed(0)
    save_file({k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in weights.items()}, rem)
    out, work = tmp_path / "look.safetensors", tmp_path / "work"
    options = ["--as", form, "--steps", "6", "--checkpoint", str(rem), "--work", str(work)]
    settings = ["--set", "size=[32, 32]", *(f"{name}={value}" for name, value in SMALL.items() if name != "size")]
    if form == "lora":
        settings.append("lora.rank=4")
    shots = write_look(tmp_path / "look", 3)
    assert main(["adapt", str(shots), "-o", str(out), "--model", str(tiny_wan), *options, *settings]) == 0
    said = capsys.readouterr().out
    assert "new look, 1 held-out shots, 2 sentences: J " in said and "of 6 steps; use it with" in said
    best = Checkpoints(work / "checkpoints", 1).best()
    average = load_file(best / "average.safetensors")
    stacked = load_segmenter(tiny_wan, checkpoint=(rem, out)).backbone.transformer.state_dict()
    began = load_segmenter(tiny_wan, checkpoint=rem).backbone.transformer.state_dict()
    moved = 0.0
    for name, value in stacked.items():
        if form == "full" and name in average:
            assert (value - average[name]).abs().max() < 1e-6
        moved = max(moved, float((value - began[name]).abs().max()))
    assert moved > 1e-5
    with pytest.raises(ValueError, match="was made over .* and the model it is laid over is another"):
        load_segmenter(tiny_wan, checkpoint=out)


@pytest.mark.parametrize("changed", [None, "weights", "shots"])
def test_the_scores_before_are_taken_once_for_the_same_weights_and_shots(
    changed: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a training that was stopped, and of one that weights or held-out shots were changed under."""
    model, rem, shots = tmp_path / "model", tmp_path / "rem.safetensors", write_look(tmp_path / "look", 3, frames=1)
    model.mkdir()
    rem.write_bytes(b"one")
    loaded: list[str] = []
    monkeypatch.setattr(adapting, "plan", lambda *_: SimpleNamespace(size=(32, 32), lora=None, steps=1))
    monkeypatch.setattr("rem_engine.backbones.load.find_model_folder", lambda _: model)
    monkeypatch.setattr(adapting, "load_segmenter", lambda *_, **kw: loaded.append(kw["checkpoint"][-1].name))
    monkeypatch.setattr(adapting, "score_shots", lambda *_: {"J": 0.1 * len(loaded), "shots": 1})
    monkeypatch.setattr(adapting, "train", stopped)
    asked = Adaptation(shots, tmp_path / "look.safetensors", str(model), (rem,))
    with pytest.raises(KeyboardInterrupt):
        adapt(asked)
    if changed == "weights":
        rem.write_bytes(b"two")
    if changed == "shots":
        (held_out,) = split_shots(shots).held_out
        (shots / held_out / "prompts.txt").write_text("red: something else\n")
    monkeypatch.setattr(adapting, "train", lambda *_: None)
    monkeypatch.setattr(adapting, "export", lambda *_: Path("00000001"))
    monkeypatch.setattr(adapting.shutil, "rmtree", lambda _: None)
    before = adapt(asked)["before"]["new"]
    again = changed is not None
    assert loaded == ["rem.safetensors"] * (1 + again) + ["look.safetensors"]
    assert before == {"J": 0.2 if again else 0.1, "shots": 1} and isinstance(before["shots"], int)
    assert (tmp_path / "look.run" / "before.json").is_file()


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_training_that_gains_nothing_says_so(
    tiny_wan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At a rate that moves nothing; the folder of the training is gone at the end."""
    out = tmp_path / "look.safetensors"
    overrides = {**SMALL, "optim.lr": 1e-12, "lora.rank": 4}
    report = adapt(Adaptation(write_look(tmp_path / "look", 2), out, str(tiny_wan), steps=2, overrides=overrides))
    assert report["gained"] is False and report["before"]["new"]["J"] == pytest.approx(report["after"]["new"]["J"])
    assert any("nothing is gained" in message for message in caplog.messages)
    assert out.is_file() and not (tmp_path / "look.run").exists()

"""REM-mini's training from nothing, at a size of seconds: it resumes exactly and writes a model that works."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file

from rem_engine import load_segmenter
from rem_engine.backbones.load import load_backbone
from trainer.mini import latents
from trainer.mini.pool import Pool, build_pool
from trainer.mini.settings import MiniSettings
from trainer.mini.stage import SCHEDULE, stage_folder, train_stage
from trainer.mini.train import train_mini
from trainer.mini.vae import mask_tensor, new_vae, video_tensor
from trainer.run.checkpoint import AVERAGE_FILE, DENOISER_FILE, Checkpoints, read_progress
from trainer.run.optim import cosine
from trainer.settings import OptimSettings
from trainer.synth.backgrounds import procedural
from trainer.synth.worlds import WORLDS

pytestmark = pytest.mark.slow

SMALLEST = MiniSettings(
    world="plain",
    size=32,
    frames=5,
    clips=12,
    heldout_clips=4,
    vae_width=8,
    vae_steps=3,
    vae_clip_steps=2,
    vae_decoder_steps=2,
    dim=128,
    layers=1,
    ffn_dim=128,
    text_dim=32,
    text_layers=1,
    text_heads=2,
    t2v_steps=3,
    rem_steps=3,
)
"""Seconds of work."""


class Killed(Exception):
    pass


def small_training(folder: Path, steps: int, kill_at: int | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)
    optim = OptimSettings(lr=1e-2, weight_decay=1e-2, schedule=SCHEDULE)

    def loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        if step == kill_at:
            raise Killed
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        return (model(x) - x.flip(1)).square().mean(), {}

    train_stage("stage", model, optim, loss, steps, folder, pictures=lambda: torch.zeros(3, 1, 1), save_every=7)
    return model.state_dict()


def last_checkpoint(work: Path, stage: str) -> Path:
    return Checkpoints(stage_folder(work, stage) / "checkpoints", 1).latest()


def test_a_killed_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = small_training(tmp_path / "whole", 30)
    with pytest.raises(Killed):
        small_training(tmp_path / "killed", 30, kill_at=17)
    resumed = small_training(tmp_path / "killed", 30)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name


def test_a_step_is_that_of_a_plain_torch_loop(tmp_path: Path) -> None:
    trained = small_training(tmp_path, 5)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)
    average = [value.detach().clone() for value in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    for step in range(5):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x.flip(1)).square().mean().backward()
        optimizer.param_groups[0]["lr"] = 1e-2 * (step + 1) / 100
        optimizer.step()
        decay = (1 + step) / (10 + step)
        average = [decay * kept + (1 - decay) * value.detach() for kept, value in zip(average, model.parameters())]
    for value, expected in zip(trained.values(), average):
        assert torch.allclose(value, expected, rtol=0, atol=1e-6)


def test_a_stage_is_clipped_by_the_gradients_of_its_own_weights(tmp_path: Path) -> None:
    """Whatever an earlier stage of the same process left: resumed in another process, the same steps are taken."""
    results = []
    for stages in (("first", "second"), ("second",)):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        for name in stages:
            model[0].requires_grad_(name == "first")
            # with so large an eps Adam's steps are in proportion to the clipped gradient
            optim = OptimSettings(lr=1e-30 if name == "first" else 1, eps=1, clip_norm=1e-2, schedule=SCHEDULE)
            train_stage(
                name,
                model,
                optim,
                lambda step, model=model: (model(torch.ones(2, 4)).square().mean(), {}),
                2,
                tmp_path / str(len(stages)),
                pictures=lambda: torch.zeros(3, 1, 1),
            )
        results.append(model[1].weight.detach())
    assert torch.equal(*results)


def test_an_interrupted_save_leaves_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_training(tmp_path, 7)
    before = {path.name: path.read_bytes() for path in last_checkpoint(tmp_path, "stage").iterdir()}

    def broken(state: object, path: Path, *arguments: object, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("accelerate.checkpointing.save", broken)
    with pytest.raises(
        RuntimeError, match="No space is left on the disk for .*/stages/stage/checkpoints/00000014: make"
    ):
        small_training(tmp_path, 14)
    assert {path.name: path.read_bytes() for path in last_checkpoint(tmp_path, "stage").iterdir()} == before


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    assert cosine(0, 1000) == pytest.approx(0.01)
    assert cosine(100, 1000) == pytest.approx(1.0)
    assert cosine(550, 1000) == pytest.approx(0.02 + 0.98 / 2)
    assert cosine(1000, 1000) == pytest.approx(0.02)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    train_mini(folder / "work", folder / "model", SMALLEST, compile_model=False)
    return folder


def test_the_written_folder_is_a_model_that_segments(work: Path) -> None:
    segmenter = load_segmenter(work / "model")
    result = segmenter.segment(np.zeros((5, 40, 40, 3), np.uint8), ["the smoke"])
    assert result.soft.shape == (1, 5, 40, 40) and result.soft.isfinite().all()


def test_running_again_trains_nothing_and_writes_the_same_weights(work: Path) -> None:
    train_mini(work / "work", work / "again", SMALLEST, compile_model=False)
    for path in (work / "model").rglob("*.safetensors"):
        first, second = load_file(path), load_file(work / "again" / path.relative_to(work / "model"))
        assert all(torch.equal(first[name], second[name]) for name in first), path


def test_rem_leaves_the_embedders_as_pretraining_made_them(work: Path) -> None:
    rem = load_file(work / "model" / "transformer" / "rem_mini.safetensors")
    t2v = load_file(work / "model" / "t2v" / "rem_mini_t2v.safetensors")
    changed = {name for name in rem if not torch.equal(rem[name], t2v[name])}
    frozen = ("patch_embedding.", "text_embedding.", "time_embedding.", "time_projection.")
    assert changed and not any(name.startswith(frozen) for name in changed)
    assert {name for name in rem if name.startswith("blocks.") and rem[name].ndim == 2} <= changed


def test_the_decoders_own_stage_leaves_latents_as_they_are(work: Path) -> None:
    before = load_file(last_checkpoint(work / "work", "vae_long") / AVERAGE_FILE)
    after = load_file(last_checkpoint(work / "work", "vae_decoder") / DENOISER_FILE)
    changed = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name.split(".")[0] for name in after} == {"decoder", "post_quant_conv"}


def test_a_killed_encoding_resumes_to_the_same_bits(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, vae = Pool(work / "work" / "pool", WORLDS["plain"]), new_vae(SMALLEST)
    monkeypatch.setattr(latents, "BATCH", 4)
    whole = latents.encode_pool(pool, vae, tmp_path / "whole")
    begun: list[np.ndarray] = []

    def killed_at_the_second(frames: np.ndarray) -> torch.Tensor:
        begun.append(frames)
        if len(begun) == 2:
            raise Killed
        return video_tensor(frames)

    monkeypatch.setattr(latents, "video_tensor", killed_at_the_second)
    with pytest.raises(Killed):
        latents.encode_pool(pool, vae, tmp_path / "killed")
    resumed = latents.encode_pool(pool, vae, tmp_path / "killed")
    np.testing.assert_array_equal(resumed.videos, whole.videos)
    np.testing.assert_array_equal(resumed.masks, whole.masks)
    assert sum(len(frames) for frames in begun[2:]) == len(pool) - 4


def test_every_target_of_the_richer_world_has_its_own_mask_latents(tmp_path: Path) -> None:
    """Latents of a union of things are those of what the union shows."""
    world = WORLDS["rich"]
    pool, vae = build_pool(tmp_path / "pool", world, 12, 5, 32, 4, procedural), new_vae(SMALLEST)
    encoded = latents.encode_pool(pool, vae, tmp_path / "latents")
    mean, std = (torch.tensor(each).view(-1, 1, 1, 1) for each in (vae.config.latents_mean, vae.config.latents_std))
    asked = [(i, number, target) for i, shot in enumerate(pool.targets) for number, target in enumerate(shot)]
    assert any(len(target) > 1 for _, _, target in asked) and len(encoded.masks) == 1 + len(asked)
    for index, number, target in asked:
        union = np.minimum(pool.mattes[index, list(target)].astype(int).sum(axis=0), 255).astype(np.uint8)
        with torch.no_grad():
            expected = (vae.encode(mask_tensor(union[None])).latent_dist.mode()[0] - mean) / std
        np.testing.assert_allclose(encoded.masks[encoded.row(index, number)], expected, atol=4e-3)


def test_a_working_folder_that_names_no_world_is_of_the_plain_one(work: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    settings = json.loads((work / "work" / "settings.json").read_text())
    del settings["world"]
    (tmp_path / "work" / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="other settings"):
        train_mini(tmp_path / "work", tmp_path / "model", replace(SMALLEST, world="rich"), compile_model=False)
    shutil.copytree(work / "work" / "stages", tmp_path / "work" / "stages")
    train_mini(tmp_path / "work", tmp_path / "model", SMALLEST, compile_model=False)


def test_a_worker_that_dies_ends_the_rendering_with_a_sentence(tmp_path: Path) -> None:
    def plates(rng: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
        os._exit(1)

    with pytest.raises(RuntimeError, match="stopped after 0 of 4 shots"):
        build_pool(tmp_path / "pool", WORLDS["plain"], 4, 5, 32, 1, plates)
    assert not (tmp_path / "pool" / "things.json").exists()


def test_other_settings_in_the_same_working_folder_are_refused(work: Path) -> None:
    with pytest.raises(ValueError, match="other settings"):
        train_mini(work / "work", work / "model", replace(SMALLEST, t2v_steps=9), compile_model=False)


def test_a_larger_budget_goes_on_from_where_the_last_one_ended(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "work", tmp_path / "work")
    train_mini(tmp_path / "work", tmp_path / "model", replace(SMALLEST, rem_steps=5), compile_model=False)
    assert read_progress(last_checkpoint(tmp_path / "work", "rem")).step == 5


@pytest.fixture(scope="module")
def changed(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model, whose fine-tuning has moved every weight plainly."""
    folder = Path(shutil.copytree(work / "model", tmp_path_factory.mktemp("start") / "model"))
    weights = load_file(folder / "t2v" / "rem_mini_t2v.safetensors")
    generator = torch.Generator().manual_seed(3)
    moved = {name: value + torch.randn(value.shape, generator=generator).half() for name, value in weights.items()}
    save_file(moved, folder / "transformer" / "rem_mini.safetensors")
    return folder


@pytest.mark.thorough
def test_a_training_begins_with_another_model_of_other_words_and_size(changed: Path, tmp_path: Path) -> None:
    """A step at the beginning of a warm-up moves no weight by a hundredth."""
    settings = replace(SMALLEST, world="rich", size=48, vae_decoder_steps=1, t2v_steps=1, rem_steps=1)
    out = tmp_path / "model"
    train_mini(tmp_path / "work", out, settings, compile_model=False, start=changed)
    old, new = (load_backbone(folder, device="cpu") for folder in (changed, out))
    assert new.default_size == (48, 48) and "shadow" in new.known_words
    encoders = [vae.encoder.state_dict() | vae.quant_conv.state_dict() for vae in (old.vae, new.vae)]
    assert all(torch.equal(value, encoders[1][name]) for name, value in encoders[0].items())
    assert not torch.equal(old.vae.decoder.conv_in.weight, new.vae.decoder.conv_in.weight)
    pieces = [(old.tokenizer.get_vocab()[piece], new.tokenizer.get_vocab()[piece]) for piece in ("▁smoke", "▁red")]
    for old_row, new_row in pieces:
        rows = [model.text_encoder.shared.weight[row] for model, row in ((old, old_row), (new, new_row))]
        torch.testing.assert_close(*rows, atol=0.01, rtol=0)
    assert not torch.equal(*(model.text_encoder.shared.weight[pieces[0][0]] for model in (old, new)))
    t2v, rem = (
        [load_file(folder / part) for folder in (changed, out)]
        for part in ("t2v/rem_mini_t2v.safetensors", "transformer/rem_mini.safetensors")
    )
    for name in t2v[0]:
        torch.testing.assert_close(t2v[1][name], t2v[0][name], atol=0.01, rtol=0)
        frozen = name.startswith(("patch_embedding.", "text_embedding.", "time_embedding.", "time_projection."))
        expected = t2v[1][name] if frozen else t2v[1][name] + rem[0][name] - t2v[0][name]
        torch.testing.assert_close(rem[1][name], expected, atol=0.01, rtol=0)
    with pytest.raises(ValueError, match="other settings"):
        train_mini(tmp_path / "work", out, settings, compile_model=False)


def test_a_start_of_another_size_or_in_the_place_of_the_result_is_refused(work: Path, tmp_path: Path) -> None:
    for settings, start, told in (
        (replace(SMALLEST, layers=2), work / "model", "was trained with layers 1, and 2 is asked for"),
        (SMALLEST, tmp_path / "out", "cannot be begun with and replaced at once"),
    ):
        with pytest.raises(ValueError, match=told):
            train_mini(tmp_path / "work", tmp_path / "out", settings, start=start)
    with pytest.raises(FileNotFoundError, match=r"rem_mini_t2v\.safetensors is missing"):
        train_mini(tmp_path / "work", tmp_path / "out", SMALLEST, start=tmp_path / "nowhere")
    assert not (tmp_path / "work").exists()


def test_both_tokenizers_read_every_sentence_alike(work: Path) -> None:
    """The host reads spiece.model, transformers reads tokenizer.json."""
    from transformers import AutoTokenizer

    folder = work / "model" / "tokenizer"
    fast = AutoTokenizer.from_pretrained(folder)
    slow = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    for text in ("the large blue square moving left", "Zebra's  ÉTÉ 煙 (x:1.2), 100%!", " two  spaces ", "~{}[]|\\"):
        assert fast(text).input_ids == [*slow.encode(text), 1], text
    assert slow.pad_id() == 0 and slow.eos_id() == 1 and slow.unk_id() == 2
    assert len(fast("the large blue square moving left").input_ids) == 7


def test_states_and_logs_of_every_stage_are_kept(work: Path) -> None:
    stages = ("vae_short", "vae_long", "vae_decoder", "t2v", "rem")
    for stage in stages:
        assert last_checkpoint(work / "work", stage) is not None
        assert list((stage_folder(work / "work", stage) / "logs").glob("events.out.*"))
    rem_json = json.loads((work / "model" / "rem.json").read_text())
    words = rem_json.pop("words")
    assert {"the", "smoke", "red", "star", "moving", "left"} <= {*words} and "person" not in words
    assert rem_json == {"name": "REM-mini", "size": [32, 32], "window": 5, "overlap": 2}

"""What was corrected, learnt by the model: its error falls, its own weights stay, and its LoRA is read as any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import rem_engine.commands.cli
import trainer.commands.cli
import trainer.learn.tuning
from rem_engine import load_segmenter
from rem_engine.backbones.load import load_backbone
from trainer.adapt.plan import LORA_TARGETS
from trainer.learn.learn import suiting
from trainer.learn.tuning import Clip, Tuning
from trainer.settings import LoraSettings

SIDE, FRAMES = 64, 5


def disc(place: int) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.hypot(y - 20, x - 16 - 2 * place) < 8


@pytest.fixture(scope="module")
def clip() -> Clip:
    masks = np.stack([disc(place) for place in range(FRAMES)]).astype(np.float32)
    red = masks[:, None] * np.array([2.0, 0.0, 0.0], np.float32)[:, None, None] - 1.0
    return Clip(torch.from_numpy(red), torch.from_numpy(masks))


def small_lora(family: str) -> LoraSettings:
    return LoraSettings(rank=4, alpha=4, targets=tuple(LORA_TARGETS[family]))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["wan", pytest.param("modelscope", marks=pytest.mark.thorough)])
def test_the_error_falls_and_the_models_own_weights_keep_every_bit(
    family: str, clip: Clip, request: pytest.FixtureRequest
) -> None:
    backbone = load_backbone(request.getfixturevalue(f"tiny_{family}"), device="cpu")
    rows = torch.stack([backbone.encode_text(text) for text in ("the red disc", "the smoke")])
    denoiser = backbone.transformer if family == "wan" else backbone.denoiser.unet
    before = {name: value.clone() for name, value in denoiser.named_parameters()}
    tuning = Tuning(backbone, small_lora(family))
    untuned = tuning.masks(clip, rows[0])
    errors = tuning.tune([clip], rows[0], rows[1:], steps=20, lr=3e-3)
    assert errors[-1] < 0.8 * errors[0]
    assert not torch.equal(tuning.masks(clip, rows[0]), untuned)
    after = {name.replace(".base_layer", ""): value for name, value in denoiser.named_parameters()}
    for name, value in before.items():
        assert torch.equal(value, after[name])


def test_few_latents_with_something_count_as_much_as_all_without(clip: Clip) -> None:
    """A disc of 2 % of the picture: else nothing at all would be the better answer of a model that finds nothing."""
    latents = torch.zeros(1, 16, 2, SIDE // 8, SIDE // 8)
    weights = trainer.learn.tuning._balanced(clip.masks, latents)[0, 0]
    assert weights.mean() == pytest.approx(1.0)
    # Of Wan's latents the first is of one frame and the second of four.
    for place, frames in enumerate((clip.masks[:1], clip.masks[1:])):
        there = frames.amax(0).view(8, 8, 8, 8).amax(dim=(1, 3)) > 0
        assert 0 < there.sum() < 32
        assert weights[place][there].unique().numel() == weights[place][~there].unique().numel() == 1
    heavy = weights > 1
    assert weights[heavy].sum() == pytest.approx(float(weights[~heavy].sum()))


@pytest.fixture(scope="module")
def corrected_run(tiny_wan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("learn")
    for place in range(FRAMES):
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[disc(place)] = (250, 0, 0)
        (root / "plate").mkdir(exist_ok=True)
        Image.fromarray(picture).save(root / "plate" / f"plate.{1001 + place}.png")
    Image.fromarray(disc(2).astype(np.uint8) * 255).save(root / "key.1003.png")
    run, main = root / "out", rem_engine.commands.cli.main
    options = ["--model", str(tiny_wan), "--size", "32x32", "--window", "5", "--write", "soft"]
    prompts = ["-p", "disc: the red disc", "-p", "other: the smoke"]
    assert main(["segment", str(root / "plate"), *prompts, "-o", str(run), *options]) == 0
    assert main(["correct", str(run), "--layer", "disc", "--keys", str(root / "key.1003.png")]) == 0
    return run


@pytest.mark.slow
def test_what_is_written_is_read_by_checkpoint_and_the_run_stays(
    corrected_run: Path, tiny_wan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = trainer.commands.cli.main
    before = {path: path.read_bytes() for path in corrected_run.rglob("*") if path.is_file()}
    assert main(["learn", str(corrected_run), "--layer", "disc", "--steps", "4"]) == 0
    lora = corrected_run / "disc" / "disc_lora.safetensors"
    said = capsys.readouterr().out
    assert f"--checkpoint {lora}" in said and "'the red disc'" in said and "other: J" in said
    assert {path: path.read_bytes() for path in before} == before
    with safe_open(lora, "pt") as file:
        assert file.metadata()["rem.form"] == "lora" and file.metadata()["rem.rank"] == "16"
    frames = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    own, taught = (
        load_segmenter(tiny_wan, checkpoint=checkpoint, device="cpu", size=(32, 32), window=5)
        for checkpoint in (None, lora)
    )
    one, other = (each.segment(frames, ["the red disc"]).soft for each in (own, taught))
    assert not torch.equal(one, other)
    assert main(["learn", str(corrected_run), "--layer", "disc", "--steps", "1"]) == 0  # its own file is replaced
    (corrected_run / "mine.safetensors").write_bytes(b"mine")
    options = ["--to", str(corrected_run / "mine.safetensors")]
    assert main(["learn", str(corrected_run), "--layer", "disc", *options]) == 2
    assert "name another file to write, or give --overwrite" in capsys.readouterr().err


def test_what_cannot_be_learnt_is_told(
    corrected_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = trainer.commands.cli.main
    for options, sentence in (
        (["--layer", "other"], "other has no corrections"),
        (["--layer", "fog"], "There is no layer 'fog'"),
        ([], "has several layers"),
    ):
        assert main(["learn", str(corrected_run), *options]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and sentence in told[0]

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tuning, "tune", stopped)
    target = corrected_run.parent / "stopped.safetensors"
    assert main(["learn", str(corrected_run), "--layer", "disc", "--to", str(target)]) == 130
    assert "Nothing was written" in capsys.readouterr().err and not target.exists()


def test_a_run_at_half_a_loras_strength_is_refused(corrected_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account = corrected_run / "run.json"
    whole = account.read_text("utf-8")
    told = json.loads(whole)
    told["settings"]["strength"] = 0.5
    account.write_text(json.dumps(told), "utf-8")
    try:
        assert trainer.commands.cli.main(["learn", str(corrected_run), "--layer", "disc"]) == 2
    finally:
        account.write_text(whole, "utf-8")
    assert "at full strength" in capsys.readouterr().err


def test_weights_in_their_files_are_refused(tiny_wan: Path) -> None:
    backbone = load_backbone(tiny_wan, device="cpu", memory="stream")
    with pytest.raises(ValueError, match="have to fit whole"):
        Tuning(backbone, suiting(backbone))

"""Values that are not finite end what is made of them in a sentence that says where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from red_model import FRAMES, HEIGHT, WIDTH, RedBackbone, check_refused
from safetensors.torch import load_file, save_file

from rem_engine import Segmenter, load_segmenter
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.commands.cli import main

REM = MINI_FOLDER / "transformer" / "rem_mini.safetensors"
NAME = "blocks.1.ffn.0.weight"
VALUES = [float("nan"), float("inf"), -float("inf")]


class Faulty(RedBackbone):
    """Gives, from its second window on, values that are not finite where it is told to."""

    def __init__(self, place: str, value: float) -> None:
        self.place, self.value, self.windows = place, value, 0

    def _spoilt(self, place: str, values: torch.Tensor) -> torch.Tensor:
        if place == self.place and self.windows > 1:
            values = values.clone(memory_format=torch.contiguous_format)
            values.view(-1)[7] = self.value
        return values

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        self.windows += 1
        return self._spoilt("latents", super().encode_video(frames))

    def predict_mask_latents(self, *arguments: torch.Tensor) -> torch.Tensor:
        return self._spoilt("mask latents", super().predict_mask_latents(*arguments))

    def decode_masks(self, mask_latents: torch.Tensor) -> torch.Tensor:
        return self._spoilt("masks", super().decode_masks(mask_latents))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("place", ["latents", "mask latents", "masks"])
def test_what_a_model_gives_is_told_with_its_frames(place: str, value: float) -> None:
    frames = np.random.default_rng(0).random((FRAMES, HEIGHT, WIDTH, 3), np.float32)
    with pytest.raises(ValueError, match=rf"The model's {place} of frames 3 to 7 hold .* not finite.*in float32"):
        Segmenter(Faulty(place, value)).segment(frames, ("smoke",))


def with_fault(path: Path, value: float) -> Path:
    weights = load_file(REM)
    weights[NAME].view(-1)[-1] = value
    save_file(weights, path)
    return path


@pytest.mark.parametrize("value", VALUES[:2])
def test_a_weight_is_told_with_its_file(
    tmp_path: Path, shot: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    path = with_fault(tmp_path / "bad.safetensors", value)
    out = tmp_path / "out"
    sentence = "of bad.safetensors holds values that are not finite"
    check_refused(["segment", str(shot), "-p", "smoke", "-o", str(out), "--checkpoint", str(path)], sentence, capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        *(("--dtype", dtype) for dtype in ("keep", "float32", "bfloat16", "float16", "float8_e4m3fn")),
        ("--names", "diffusers"),
        ("--as", "delta", "--base", str(REM)),
        ("--as", "lora", "--base", str(REM)),
    ],
)
def test_no_form_of_a_conversion_takes_it_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    source, out = with_fault(tmp_path / "bad.safetensors", float("nan")), tmp_path / "out" / "x.safetensors"
    assert main(["convert", str(source), "-o", str(out), *options]) == 2
    assert f"error: The weight {NAME} of bad.safetensors holds" in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists() and not list(out.parent.iterdir())


def test_a_delta_that_is_not_finite_is_told(tmp_path: Path) -> None:
    change = torch.zeros(load_file(REM)[NAME].shape)
    change[0, 0] = float("nan")
    save_file({f"diffusion_model.{NAME.removesuffix('weight')}diff": change}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=rf"The weight {NAME} of bad\.safetensors holds values that are not finite"):
        load_segmenter("mini", checkpoint=tmp_path / "bad.safetensors", device="cpu")


def test_a_weight_too_large_for_float16_is_told_with_what_to_choose(wan_copy: Path) -> None:
    file = wan_copy / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["patch_embedding.weight"].view(-1)[0] = 1e6
    save_file(weights, file)
    load_segmenter(wan_copy, device="cpu", dtype="bfloat16")
    with pytest.raises(ValueError, match="patch_embedding.weight of .* choose bfloat16 or float32 in place of float16"):
        load_segmenter(wan_copy, device="cpu", dtype="float16")


@pytest.mark.parametrize("value", VALUES)
def test_masks_on_disk_are_told_with_their_file_and_frame(
    tmp_path: Path, shot: Path, fake_model: list, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["segment", str(shot), "-p", "a: smoke", "-o", str(run), "--write", "npz"]) == 0
    capsys.readouterr()
    array = run / "a" / "soft.npz"
    soft = np.load(array)["soft"]
    soft[3, 4, 5] = value
    np.savez(array, soft=soft)
    assert main(["matte", str(shot), "--masks", str(run), "-o", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: The mask of frame 3 in {array} holds values that are not finite")
    assert not (out / "a" / "alpha" / "plate.1004.png").exists()

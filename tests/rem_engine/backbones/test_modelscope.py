"""A ModelScope folder is loaded as it is meant, offline, in every form its weights come in."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rem_engine import Segmenter, load_segmenter
from rem_engine.commands.cli import main

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 40, 48, 3), dtype=np.uint8)
SIZE = (64, 64)
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
Official = tuple[Path, Path, dict[str, torch.Tensor], dict[str, torch.Tensor]]
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


def load(folder: Path, **options: object) -> Segmenter:
    return load_segmenter(folder, size=SIZE, window=2, overlap=1, device="cpu", **options)


@pytest.fixture(scope="module")
def segmenter(tiny_modelscope: Path) -> Segmenter:
    return load(tiny_modelscope)


def weights_of(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return load_file(folder / part / f"{WEIGHTS[part]}.safetensors")


def unlike(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor + 0.01 for name, tensor in weights.items()}


def assert_weights(segmenter: Segmenter, part: str, expected: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(dict(component(segmenter, part).state_dict()), expected, rtol=0, atol=0)


def component(segmenter: Segmenter, part: str) -> torch.nn.Module:
    backbone = segmenter.backbone
    return backbone.denoiser.unet if part == "unet" else getattr(backbone, part)


@pytest.mark.parametrize("stage", [1, 2])
def test_checkpoints_of_both_stages_replace_the_unet(tiny_modelscope: Path, tmp_path: Path, stage: int) -> None:
    unet = unlike(weights_of(tiny_modelscope, "unet"))
    first = {"iteration": 80_000, "res": (512, 512)} if stage == 1 else {}
    torch.save({"unet": unet, "optimizer": {"state": {}}, "epoch": 1, **first}, tmp_path / "rem.pth")
    loaded = load(tiny_modelscope, checkpoint=tmp_path / "rem.pth")
    assert_weights(loaded, "unet", unet)
    assert_weights(loaded, "vae", weights_of(tiny_modelscope, "vae"))


@pytest.mark.parametrize("old", [False, True], ids=["present VAE names", "old VAE names"])
def test_a_model_state_replaces_the_unet_and_the_vae_it_holds(tiny_modelscope: Path, tmp_path: Path, old: bool) -> None:
    unet, vae = (unlike(weights_of(tiny_modelscope, part)) for part in ("unet", "vae"))
    stored = old_attention(vae) if old else vae
    state = {f"backbone.unet.{name}": tensor for name, tensor in unet.items()}
    state |= {f"backbone.vae.{name}": tensor for name, tensor in stored.items()}
    torch.save({"model_state": state}, tmp_path / "rem.pth")
    loaded = load(tiny_modelscope, checkpoint=tmp_path / "rem.pth")
    assert_weights(loaded, "unet", unet)
    assert_weights(loaded, "vae", vae)


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_old_names_and_shapes_of_the_vae_give_the_same_model(
    modelscope_copy: Path, suffix: str, convolutions: bool
) -> None:
    vae = weights_of(modelscope_copy, "vae")
    file = modelscope_copy / "vae" / "diffusion_pytorch_model.safetensors"
    file.unlink()
    stored = old_attention(vae, convolutions)
    assert len(set(stored) - set(vae)) == 16
    if suffix == "bin":
        torch.save(stored, file.with_suffix(".bin"))
    else:
        save_file(stored, file)
    assert_weights(load(modelscope_copy), "vae", vae)


def old_attention(vae: dict[str, torch.Tensor], convolutions: bool = False) -> dict[str, torch.Tensor]:
    """As published before diffusers 0.17, or before it knew linear layers there."""
    renamed = {}
    for name, tensor in vae.items():
        for present, old in OLD_NAMES.items():
            if f".attentions.0.{present}." in name:
                name = name.replace(f".{present}.", f".{old}.")
                tensor = tensor[..., None, None].contiguous() if convolutions and tensor.ndim == 2 else tensor
        renamed[name] = tensor
    return renamed


def test_weights_in_full_go_before_weights_in_half(modelscope_copy: Path) -> None:
    expected = {part: weights_of(modelscope_copy, part) for part in WEIGHTS}
    for part, stem in WEIGHTS.items():
        wrong = {name: (tensor + 1).half() for name, tensor in expected[part].items()}
        save_file(wrong, modelscope_copy / part / f"{stem}.fp16.safetensors")
        torch.save(wrong, modelscope_copy / part / f"{stem}.fp16.bin")
    (modelscope_copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(expected["unet"], modelscope_copy / "unet" / "diffusion_pytorch_model.bin")
    loaded = load(modelscope_copy)
    for part in ("unet", "vae", "text_encoder"):
        assert_weights(loaded, part, without_prefix(expected[part], loaded, part))


def without_prefix(weights: dict[str, torch.Tensor], loaded: Segmenter, part: str) -> dict[str, torch.Tensor]:
    """Weights by the names this version of transformers has; files may have a prefix more."""
    names = component(loaded, part).state_dict().keys()
    return {name if name in names else name.removeprefix("text_model."): tensor for name, tensor in weights.items()}


def test_weights_in_half_alone_are_read(segmenter: Segmenter, modelscope_copy: Path) -> None:
    file = modelscope_copy / "unet" / "diffusion_pytorch_model.safetensors"
    half = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(half, file.with_suffix("").with_suffix(".fp16.safetensors"))
    file.unlink()
    assert_weights(load(modelscope_copy), "unet", {name: tensor.float() for name, tensor in half.items()})


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_encoders_load_as_any_transformers_names_them(
    segmenter: Segmenter, modelscope_copy: Path, prefix: str
) -> None:
    file = modelscope_copy / "text_encoder" / "model.safetensors"
    stored = {f"{prefix}{name.removeprefix('text_model.')}": tensor for name, tensor in load_file(file).items()}
    save_file(stored | {f"{prefix}embeddings.position_ids": torch.arange(77)[None]}, file)
    assert torch.equal(load(modelscope_copy).backbone.encode_text("fire"), segmenter.backbone.encode_text("fire"))


def test_rows_after_the_text_are_those_of_the_pad_token_of_special_tokens_map(segmenter: Segmenter) -> None:
    backbone = segmenter.backbone
    vocabulary = backbone.tokenizer.get_vocab()
    ids = [vocabulary["<|startoftext|>"], *(vocabulary[piece] for piece in ("f", "i", "r", "e</w>"))]
    ids += [vocabulary["<|endoftext|>"]] + [0] * (77 - 6)
    with torch.no_grad():
        expected = backbone.text_encoder(torch.tensor([ids])).last_hidden_state[0]
    embeds = backbone.encode_text("fire")
    assert embeds.shape == (77, 32)
    torch.testing.assert_close(embeds, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [
        (" ".join(["smoke"] * 15), None),  # 75 letters and a token at either end
        (" ".join(["smoke"] * 15) + " a", "a"),
        (" ".join(["smoke"] * 14) + " smoking fire", "smoking fire"),
    ],
)
def test_words_past_77_tokens_are_cut_with_a_warning_that_names_them(
    segmenter: Segmenter, prompt: str, cut: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    assert segmenter.backbone.encode_text(prompt).shape == (77, 32)
    said = [str(warning.message) for warning in recwarn if "were cut" in str(warning.message)]
    count = len(prompt.replace(" ", "")) + 2
    expected = f"The prompt has {count} tokens and the model reads 77; these words at its end were cut: {cut!r}."
    assert said == ([] if cut is None else [expected])


def test_shapes_between_the_parts(segmenter: Segmenter) -> None:
    backbone = segmenter.backbone
    latents = backbone.encode_video(torch.zeros(5, 3, 64, 128))
    assert latents.shape == (1, 4, 5, 8, 16)
    noise = backbone.draw_noise(latents, 3)
    assert noise.shape == latents.shape
    predicted = backbone.predict_mask_latents(latents, backbone.encode_text("fire")[None].expand(2, -1, -1), noise)
    assert predicted.shape == (2, 4, 5, 8, 16)
    assert backbone.decode_masks(predicted[:1]).shape == (5, 3, 64, 128)


def test_masks_are_not_clamped(segmenter: Segmenter) -> None:
    masks = segmenter.backbone.decode_masks(100 * torch.randn(1, 4, 1, 8, 8))
    assert masks.abs().max() > 1.0


def test_noise_is_that_of_the_first_timestep(segmenter: Segmenter) -> None:
    backbone, given = segmenter.backbone, []
    latents, noise = torch.randn(1, 4, 2, 8, 8), torch.randn(2, 4, 2, 8, 8)
    hook = backbone.denoiser.unet.register_forward_pre_hook(lambda _, args: given.append(args))
    backbone.predict_mask_latents(latents, torch.randn(2, 77, 32), noise)
    hook.remove()
    torch.testing.assert_close(given[0][0], 0.999575 * latents + 0.029155 * noise, atol=1e-5, rtol=0)
    assert (given[0][1].item(), given[0][1].dtype) == (0, torch.int64)


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_stays_near_float32(
    segmenter: Segmenter, tiny_modelscope: Path, dtype: str, error: float
) -> None:
    half = load(tiny_modelscope, dtype=dtype).backbone
    assert {value.dtype for value in half.denoiser.unet.state_dict().values()} == {getattr(torch, dtype)}
    assert {value.dtype for value in half.vae.state_dict().values()} == {torch.float32}
    given = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 77, 32), torch.randn(1, 4, 2, 8, 8)
    full = segmenter.backbone.predict_mask_latents(*given)
    predicted = half.predict_mask_latents(*given)
    assert predicted.dtype == torch.float32
    assert 0 < (predicted - full).abs().max() < error * full.abs().max()


def test_a_delta_is_added_to_the_unet(tiny_modelscope: Path, tmp_path: Path) -> None:
    name = "mid_block.attentions.0.proj_in"
    difference = torch.full((32, 32), 0.5)
    save_file({f"diffusion_model.{name}.diff": difference}, tmp_path / "delta.safetensors")
    loaded = load(tiny_modelscope, checkpoint=tmp_path / "delta.safetensors", strength=0.5)
    expected = weights_of(tiny_modelscope, "unet")
    expected[f"{name}.weight"] = expected[f"{name}.weight"] + 0.25
    assert_weights(loaded, "unet", expected)


@pytest.mark.parametrize("names", ["comfyui", "diffusers"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "keep"])
def test_converted_weights_load(tiny_modelscope: Path, tmp_path: Path, dtype: str, names: str) -> None:
    unet = unlike(weights_of(tiny_modelscope, "unet"))
    torch.save({"unet": unet, "optimizer": {}, "epoch": 3}, tmp_path / "rem.pth")
    out = tmp_path / "rem.safetensors"
    assert main(["convert", str(tmp_path / "rem.pth"), "-o", str(out), "--dtype", dtype, "--names", names]) == 0
    stored = getattr(torch, "float32" if dtype == "keep" else dtype)
    assert_weights(
        load(tiny_modelscope, checkpoint=out), "unet", {name: value.to(stored).float() for name, value in unet.items()}
    )
    with safe_open(out, "pt") as file:
        assert file.metadata()["modelspec.architecture"] == "modelscope-t2v"
        assert file.get_slice("conv_in.weight").get_dtype() == {"float16": "F16", "bfloat16": "BF16"}.get(dtype, "F32")


def test_a_converted_delta_gives_the_unet_back(tiny_modelscope: Path, tmp_path: Path) -> None:
    unet = unlike(weights_of(tiny_modelscope, "unet"))
    save_file(unet, tmp_path / "rem.safetensors")
    arguments = ["-o", str(tmp_path / "delta.safetensors"), "--as", "delta", "--base", str(tiny_modelscope / "unet")]
    assert main(["convert", str(tmp_path / "rem.safetensors"), *arguments]) == 0
    loaded = component(load(tiny_modelscope, checkpoint=tmp_path / "delta.safetensors"), "unet").state_dict()
    torch.testing.assert_close(dict(loaded), unet, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def official(golden: Path) -> Official:
    """The golden base folder and REM's checkpoint for it, and the weights of the UNet in both."""
    base, rem = golden / "modelscope" / "base", golden / "modelscope" / "rem_ms.pth"
    (file,) = (base / "unet").glob("*.safetensors")
    with torch.serialization.safe_globals([argparse.Namespace]):
        whole = torch.load(rem, map_location="cpu", weights_only=True)["unet"]
    return base, rem, {name: value.float() for name, value in load_file(file).items()}, whole


@pytest.mark.slow
@pytest.mark.parametrize("rank", [4, 256])
def test_a_converted_lora_is_the_best_of_its_rank(official: Official, tmp_path: Path, rank: int) -> None:
    base, rem, before, after = official
    out = tmp_path / "lora.safetensors"
    assert main(["convert", str(rem), "-o", str(out), "--as", "lora", "--rank", str(rank), "--base", str(base)]) == 0
    found = component(load(base, checkpoint=out), "unet").state_dict()
    factorised = 0
    for name, whole in after.items():
        expected = whole
        if whole.ndim == 2 and rank * sum(whole.shape) < whole.numel():
            factorised += 1
            left, strengths, right = torch.linalg.svd(whole - before[name], full_matrices=False)
            expected = before[name] + left[:, :rank] * strengths[:rank] @ right[:rank]
        error, best = (found[name] - whole).norm(), (expected - whole).norm()
        assert best * 0.999 - 1e-5 <= error <= best * 1.02 + 1e-5, name
    assert (factorised > 200) if rank == 4 else (factorised == 0)


def test_a_lora_of_full_rank_in_pefts_names_is_the_whole_difference(official: Official, tmp_path: Path) -> None:
    base, _, before, after = official
    stored = {}
    for name, whole in after.items():
        layer, _, kind = name.rpartition(".")
        change = whole - before[name]
        if whole.ndim == 2:
            left, strengths, right = torch.linalg.svd(change, full_matrices=False)
            stored[f"base_model.model.{layer}.lora_B.weight"] = (left * strengths).contiguous()
            stored[f"base_model.model.{layer}.lora_A.weight"] = right.contiguous()
        else:
            stored[f"base_model.model.{layer}.{'diff_b' if kind == 'bias' else 'diff'}"] = change
    save_file(stored, tmp_path / "lora.safetensors")
    loaded = load(base, checkpoint=tmp_path / "lora.safetensors")
    torch.testing.assert_close(dict(component(loaded, "unet").state_dict()), after, atol=1e-5, rtol=0)


def test_fp8_is_refused(tiny_modelscope: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-o", str(tmp_path / "out.safetensors"), "--dtype", "float8_e4m3fn"]
    assert main(["convert", str(tiny_modelscope / "unet"), *arguments]) != 0
    assert "which nothing here runs in eight bits: choose --dtype float16" in capsys.readouterr().err


def test_weights_of_the_other_backbone_are_told(
    tiny_modelscope: Path, tiny_wan: Path, tmp_path: Path, golden: Path
) -> None:
    rem_wan, rem_ms = golden / "wan" / "rem_wan.pth", golden / "modelscope" / "rem_ms.pth"
    with pytest.raises(ValueError, match=r"rem_wan\.pth \(unet\) does not fit: this is a Wan .* the model is the Mod"):
        load(tiny_modelscope, checkpoint=rem_wan)
    with pytest.raises(ValueError, match=r"rem_ms\.pth \(transformer\) does not fit: this is the ModelScope .* a Wan"):
        load_segmenter(tiny_wan, checkpoint=rem_ms)
    with pytest.raises(ValueError, match=r"rem_ms\.pth \(unet\) does not fit: this is the ModelScope .* instead of"):
        load(tiny_modelscope, checkpoint=rem_ms)


def test_parts_that_are_missing_or_of_another_model_are_told(modelscope_copy: Path) -> None:
    config = modelscope_copy / "vae" / "config.json"
    text = config.read_text()
    config.write_text(json.dumps(json.loads(text) | {"_class_name": "AutoencoderKLWan"}))
    with pytest.raises(ValueError, match=r"holds a AutoencoderKLWan, where a AutoencoderKL \(ModelScope\) is expected"):
        load(modelscope_copy)
    config.write_text(text)
    shutil.rmtree(modelscope_copy / "scheduler")
    with pytest.raises(
        FileNotFoundError, match="has no scheduler/scheduler_config.json; a model folder holds unet, vae"
    ):
        load(modelscope_copy)
    shutil.rmtree(modelscope_copy / "tokenizer")
    with pytest.raises(FileNotFoundError, match="has no tokenizer; a model folder holds"):
        load(modelscope_copy)


def test_sizes_the_unet_cannot_take_are_told(tiny_modelscope: Path) -> None:
    with pytest.raises(ValueError, match="multiples of 64, for example 512x512"):
        load_segmenter(tiny_modelscope, size=(480, 832), device="cpu")

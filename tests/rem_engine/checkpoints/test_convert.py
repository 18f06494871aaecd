"""A converted file holds what the source holds, under the names asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.backbones.wan import load_wan
from rem_engine.checkpoints import read_changes, read_state_dict, to_original
from rem_engine.checkpoints.change import apply_change
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.checkpoints.low_rank import low_rank
from rem_engine.commands.cli import main

LATENT_LIMIT = 2e-4  # of the golden cases


@pytest.fixture(scope="module")
def official(source: Path) -> dict[str, torch.Tensor]:
    """The official file's transformer as PyTorch reads it, under the original names."""
    weights = torch.load(source, weights_only=False)["model_state"]
    prefix = "backbone.dit."
    return to_original({name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)})


def golden_error(golden: Path, checkpoint: Path | None, strength: float = 1.0) -> float:
    """How far the mask latents lie from the authors', with a checkpoint over the golden base."""
    tensors = load_file(golden / "wan" / "cases" / "f9_half" / "tensors.safetensors")
    backbone = load_wan(
        golden / "wan" / "base",
        checkpoint=checkpoint,
        strength=strength,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    predicted = backbone.predict_mask_latents(tensors["img_latents"], tensors["prompt_embeds_0"])
    return float((predicted - tensors["pred_latents_0"]).abs().max())


# ---- whole denoisers


@pytest.mark.parametrize("names", ["comfyui", "diffusers"])
def test_a_full_file_is_the_official_one_under_the_names_asked_for(
    golden: Path, source: Path, official: dict[str, torch.Tensor], tmp_path: Path, names: str
) -> None:
    out = tmp_path / "new" / "rem.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--names", names]) == 0
    written = load_file(out)
    keymap = json.loads((golden / "wan" / "keymap.json").read_text())["transformer"]
    assert set(written) == set(keymap if names == "diffusers" else keymap.values())
    for name, tensor in to_original(written).items():
        assert tensor.dtype == official[name].dtype
        assert torch.equal(tensor, official[name])
    assert golden_error(golden, out) <= LATENT_LIMIT
    assert [file.name for file in out.parent.iterdir()] == ["rem.safetensors"]


def test_a_file_says_what_it_is(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "rem.safetensors"
    convert(Conversion(source, out, dtype=torch.bfloat16))
    with safe_open(out, "pt") as file:
        said = file.metadata()
    assert said == {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "wan2.1-t2v",
        "modelspec.implementation": "https://github.com/Wan-Video/Wan2.1",
        "modelspec.title": "rem_wan",
        "rem.format": "1",
        "rem.form": "full",
        "rem.names": "comfyui",
        "rem.dtype": "bfloat16",
        "rem.source": "rem_wan.pth",
    }
    again = tmp_path / "again.safetensors"
    convert(Conversion(source, again, dtype=torch.bfloat16))
    assert again.read_bytes() == out.read_bytes()


def test_what_a_source_says_of_its_maker_is_kept(base: Path, tmp_path: Path) -> None:
    weights = read_state_dict(base / "transformer")
    said = {"modelspec.license": "Apache-2.0", "modelspec.title": "Ours", "modelspec.hash_sha256": "0x0", "other": "x"}
    save_file({name: tensor.clone() for name, tensor in weights.items()}, tmp_path / "in.safetensors", said)
    convert(Conversion(tmp_path / "in.safetensors", tmp_path / "out.safetensors"))
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        kept = file.metadata()
    assert (kept["modelspec.license"], kept["modelspec.title"]) == ("Apache-2.0", "Ours")
    assert "modelspec.hash_sha256" not in kept and "other" not in kept


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_weight_is_rounded_once_to_the_type_asked_for(
    source: Path, official: dict[str, torch.Tensor], tmp_path: Path, dtype: str
) -> None:
    out = tmp_path / "rem.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--dtype", dtype]) == 0
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, official[name].to(getattr(torch, dtype)))


@pytest.mark.parametrize(("dtype", "steps"), [("float8_e4m3fn", 16), ("float8_e5m2", 8)])
def test_fp8_is_scaled_and_holds_the_blocks_matrices_alone(
    source: Path, official: dict[str, torch.Tensor], tmp_path: Path, dtype: str, steps: int
) -> None:
    out = tmp_path / "rem.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--dtype", dtype]) == 0
    written = load_file(out)
    matrices = {n for n in official if re.match(r"blocks\.\d+\.((self|cross)_attn\.[qkvo]|ffn\.[02])\.weight", n)}
    assert len(matrices) == 20
    scales = {f"{name.removesuffix('.weight')}.scale_weight" for name in matrices}
    assert set(written) == official.keys() | scales | {"scaled_fp8"}
    assert written["scaled_fp8"].numel() == 2 and written["scaled_fp8"].dtype == getattr(torch, dtype)
    for name, tensor in official.items():
        if name not in matrices:
            assert torch.equal(written[name], tensor)
            continue
        assert written[name].dtype == getattr(torch, dtype)
        assert written[name].float().abs().max() == 448  # also in e5m2, which ComfyUI 0.8.0 reads as e4m3
        scale = written[f"{name.removesuffix('.weight')}.scale_weight"]
        assert scale.dtype == torch.float32 and scale.shape == ()
        error = (written[name].float() * scale - tensor.float()).abs()
        assert bool((error <= tensor.float().abs() / steps + scale / 256).all())  # half a step of 3 or 2 bits
    read = to_original(read_state_dict(out))
    assert read.keys() == official.keys()


def test_values_beyond_float16_are_told(base: Path, tmp_path: Path) -> None:
    weights = {name: tensor.clone() for name, tensor in to_original(read_state_dict(base)).items()}
    weights["blocks.1.ffn.0.bias"][3] = 1e6
    save_file(weights, tmp_path / "in.safetensors")
    with pytest.raises(ValueError, match=r"blocks\.1\.ffn\.0\.bias holds values that float16 cannot"):
        convert(Conversion(tmp_path / "in.safetensors", tmp_path / "out.safetensors", dtype=torch.float16))
    assert [file.name for file in tmp_path.iterdir()] == ["in.safetensors"]


def test_modelscope_converts_too(golden: Path, tmp_path: Path) -> None:
    convert(Conversion(golden / "modelscope" / "rem_ms.pth", tmp_path / "ms.safetensors", dtype=torch.float16))
    expected = torch.load(golden / "modelscope" / "rem_ms.pth", weights_only=False)["unet"]
    written = load_file(tmp_path / "ms.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], tensor.half()) for name, tensor in expected.items())


# ---- deltas and LoRAs


def test_base_and_delta_give_rem(
    golden: Path, source: Path, base: Path, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out = tmp_path / "delta.safetensors"
    assert main(["convert", str(source), "-o", str(out), "--as", "delta", "--base", str(base)]) == 0
    weights = {name: tensor.float() for name, tensor in to_original(read_state_dict(base)).items()}
    changes = read_changes(load_file(out), ())
    assert changes.keys() <= weights.keys()
    for name, tensor in official.items():
        changed = apply_change(weights[name], changes[name]) if name in changes else weights[name]
        torch.testing.assert_close(changed, tensor.float(), rtol=0, atol=1e-6)
    assert golden_error(golden, out) <= LATENT_LIMIT
    assert golden_error(golden, out, strength=0.0) == golden_error(golden, None)
    with safe_open(out, "pt") as file:
        assert file.metadata()["modelspec.architecture"] == "wan2.1-t2v/delta"
        assert file.metadata()["rem.base"] == "base"


@pytest.mark.parametrize("form", ["delta", "lora"])
def test_weights_that_are_the_bases_are_left_out(base: Path, tmp_path: Path, form: str) -> None:
    weights = {name: tensor.clone() for name, tensor in to_original(read_state_dict(base)).items()}
    weights["blocks.0.modulation"] += 1
    weights["blocks.1.self_attn.q.weight"] += 1
    weights["blocks.1.norm3.bias"] += 1
    save_file(weights, tmp_path / "rem.safetensors")
    summary = convert(
        Conversion(tmp_path / "rem.safetensors", tmp_path / "out.safetensors", form=form, base=base, rank=1)
    )
    changes = read_changes(load_file(tmp_path / "out.safetensors"), ())
    assert set(changes) == {"blocks.0.modulation", "blocks.1.self_attn.q.weight", "blocks.1.norm3.bias"}
    assert len(summary.unchanged) == len(weights) - 3


def test_a_lora_keeps_what_its_report_says(
    source: Path, base: Path, official: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out, rank = tmp_path / "lora.safetensors", 16
    assert main(["convert", str(source), "-o", str(out), "--as", "lora", "--base", str(base), "--rank", str(rank)]) == 0
    report = json.loads((tmp_path / "lora.report.json").read_text())
    before = to_original(read_state_dict(base))
    delta = {name: tensor.double() - before[name].double() for name, tensor in official.items()}
    changes = read_changes(load_file(out), ())
    assert changes.keys() == delta.keys()
    kept = 0.0
    for name, exact in delta.items():
        if name in report["layers"]:
            approximate = changes[name].full(exact.shape).double()
            assert changes[name].up.shape == (exact.shape[0], rank)
            share = 1 - float((exact - approximate).square().sum() / exact.square().sum())
            assert report["layers"][name]["energy_kept"] == pytest.approx(share, abs=1e-5)
            best = float(torch.linalg.svdvals(exact)[:rank].square().sum() / exact.square().sum())
            assert share <= best + 1e-6
            kept += share * float(exact.square().sum())
        else:
            assert name in report["full_differences"]
            assert torch.equal(changes[name], (official[name].float() - before[name].float()))
            kept += float(exact.square().sum())
    total = sum(float(exact.square().sum()) for exact in delta.values())
    assert report["energy_kept"] == pytest.approx(kept / total, abs=1e-5)
    small = {name for name in delta if delta[name].ndim != 2}  # norms, biases, modulation, the patch convolution
    assert small and small <= set(report["full_differences"])
    assert report["rank"] == rank and report["base"] == "base"


def test_the_low_rank_part_is_all_but_the_best() -> None:
    """On a matrix whose singular values fall slowly, as those of fine-tuning do; against the whole decomposition."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(200, 160, generator=generator)).Q for _ in range(2))
    singular = torch.arange(1, 161) ** -0.5
    matrix = left * singular @ right.mT
    change, kept = low_rank(matrix, 16)
    best = float(singular[:16].square().sum() / singular.square().sum())
    assert best - 0.005 <= kept <= best + 1e-6
    lost = float((matrix - change.full((200, 200))).square().sum() / matrix.square().sum())
    assert kept == pytest.approx(1 - lost, abs=1e-5)
    assert torch.equal(low_rank(matrix, 16)[0].up, change.up)


@pytest.mark.parametrize("form", ["delta", "lora"])
def test_rem_mini_is_its_base_and_a_change(tmp_path: Path, form: str) -> None:
    base = next((MINI_FOLDER / "t2v").glob("*.safetensors"))
    out, rank = tmp_path / "rem.safetensors", 10**6  # so high that nothing is worth factorising
    convert(Conversion(MINI_FOLDER / "transformer", out, form=form, base=base, rank=rank))
    folder = tmp_path / "model"
    folder.mkdir()
    for part in MINI_FOLDER.iterdir():
        if part.is_dir() and part.name not in ("transformer", "t2v"):
            (folder / part.name).symlink_to(part)
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_bytes((MINI_FOLDER / "transformer" / "config.json").read_bytes())
    (folder / "transformer" / "t2v.safetensors").symlink_to(base)
    predicted = []
    latents, text = torch.randn(1, 16, 2, 4, 4), torch.randn(1, 77, 4096)
    for model, checkpoint in ((MINI_FOLDER, None), (folder, out), (folder, None)):
        backbone = load_wan(model, checkpoint=checkpoint, device=torch.device("cpu"), dtype=torch.float32)
        predicted.append(backbone.predict_mask_latents(latents, text))
    torch.testing.assert_close(predicted[1], predicted[0], rtol=0, atol=1e-4)
    assert (predicted[2] - predicted[0]).abs().max() > 0.1


# ---- strength on the command line and from Python


def test_strength_is_for_deltas_and_loras(source: Path, base: Path) -> None:
    from rem_engine import load_segmenter

    with pytest.raises(ValueError, match="A strength is for a delta or LoRA; whole weights"):
        load_segmenter(base, checkpoint=source, strength=0.5)
    with pytest.raises(ValueError, match="A strength is for a delta or LoRA"):
        load_segmenter(base, strength=0.5)
    with pytest.raises(ValueError, match="A strength of 2.0 is out of range"):
        load_segmenter(base, checkpoint=source, strength=2.0)


def test_a_delta_of_another_size_is_told(source: Path, base: Path, tmp_path: Path) -> None:
    convert(Conversion(source, tmp_path / "delta.safetensors", form="delta", base=base))
    with pytest.raises(ValueError, match=r"delta\.safetensors (is for another size of model|changes .* does not have)"):
        load_wan(
            MINI_FOLDER, checkpoint=tmp_path / "delta.safetensors", device=torch.device("cpu"), dtype=torch.float32
        )

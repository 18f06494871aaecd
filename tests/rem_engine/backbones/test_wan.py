"""A Wan folder is loaded as it is meant, offline, and text reaches the denoiser in 77 rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rem_engine import Segmenter, load_segmenter
from rem_engine.checkpoints import to_original

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 48, 3), dtype=np.uint8)
SIZE = (32, 32)


def load(folder: Path, **options: object) -> Segmenter:
    return load_segmenter(folder, size=SIZE, window=5, device="cpu", **options)


@pytest.fixture(scope="module")
def segmenter(tiny_wan: Path) -> Segmenter:
    return load(tiny_wan)


def weights_of(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return load_file(folder / part / "diffusion_pytorch_model.safetensors")


def test_importing_the_engine_imports_no_models() -> None:
    code = "import sys, rem_engine; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_original_names_give_the_same_model(segmenter: Segmenter, wan_copy: Path) -> None:
    for part in ("transformer", "vae"):
        save_file(to_original(weights_of(wan_copy, part)), wan_copy / part / "other.safetensors")
        (wan_copy / part / "diffusion_pytorch_model.safetensors").unlink()
    assert torch.equal(load(wan_copy).segment(FRAMES, ["fire"]).soft, segmenter.segment(FRAMES, ["fire"]).soft)


def test_a_checkpoint_replaces_the_transformer_and_the_vae_it_holds(
    segmenter: Segmenter, tiny_wan: Path, tmp_path: Path
) -> None:
    transformer = {name: tensor + 0.01 for name, tensor in weights_of(tiny_wan, "transformer").items()}
    vae = {name: tensor * 0.99 for name, tensor in weights_of(tiny_wan, "vae").items()}
    state = {f"backbone.dit.{name}": tensor for name, tensor in transformer.items()}
    torch.save({"model_state": state}, tmp_path / "transformer.pth")
    torch.save({"model_state": {**state, **{f"backbone.vae.{n}": t for n, t in vae.items()}}}, tmp_path / "both.pth")

    alone = load(tiny_wan, checkpoint=tmp_path / "transformer.pth").backbone
    both = load(tiny_wan, checkpoint=tmp_path / "both.pth").backbone
    for backbone, expected_vae in ((alone, weights_of(tiny_wan, "vae")), (both, vae)):
        torch.testing.assert_close(dict(backbone.transformer.state_dict()), transformer, rtol=0, atol=0)
        torch.testing.assert_close(dict(backbone.vae.state_dict()), expected_vae, rtol=0, atol=0)


def test_half_precision_keeps_the_sensitive_parts_in_float32(segmenter: Segmenter, tiny_wan: Path) -> None:
    backbone = load(tiny_wan, dtype="bfloat16").backbone
    kept = {name for name, value in backbone.transformer.state_dict().items() if value.dtype == torch.float32}
    assert kept == {
        "scale_shift_table",
        "condition_embedder.time_embedder.linear_1.weight",
        "condition_embedder.time_embedder.linear_1.bias",
        "condition_embedder.time_embedder.linear_2.weight",
        "condition_embedder.time_embedder.linear_2.bias",
        "blocks.0.scale_shift_table",
        "blocks.0.norm2.weight",
        "blocks.0.norm2.bias",
        *(f"blocks.0.{attention}.{name}.weight" for attention in ("attn1", "attn2") for name in ("norm_q", "norm_k")),
    }
    assert {value.dtype for value in backbone.vae.state_dict().values()} == {torch.float32}
    latents, embeds = torch.randn(1, 16, 2, 4, 4), torch.randn(1, 77, 4096)
    half = backbone.predict_mask_latents(latents, embeds)
    full = segmenter.backbone.predict_mask_latents(latents, embeds)
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().max() < 0.05 * full.abs().max()
    # The authors keep the matrices of attention in float32 too, and autocast rounds them at every use.
    whole = weights_of(tiny_wan, "transformer")
    theirs = {n: whole[n] if ".to_" in n else kept for n, kept in backbone.transformer.state_dict().items()}
    backbone.transformer.load_state_dict(theirs, assign=True)
    backbone.transformer.requires_grad_(False)
    assert torch.equal(backbone.predict_mask_latents(latents, embeds), half)


@pytest.mark.parametrize(("count", "padded"), [(1, 1), (2, 5), (4, 5), (5, 5), (6, 9), (72, 73), (73, 73)])
def test_frame_counts_are_padded_to_4k_plus_1(segmenter: Segmenter, count: int, padded: int) -> None:
    assert segmenter.backbone.family.pad_frame_count(count) == padded


def test_shapes_between_the_parts(segmenter: Segmenter) -> None:
    backbone = segmenter.backbone
    latents = backbone.encode_video(torch.zeros(9, 3, 32, 48))
    assert latents.shape == (1, 16, 3, 4, 6)
    predicted = backbone.predict_mask_latents(latents, backbone.encode_text("fire")[None].expand(2, -1, -1))
    assert predicted.shape == (2, 16, 3, 4, 6)
    masks = backbone.decode_masks(10 * predicted[:1])
    assert masks.shape == (9, 3, 32, 48)
    assert masks.abs().max() <= 1.0


def test_a_narrow_text_encoder_fills_the_first_columns_and_rows(segmenter: Segmenter) -> None:
    embeds = segmenter.backbone.encode_text("the smoke")
    assert embeds.shape == (77, 4096)
    assert embeds.dtype == torch.float32
    # "▁the▁smoke" is ten characters, and the end mark is one token more; the encoder is 32 wide.
    assert embeds[:11, :32].abs().sum(dim=1).min() > 0
    assert not embeds[11:].any()
    assert not embeds[:, 32:].any()


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [
        (" ".join(["word"] * 15), None),  # 75 characters and the end mark: 76 tokens
        (" ".join(["word"] * 14) + " wordab", None),  # 78 tokens, of which the end mark is cut
        (" ".join(["word"] * 15) + " ab", "ab"),  # the 78th token is the last letter
        (" ".join(["word"] * 15) + " a bc de", "bc de"),  # the 78th token is the space before bc
        (" ".join(["word"] * 15) + " abcdef gh", "abcdef gh"),
    ],
)
def test_words_past_77_tokens_are_cut_with_a_warning_that_names_them(
    segmenter: Segmenter, prompt: str, cut: str | None
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        embeds = segmenter.backbone.encode_text(prompt)
    assert embeds.shape == (77, 4096)
    if cut is None:
        assert not caught
    else:
        assert [str(warning.message) for warning in caught] == [
            f"The prompt has {len(prompt) + 2} tokens and the model reads 77; these words at its end were cut: {cut!r}."
        ]


def test_models_that_are_not_there_are_told(wan_copy: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no model 'maxi'; use 'mini' or a folder"):
        load_segmenter("maxi")
    with pytest.raises(FileNotFoundError, match="There is no model ''; use 'mini' or a folder"):
        load_segmenter("")
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load(wan_copy, checkpoint=wan_copy / "nothing.pth")
    shutil.rmtree(wan_copy / "tokenizer")
    with pytest.raises(FileNotFoundError, match="has no tokenizer; a model folder holds"):
        load(wan_copy)


def test_a_checkpoint_of_another_architecture_is_told(tiny_wan: Path, golden: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rem_wan\.pth \(transformer\) does not fit: .* width 256 with 2 blocks"):
        load(tiny_wan, checkpoint=golden / "wan" / "rem_wan.pth")
    with pytest.raises(ValueError, match=r"rem_ms\.pth \(transformer\) does not fit: .* ModelScope"):
        load(tiny_wan, checkpoint=golden / "modelscope" / "rem_ms.pth")
    save_file(weights_of(tiny_wan, "vae"), tmp_path / "vae.safetensors")
    with pytest.raises(ValueError, match=r"vae\.safetensors holds no transformer"):
        load(tiny_wan, checkpoint=tmp_path / "vae.safetensors")


def test_a_folder_of_another_model_is_told(wan_copy: Path) -> None:
    config = json.loads((wan_copy / "vae" / "config.json").read_text())
    (wan_copy / "vae" / "config.json").write_text(json.dumps({**config, "_class_name": "AutoencoderKL"}))
    with pytest.raises(ValueError, match="holds a AutoencoderKL, where a AutoencoderKLWan"):
        load(wan_copy)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"dtype": "int8"}, ValueError, "no dtype 'int8'"),
        ({"device": "abacus"}, ValueError, "no device 'abacus'"),
        pytest.param(
            {"device": "cuda"}, RuntimeError, "PyTorch sees none",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_told(
    tiny_wan: Path, options: dict[str, str], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        load_segmenter(tiny_wan, **options)

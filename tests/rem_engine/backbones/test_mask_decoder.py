"""The mask decoder: shapes, causality, cost, its file, and what it may be used beside."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rem_engine import load_segmenter
from rem_engine.backbones import mask_decoder
from rem_engine.backbones.load import MINI_FOLDER, load_backbone
from rem_engine.backbones.mask_decoder import (
    FILE,
    MaskDecoder,
    decoder_hash,
    distilled_from,
    load_mask_decoder,
    save_mask_decoder,
)
from rem_engine.backbones.vae import OnePassVAE
from rem_engine.checkpoints import to_original

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def decoder() -> MaskDecoder:
    torch.manual_seed(0)
    return MaskDecoder().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLWan:
    torch.manual_seed(1)
    return AutoencoderKLWan(base_dim=4)


def _latents(frames: int, height: int = 3, width: int = 4) -> Tensor:
    return torch.randn(2, 16, 1 + (frames - 1) // 4, height, width, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("width", (64, 192))
@pytest.mark.parametrize("frames", (1, 5, 17))
def test_masks_have_the_size_that_the_vaes_frames_have(width: int, frames: int) -> None:
    with torch.device("meta"):
        masks = MaskDecoder(width)(torch.empty(2, 16, 1 + (frames - 1) // 4, 64, 64))
    assert masks.shape == (2, frames, 512, 512)


def test_no_frame_depends_on_later_latents(decoder: MaskDecoder) -> None:
    latents = _latents(13)
    changed = latents.clone()
    changed[:, :, 2:] += 1.0
    before, after = decoder(latents), decoder(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:9], after[:, 5:9], atol=1e-3)


def test_masks_do_not_depend_on_how_many_frames_are_drawn_at_once(
    decoder: MaskDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = decoder(_latents(33))
    monkeypatch.setattr(mask_decoder, "_FRAMES_AT_ONCE", 1)
    torch.testing.assert_close(decoder(_latents(33)), together, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("vae_width", "width", "least"), ((8, 64, 3.0), (96, 192, 40.0)))
def test_it_takes_a_part_of_the_operations_of_the_vaes_decoder(vae_width: int, width: int, least: float) -> None:
    def operations(run: torch.nn.Module | OnePassVAE, latents: Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            run.decode(latents) if isinstance(run, OnePassVAE) else run(latents)
        return counter.get_total_flops()

    with torch.device("meta"):
        latents = torch.empty(1, 16, 3, 64, 64)
        of_vae = operations(OnePassVAE(AutoencoderKLWan(base_dim=vae_width)), latents)
        of_decoder = operations(MaskDecoder(width), latents)
    assert of_vae / of_decoder >= least


def test_its_file_gives_it_back_rounded_to_float16(decoder: MaskDecoder, vae: AutoencoderKLWan, tmp_path: Path) -> None:
    save_mask_decoder(tmp_path / FILE, decoder, decoder_hash(vae), "a decoder")
    loaded = load_mask_decoder(tmp_path / FILE, vae, CPU)
    for name, value in decoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())


def test_any_width_is_read_from_the_file(vae: AutoencoderKLWan, tmp_path: Path) -> None:
    save_mask_decoder(tmp_path / FILE, MaskDecoder(20), decoder_hash(vae), "a decoder")
    assert load_mask_decoder(tmp_path / FILE, vae, CPU)(_latents(5)).shape == (2, 5, 24, 32)


def test_the_teacher_is_known_by_any_names_and_types(vae: AutoencoderKLWan) -> None:
    class Original(torch.nn.Module):
        def state_dict(self, *args: object, **options: object) -> dict[str, Tensor]:
            return to_original(vae.state_dict())

    half = AutoencoderKLWan(base_dim=4)
    half.load_state_dict(vae.state_dict())
    assert decoder_hash(Original()) == decoder_hash(vae) == decoder_hash(half.bfloat16())


@pytest.mark.parametrize("part", ("decoder.conv_in.weight", "post_quant_conv.bias", "encoder.conv_in.weight"))
def test_it_is_refused_beside_another_decoder_and_taken_beside_another_encoder(
    decoder: MaskDecoder, vae: AutoencoderKLWan, tmp_path: Path, part: str
) -> None:
    save_mask_decoder(tmp_path / FILE, decoder, decoder_hash(vae), "a decoder")
    other = AutoencoderKLWan(base_dim=4)
    other.load_state_dict(vae.state_dict())
    with torch.no_grad():
        other.get_parameter(part).add_(0.5)
    if part.startswith("encoder"):
        load_mask_decoder(tmp_path / FILE, other, CPU)
    else:
        with pytest.raises(ValueError, match=r"of another VAE than this model's: use decoder vae"):
            load_mask_decoder(tmp_path / FILE, other, CPU)


def test_other_files_are_called_none(tmp_path: Path, vae: AutoencoderKLWan) -> None:
    weights = MINI_FOLDER / "vae" / "rem_mini_vae.safetensors"
    assert distilled_from(weights) is None
    with pytest.raises(ValueError, match="is no mask decoder"):
        load_mask_decoder(weights, vae, CPU)
    (tmp_path / FILE).write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 cut short")
    with pytest.raises(ValueError, match="damaged"):
        load_mask_decoder(tmp_path / FILE, vae, CPU)


def test_one_with_numbers_that_are_not_finite_is_refused(vae: AutoencoderKLWan, tmp_path: Path) -> None:
    damaged = MaskDecoder()
    torch.nn.init.constant_(damaged.to_full.weight, torch.nan)
    save_mask_decoder(tmp_path / FILE, damaged, decoder_hash(vae), "a decoder")
    with pytest.raises(ValueError, match=r"to_full.weight of mask_decoder.safetensors holds values that are not fin"):
        load_mask_decoder(tmp_path / FILE, vae, CPU)


def test_a_model_without_one_says_so(tiny_wan: Path, tiny_modelscope: Path) -> None:
    for folder, told in (
        (tiny_wan, r"mask_decoder.safetensors is missing\): use decoder vae"),
        (tiny_modelscope, "ModelScope has no"),
    ):
        with pytest.raises(ValueError, match=told):
            load_segmenter(folder, decoder="mask", device="cpu")


def test_the_engine_draws_masks_by_the_one_beside_the_model(
    decoder: MaskDecoder, tiny_wan: Path, tmp_path: Path
) -> None:
    """Held against the decoder alone, on the mask latents that the model predicts."""
    folder = Path(shutil.copytree(tiny_wan, tmp_path / "wan"))
    backbone = load_backbone(folder, device="cpu")
    save_mask_decoder(folder / FILE, decoder, decoder_hash(backbone.vae), "a decoder")
    settings = {"decoder": "mask", "device": "cpu", "size": (32, 48), "window": 5, "overlap": 0}
    segmenter = load_segmenter(folder, **settings)
    frames = torch.rand(5, 32, 48, 3, generator=torch.Generator().manual_seed(0)).numpy()
    soft = segmenter.segment(frames, ["smoke", "fire"]).soft
    latents = backbone.encode_video(torch.from_numpy(frames).permute(0, 3, 1, 2) * 2 - 1)
    embeds = torch.stack([backbone.encode_text(prompt) for prompt in ("smoke", "fire")])
    half = load_mask_decoder(folder / FILE, backbone.vae, CPU)
    expected = half(backbone.predict_mask_latents(latents, embeds)).clamp(0, 1)
    torch.testing.assert_close(soft, expected, atol=1e-5, rtol=0)
    streaming = load_segmenter(folder, memory="stream", **settings)
    assert all(weight.is_meta for weight in streaming.backbone.vae.parameters())  # the decoder leaves none behind
    torch.testing.assert_close(streaming.segment(frames, ["smoke", "fire"]).soft, expected, atol=1e-5, rtol=0)

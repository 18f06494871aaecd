"""Weights are named for what they are, and those that do not fit are told with the first differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import torch

from rem_engine.backbones.base import WAN
from rem_engine.checkpoints import check, describe, to_diffusers, to_original
from rem_engine.checkpoints.architecture import architecture_id, is_for_modelscope, text_to_video_shapes
from rem_engine.checkpoints.read import open_state_dict


def meta(shapes: Mapping[str, Iterable[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}


def wan(width: int, feed_forward: int, blocks: int, channels: int = 16) -> dict[str, torch.Tensor]:
    """Weights of a Wan transformer, in their real shapes and without values."""
    begin = {
        "patch_embedding.weight": (width, channels, 1, 2, 2),
        "blocks.0.ffn.0.weight": (feed_forward, width),
        f"blocks.{blocks - 1}.modulation": (1, 6, width),
    }
    return meta(text_to_video_shapes(meta(begin)) | {"patch_embedding.weight": (width, channels, 1, 2, 2)})


T5_QUERY = "encoder.block.0.layer.0.SelfAttention.q.weight"
UMT5_SIGN = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"
WAN_T5_SIGN = "blocks.0.pos_embedding.embedding.weight"
SD_INPUT, SD_TEXT = "input_blocks.0.0.weight", "input_blocks.1.1.transformer_blocks.0.attn2.to_k"

# Sizes as Wan-AI's config.json files give them.
SMALL, LARGE = (1536, 8960, 30), (5120, 13824, 40)


def test_shapes_are_those_of_diffusers_own_model(golden: Path) -> None:
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        model = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30)
    expected = {name: tuple(tensor.shape) for name, tensor in to_original(model.state_dict()).items()}
    assert text_to_video_shapes(wan(*SMALL)) == expected
    stored = to_original(open_state_dict(golden / "wan" / "base" / "transformer"))
    assert text_to_video_shapes(stored) == {name: tuple(entry.shape) for name, entry in stored.items()}


def test_weights_are_told_by_the_familys_own_text_width() -> None:
    # Written twice: checkpoints lie below backbones and cannot read it there.
    assert text_to_video_shapes(wan(*SMALL))["text_embedding.0.weight"] == (SMALL[0], WAN.text_width)


@pytest.mark.parametrize(
    ("weights", "words", "id_"),
    [
        (wan(*SMALL), "Wan2.1 1.3B", "wan2.1-t2v-1.3b"),
        (wan(*LARGE), "Wan2.1 14B", "wan2.1-t2v-14b"),
        (to_diffusers(wan(*LARGE)), "Wan2.1 14B", "wan2.1-t2v-14b"),
        (wan(5120, 13824, 40, channels=36), "Wan2.1 I2V 14B", None),
        (wan(*SMALL) | meta({"img_emb.proj.0.weight": (1280,)}), "Wan2.1 I2V 1.3B", None),
        (wan(*LARGE) | meta({"vace_patch_embedding.weight": (5120, 96, 1, 2, 2)}), "Wan2.1 VACE 14B", None),
        (wan(3072, 14336, 30, channels=48), "Wan2.2 5B", None),
        (wan(256, 512, 2), "a Wan transformer of width 256 with 2 blocks", "wan2.1-t2v"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wan_transformers_are_named(weights: dict[str, torch.Tensor], words: str, id_: str | None) -> None:
    assert describe(weights) == words
    if id_ is not None:
        assert architecture_id(weights) == id_


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({}, "no weights at all"),
        ({"blocks.0.self_attn.q.lora_down.weight": (4, 8)}, "a LoRA or delta, not a whole model"),
        ({"diffusion_model.blocks.0.modulation.diff": (1, 6, 8)}, "a LoRA or delta, not a whole model"),
        ({"conv2.weight": (16, 16, 1, 1, 1), "decoder.head.0.gamma": (96, 1, 1, 1)}, "a Wan2.1 VAE"),
        ({"post_quant_conv.weight": (48, 48, 1, 1, 1), "decoder.norm_out.gamma": (256, 1, 1, 1)}, "a Wan2.2 VAE"),
        ({"encoder.down.0.block.0.conv1.weight": (128, 128, 3, 3)}, "an image VAE"),
        ({"shared.weight": (256384, 4096), T5_QUERY: (4096, 4096), UMT5_SIGN: (32, 64)}, "a UMT5-XXL text encoder"),
        ({"shared.weight": (32128, 4096), T5_QUERY: (4096, 4096)}, "a T5-XXL text encoder"),
        ({"token_embedding.weight": (256384, 4096), WAN_T5_SIGN: (32, 64)}, "a UMT5-XXL text encoder"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)}, "a CLIP text encoder"),
        ({"vision_model.embeddings.class_embedding": (1280,)}, "a CLIP vision encoder"),
        ({SD_INPUT: (320, 4, 3, 3), f"{SD_TEXT}.weight": (320, 768)}, "a Stable Diffusion 1.5 UNet"),
        ({SD_INPUT: (320, 4, 3, 3), "label_emb.0.0.weight": (1280, 2816)}, "a Stable Diffusion XL UNet"),
        ({"double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "Flux"),
        ({"model.layers.0.weight": (3,)}, "a model of another kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_models_are_named(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    assert describe(meta(shapes)) == words


def test_an_official_unet_is_named(golden: Path) -> None:
    assert describe(open_state_dict(golden / "modelscope" / "rem_ms.pth")) == "the ModelScope text-to-video UNet"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("diffusion_model.mid_block.temp_attentions.0.proj_in.diff", True),
        ("base_model.model.up_blocks.1.attentions.0.proj_in.lora_A.weight", True),
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight", True),
        ("diffusion_model.blocks.0.self_attn.q.lora_up.weight", False),
        ("decoder.up_blocks.0.resnets.0.conv1.weight", False),
    ],
)
def test_changes_of_a_unet_are_known_by_its_layers(name: str, expected: bool) -> None:
    assert is_for_modelscope(meta({name: (4, 4)})) is expected


def test_checkpoints_are_known_by_their_backbone(golden: Path) -> None:
    assert is_for_modelscope(open_state_dict(golden / "modelscope" / "rem_ms.pth"))
    assert not is_for_modelscope(open_state_dict(golden / "wan" / "rem_wan.pth"))


def test_a_size_that_does_not_fit_is_told_with_both_names() -> None:
    small, large = wan(*SMALL), wan(*LARGE)
    with pytest.raises(
        ValueError, match=r"^rem\.pth does not fit: this is Wan2\.1 1\.3B, the MODEL is Wan2\.1 14B \("
    ) as told:
        check(small, {name: tensor.shape for name, tensor in large.items()}, "rem.pth", "the MODEL")
    assert "patch_embedding.weight is [1536, 16, 1, 2, 2] instead of [5120, 16, 1, 2, 2]" in str(told.value)
    assert "missing: blocks.30." in str(told.value)
    check(large, {name: tensor.shape for name, tensor in large.items()}, "rem.pth")


def test_a_model_cut_short_is_told_with_the_first_names() -> None:
    weights = wan(*LARGE)
    cut = {name: tensor for name, tensor in weights.items() if not name.startswith("blocks.39.")}
    assert text_to_video_shapes(cut).keys() == weights.keys()  # the host would count 39 blocks and load them
    with pytest.raises(ValueError, match=r"with 39 of its 40 blocks.*missing: blocks\.39\..* and 24 more"):
        check(cut, text_to_video_shapes(cut), "cut.pth")


def test_another_architecture_is_told(golden: Path) -> None:
    modelscope = open_state_dict(golden / "modelscope" / "rem_ms.pth")
    with pytest.raises(ValueError, match=r"this is the ModelScope text-to-video UNet, the model is Wan2\.1 14B"):
        check(modelscope, {name: tensor.shape for name, tensor in wan(*LARGE).items()}, "rem_ms.pth")

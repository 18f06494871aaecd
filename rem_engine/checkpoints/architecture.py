"""What weights are, told from their names and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .adapter import is_adapter
from .names import Shaped, split_components

_BLOCK = re.compile(r"blocks\.(\d+)\.")

# Wan transformers by width and feed-forward width: family, size, blocks. From the configurations Wan-AI publishes.
_WAN = {
    (1536, 8960): ("Wan2.1", "1.3B", 30),
    (5120, 13824): ("Wan2.1", "14B", 40),
    (3072, 14336): ("Wan2.2", "5B", 30),
}
_TEXT_TO_VIDEO_CHANNELS = (16, 48)  # of latents alone: Wan2.1's VAE, Wan2.2's
_TEXT_WIDTH, _TIME_WIDTH = 4096, 256  # of UMT5-XXL; of the sines that stand for a timestep
_IMAGE_TO_VIDEO_CHANNELS = 36  # beside them, those of a first frame and of its mask

MODELSCOPE = "the ModelScope text-to-video UNet"
_UNET_LAYER = re.compile(r"(?:^|[._])(?:down_blocks|mid_block|up_blocks)[._]")
_IMAGE_EMBEDDERS = ("img_emb.", "condition_embedder.image_embedder.")

_SD_BY_TEXT_WIDTH = {768: "a Stable Diffusion 1.5 UNet", 1024: "a Stable Diffusion 2 UNet"}

# Other models that lie about in the same folders, by a sign among their names.
_OTHERS = (
    (r"^joint_blocks\.", "Stable Diffusion 3"),
    (r"^txt_in\.individual_token_refiner\.", "HunyuanVideo"),
    (r"^double_blocks\.", "Flux"),
    (r"^(vision_model|visual)\.", "a CLIP vision encoder"),
    (r"^(transformer\.)?text_model\.", "a CLIP text encoder"),
)


def describe(weights: Mapping[str, Shaped]) -> str:
    """Say in a few words what weights are: "Wan2.1 14B", "the Wan2.1 VAE", "a LoRA or delta, not a whole model", ...

    Args:
        weights: tensors, or whatever has their shapes, under diffusers' or the original names.
    """
    if not weights:
        return "no weights at all"
    if is_adapter(weights):
        return "a LoRA or delta, not a whole model"
    if "patch_embedding.weight" in weights:
        return _describe_wan(weights)
    return (
        _describe_vae(weights)
        or _describe_t5(weights)
        or _describe_unet(weights)
        or next((kind for sign, kind in _OTHERS if any(re.search(sign, name) for name in weights)), None)
        or "a model of another kind"
    )


def architecture_id(weights: Mapping[str, Shaped]) -> str | None:
    """The `modelspec.architecture` of a denoiser REM works on, such as "wan2.1-t2v-14b"; None for anything else."""
    kind = describe(weights)
    if kind == MODELSCOPE:
        return "modelscope-t2v"
    if "patch_embedding.weight" not in weights or is_adapter(weights):
        return None
    known = _known_wan(weights)
    return "wan2.1-t2v" if known is None else f"{known[0]}-t2v-{known[1]}".lower()


def is_for_modelscope(weights: Mapping[str, Shaped]) -> bool:
    """Whether a checkpoint is REM on ModelScope: a whole UNet, with or without a VAE, or changes of a UNet."""
    if is_adapter(weights):
        return any(_UNET_LAYER.search(name) for name in weights)
    return describe(split_components(weights)["transformer"]) == MODELSCOPE


def text_to_video_shapes(weights: Mapping[str, Shaped]) -> dict[str, tuple[int, ...]]:
    """Every weight of the Wan text-to-video transformer that such weights are meant for.

    Args:
        weights: some of them, under the original names; the width is read from `patch_embedding`, the depth of
            Wan-AI's own sizes is known, others are as deep as their last block says.

    Returns:
        shapes by original name.
    """
    width, channels = weights["patch_embedding.weight"].shape[:2]
    inner = _feed_forward_width(weights) or width
    depth = 1 + max((int(match[1]) for name in weights if (match := _BLOCK.match(name))), default=0)
    if (width, inner) in _WAN:
        depth = _WAN[width, inner][2]
    latents = channels if channels in _TEXT_TO_VIDEO_CHANNELS else _TEXT_TO_VIDEO_CHANNELS[0]
    layers = {
        "time_embedding.0": (width, _TIME_WIDTH),
        "time_embedding.2": (width, width),
        "time_projection.1": (6 * width, width),
        "text_embedding.0": (width, _TEXT_WIDTH),
        "text_embedding.2": (width, width),
        "head.head": (4 * latents, width),
    }
    bare: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (width, latents, 1, 2, 2),
        "patch_embedding.bias": (width,),
        "head.modulation": (1, 2, width),
    }
    for block in (f"blocks.{number}." for number in range(depth)):
        for attention in (f"{block}self_attn.", f"{block}cross_attn."):
            layers |= {f"{attention}{projection}": (width, width) for projection in "qkvo"}
            bare |= {f"{attention}norm_{side}.weight": (width,) for side in "qk"}
        layers |= {f"{block}ffn.0": (inner, width), f"{block}ffn.2": (width, inner)}
        bare |= {f"{block}norm3.{kind}": (width,) for kind in ("weight", "bias")}
        bare[f"{block}modulation"] = (1, 6, width)
    return (
        bare
        | {f"{layer}.weight": shape for layer, shape in layers.items()}
        | {f"{layer}.bias": shape[:1] for layer, shape in layers.items()}
    )


def _known_wan(weights: Mapping[str, Shaped]) -> tuple[str, str, int] | None:
    """Family, size and blocks of a Wan transformer of Wan-AI's own sizes."""
    inner = _feed_forward_width(weights)
    return None if inner is None else _WAN.get((weights["patch_embedding.weight"].shape[0], inner))


def _describe_wan(weights: Mapping[str, Shaped]) -> str:
    width, channels = weights["patch_embedding.weight"].shape[:2]
    blocks = len({match[1] for name in weights if (match := _BLOCK.match(name))})
    known = _known_wan(weights)
    kind = _wan_kind(weights, channels)
    if known is None:
        return f"a Wan {kind}transformer of width {width} with {blocks} block{'s' * (blocks != 1)}"
    family, size, its_blocks = known
    return f"{family} {kind}{size}" + (f" with {blocks} of its {its_blocks} blocks" if blocks != its_blocks else "")


def _wan_kind(weights: Mapping[str, Shaped], channels: int) -> str:
    """What a Wan transformer takes beside text, with a space after it."""
    if any(name.startswith(("vace_", "vace.")) for name in weights):
        return "VACE "
    if channels == _IMAGE_TO_VIDEO_CHANNELS or any(name.startswith(_IMAGE_EMBEDDERS) for name in weights):
        return "I2V "
    return "" if channels in _TEXT_TO_VIDEO_CHANNELS else f"({channels} input channels) "


def _describe_vae(weights: Mapping[str, Shaped]) -> str | None:
    if any(name.startswith(("encoder.", "decoder.")) and name.endswith(".gamma") for name in weights):
        latents = _first(weights, "conv2.weight", "post_quant_conv.weight")
        generation = None if latents is None else {16: "Wan2.1", 48: "Wan2.2"}.get(latents.shape[0])
        return f"a {generation or 'Wan'} VAE"
    if any(name.startswith(("encoder.down.", "encoder.mid_block.", "decoder.up.")) for name in weights):
        return "an image VAE"
    return None


def _describe_t5(weights: Mapping[str, Shaped]) -> str | None:
    table = _first(weights, "shared.weight", "token_embedding.weight")  # transformers; Wan-AI's own file
    if any(name.startswith("encoder.block.") for name in weights):
        # UMT5 has a table of relative positions in every block, T5 in the first alone.
        kind = (
            "UMT5" if any(re.match(r"encoder\.block\.1\..*relative_attention_bias", name) for name in weights) else "T5"
        )
    elif "token_embedding.weight" in weights and "blocks.0.pos_embedding.embedding.weight" in weights:
        kind = "UMT5"
    else:
        return None
    return f"a {kind}{'-XXL' if table is not None and table.shape[1] == 4096 else ''} text encoder"


def _describe_unet(weights: Mapping[str, Shaped]) -> str | None:
    if not any(name.startswith(("input_blocks.", "down_blocks.")) for name in weights):
        return None
    if any(".temp_attentions." in name for name in weights):
        return MODELSCOPE
    if any(name.startswith(("label_emb.", "add_embedding.")) for name in weights):
        return "a Stable Diffusion XL UNet"
    text = next((tensor for name, tensor in weights.items() if name.endswith(".attn2.to_k.weight")), None)
    return _SD_BY_TEXT_WIDTH.get(text.shape[1] if text is not None else 0, "a diffusion UNet")


def _feed_forward_width(weights: Mapping[str, Shaped]) -> int | None:
    layer = _first(weights, "blocks.0.ffn.0.weight", "blocks.0.ffn.net.0.proj.weight")
    return None if layer is None else layer.shape[0]


def _first(weights: Mapping[str, Shaped], *names: str) -> Shaped | None:
    return next((weights[name] for name in names if name in weights), None)

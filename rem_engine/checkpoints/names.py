"""Parameter names of Wan2.1: diffusers' and the original ones, which ComfyUI uses.

Only names differ; every tensor is the same in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar


class Shaped(Protocol):
    """A tensor, or anything else that has a shape."""

    @property
    def shape(self) -> Sequence[int]: ...


_Tensor = TypeVar("_Tensor", bound=Shaped)
_Rename = tuple[str, str]  # diffusers, original

_TRANSFORMER_TOP: tuple[_Rename, ...] = (
    ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
    ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
    ("condition_embedder.time_proj.", "time_projection.1."),
    ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
    ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
    ("scale_shift_table", "head.modulation"),
    ("proj_out.", "head.head."),
)
_TRANSFORMER_BLOCK: tuple[_Rename, ...] = (
    ("scale_shift_table", "modulation"),
    ("norm2.", "norm3."),
    ("ffn.net.0.proj.", "ffn.0."),
    ("ffn.net.2.", "ffn.2."),
    *(
        (f"{diffusers}.{projection}.", f"{original}.{short}.")
        for diffusers, original in (("attn1", "self_attn"), ("attn2", "cross_attn"))
        for projection, short in (
            ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"), ("norm_q", "norm_q"), ("norm_k", "norm_k"),
        )
    ),
)  # fmt: skip
_VAE_TOP: tuple[_Rename, ...] = (
    ("quant_conv.", "conv1."),
    ("post_quant_conv.", "conv2."),
    *(
        (f"{side}.{diffusers}.", f"{side}.{original}.")
        for side in ("encoder", "decoder")
        for diffusers, original in (
            ("conv_in", "conv1"),
            ("norm_out", "head.0"),
            ("conv_out", "head.2"),
            ("mid_block.resnets.0", "middle.0"),
            ("mid_block.attentions.0", "middle.1"),
            ("mid_block.resnets.1", "middle.2"),
        )
    ),
    ("encoder.down_blocks.", "encoder.downsamples."),
)
_VAE_RESIDUAL: tuple[_Rename, ...] = (
    ("norm1.", "residual.0."),
    ("conv1.", "residual.2."),
    ("norm2.", "residual.3."),
    ("conv2.", "residual.6."),
    ("conv_shortcut.", "shortcut."),
)

_BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")
_DIFFUSERS_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.(?:resnets\.(\d+)|upsamplers\.0)\.(.+)")
_ORIGINAL_UP = re.compile(r"decoder\.upsamples\.(\d+)\.(.+)")
_DIFFUSERS_RESIDUAL = re.compile(
    r"((?:encoder|decoder)\.(?:mid_block\.resnets\.\d+|down_blocks\.\d+|up_blocks\.\d+\.resnets\.\d+)\.)(.+)"
)
_ORIGINAL_RESIDUAL = re.compile(r"((?:encoder|decoder)\.(?:middle|downsamples|upsamples)\.\d+\.)(.+)")

# The Wan2.1 decoder has three residual blocks and then an upsampler at each level (its last level has none).
_UP_STRIDE = 4


def split_components(state_dict: Mapping[str, _Tensor]) -> dict[str, dict[str, _Tensor]]:
    """Separate the weights of a file into {"transformer": ..., "vae": ...}; a component that is not there is empty."""
    parts: dict[str, dict[str, _Tensor]] = {"transformer": {}, "vae": {}}
    for name, tensor in state_dict.items():
        parts["vae" if _is_vae(name) else "transformer"][name] = tensor
    return parts


def to_diffusers(state_dict: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Rename the weights of a Wan2.1 transformer or VAE, or both, to diffusers' names.

    Names that are diffusers' already, or unknown, stay as they are.
    """
    return {name_to_diffusers(name): tensor for name, tensor in state_dict.items()}


def to_original(state_dict: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Rename the weights of a Wan2.1 transformer or VAE, or both, to the original names, which ComfyUI uses.

    Names that are original already, or unknown, stay as they are.
    """
    return {name_to_original(name): tensor for name, tensor in state_dict.items()}


def _is_vae(name: str) -> bool:
    return name.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "conv1.", "conv2."))


def name_to_diffusers(name: str) -> str:
    """One name: see `to_diffusers`."""
    if block := _BLOCK.fullmatch(name):
        return block[1] + _rename(block[2], _TRANSFORMER_BLOCK, 1)
    if not _is_vae(name):
        return _rename(name, _TRANSFORMER_TOP, 1)
    if residual := _ORIGINAL_RESIDUAL.fullmatch(name):
        name = residual[1] + _rename(residual[2], _VAE_RESIDUAL, 1)
    if up := _ORIGINAL_UP.fullmatch(name):
        level, place = divmod(int(up[1]), _UP_STRIDE)
        part = "upsamplers.0" if place == _UP_STRIDE - 1 else f"resnets.{place}"
        return f"decoder.up_blocks.{level}.{part}.{up[2]}"
    return _rename(name, _VAE_TOP, 1)


def name_to_original(name: str) -> str:
    """One name: see `to_original`."""
    if block := _BLOCK.fullmatch(name):
        return block[1] + _rename(block[2], _TRANSFORMER_BLOCK, 0)
    if not _is_vae(name):
        return _rename(name, _TRANSFORMER_TOP, 0)
    if residual := _DIFFUSERS_RESIDUAL.fullmatch(name):
        name = residual[1] + _rename(residual[2], _VAE_RESIDUAL, 0)
    if up := _DIFFUSERS_UP.fullmatch(name):
        place = _UP_STRIDE - 1 if up[2] is None else int(up[2])
        return f"decoder.upsamples.{_UP_STRIDE * int(up[1]) + place}.{up[3]}"
    return _rename(name, _VAE_TOP, 0)


def _rename(name: str, table: tuple[_Rename, ...], source: int) -> str:
    for pair in table:
        if name.startswith(pair[source]):
            return pair[1 - source] + name.removeprefix(pair[source])
    return name

"""Matrices of Wan's blocks rounded to eight bits, in the forms that ComfyUI keeps them in."""

from __future__ import annotations

import json
import re

import torch
from torch import Tensor

from .scales import INT8_FORMAT
from .stored import FLOAT8

EIGHT_BITS = (*FLOAT8, torch.int8)

# What is rounded; everything else (norms, biases, modulation, embeddings, head) stays as it is.
_MATRIX = re.compile(r"blocks\.\d+\.(?:(?:self|cross)_attn\.[qkvo]|ffn\.[02])\.weight")
# The largest float8_e4m3fn. For e5m2 too: ComfyUI 0.8.0 turns every scaled fp8 file into e4m3.
_FLOAT8_MAX = 448.0
_INT8_MAX = 127.0


def is_matrix(name: str) -> bool:
    """Whether a weight, by its original name, is one of those that are kept in eight bits."""
    return _MATRIX.fullmatch(name) is not None


def rounded(values: Tensor, dtype: torch.dtype, name: str) -> tuple[Tensor, dict[str, Tensor]]:
    """A matrix in eight bits.

    Args:
        values: float32 [out,in].
        dtype: one of `EIGHT_BITS`.
        name: under which it is stored.

    Returns:
        it, and what a file holds beside it: for fp8 one scale and ComfyUI's marker `scaled_fp8`, for int8 a scale a
        row and the layer's `comfy_quant`.
    """
    layer = name.removesuffix(".weight")
    smallest = torch.finfo(torch.float32).tiny
    if dtype == torch.int8:
        scale = (values.abs().amax(1, keepdim=True) / _INT8_MAX).clamp(min=smallest)
        # Inputs of a layer are not to be rounded, which would cost more than rounding its weights.
        settings = json.dumps({"format": INT8_FORMAT, "full_precision_matrix_mult": True}).encode()
        beside = {f"{layer}.weight_scale": scale, f"{layer}.comfy_quant": torch.tensor([*settings], dtype=torch.uint8)}
        return (values / scale).round().to(torch.int8), beside
    scale = (values.abs().amax() / _FLOAT8_MAX).clamp(min=smallest)
    # Two elements say: multiply in the wide type. ComfyUI's own files have the marker so.
    return (values / scale).to(dtype), {f"{layer}.scale_weight": scale, "scaled_fp8": torch.zeros(2, dtype=dtype)}

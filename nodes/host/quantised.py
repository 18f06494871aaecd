"""Weights in few bits in the host: which it computes with as they are, and what the others become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import comfy.model_management
import comfy.supported_models
import torch
from torch import Tensor
from torch.nn import Parameter

from ...rem_engine.checkpoints.packing import packing_of
from ...rem_engine.checkpoints.scales import FORMATS
from ...rem_engine.checkpoints.stored import COARSE, StoredTensor, map_tensors
from ...rem_engine.memory import free_bytes
from ...rem_engine.sizes import gigabytes

FULL_PRECISION = (torch.float32, torch.float16, torch.bfloat16)
"""Types in which a weight is kept as it is, without a scale or packing."""


def weights_for_host(stored: Mapping[str, StoredTensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """What the host's loader of diffusion models takes: files of any size as they lie, in fp8 and int8 with the scales
    that it knows, and what it does not know multiplied out.

    Args:
        stored: a denoiser's weights, under the original names.
        dtype: the type to multiply out to. None: what the host computes in.
    """
    kept = {name: entry for name, entry in stored.items() if _is_kept(entry)}
    weights = map_tensors(
        {name: replace(entry, scale=None) if name in kept else entry for name, entry in stored.items()},
        dtype or type_of_host(stored),
    )
    for name, entry in kept.items():
        layer = name.removesuffix(".weight")
        scale = entry.scale.read().float() if entry.scale is not None else torch.ones(())
        weights[f"{layer}.weight_scale"] = scale.reshape(-1, 1) if scale.numel() > 1 else scale.reshape(())
        # Inputs of a layer are not rounded to its few bits, which would cost more than rounding the weights did.
        settings = {"format": _FORMAT_NAMES[entry.stored_dtype], "full_precision_matrix_mult": True}
        weights[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)
    return weights


def type_of_host(stored: Mapping[str, StoredTensor]) -> torch.dtype:
    """The type in which the host keeps a Wan denoiser of so many weights."""
    count = sum(entry.shape.numel() for entry in stored.values())
    supported = list(comfy.supported_models.WAN21_T2V.supported_inference_dtypes)
    return comfy.model_management.unet_dtype(model_params=count, supported_dtypes=supported)


def check_fits_host(stored: Mapping[str, StoredTensor], label: str, what: str) -> None:
    """Refuse weights that a host without a GPU would not have the memory for, before any are loaded.

    Args:
        stored: a denoiser's, under the original names.
        label: the file's name, for the message.
        what: the model that it is, for the message.

    Raises:
        ValueError: they do not fit.
    """
    management = comfy.model_management
    free = free_bytes()
    if free is None or not management.is_device_cpu(management.get_torch_device()):
        return
    dtype = type_of_host(stored)
    needed = sum(entry.nbytes if _is_kept(entry) else entry.shape.numel() * dtype.itemsize for entry in stored.values())
    if needed > free:
        raise ValueError(
            f"{label} is {what}, whose weights ComfyUI keeps in {str(dtype).removeprefix('torch.')} on a CPU: that "
            f"takes {gigabytes(needed)} of memory, and {gigabytes(free)} are free. Run ComfyUI on a GPU, or segment "
            "outside of it, where weights stay in their file: python -m rem_engine segment --memory stream."
        )


def is_quantised(weight: Tensor) -> bool:
    """Whether a parameter of a MODEL is kept in less than 16 bits (fp8, scaled or not; int8; GGUF)."""
    if is_packed(weight):
        return _packing_number(weight) is not None
    return type(weight) is not Parameter or weight.dtype not in FULL_PRECISION


def is_packed(weight: Tensor) -> bool:
    """Whether a parameter is of ComfyUI-GGUF's kind, which is unpacked, and only then changed, at every use."""
    return hasattr(weight, "tensor_type")


def stored_type(weight: Tensor) -> torch.dtype:
    """The type a parameter's numbers are kept in; of a quantised tensor of the host's, that of what it holds."""
    held: Any = getattr(weight, "_qdata", weight)
    return held.dtype


def row_of_weight(weight: Tensor, number: int) -> tuple[Tensor, torch.dtype]:
    """A row of a parameter, whatever it is kept in, float32 on the CPU, and a type that says whether it is exact."""
    if is_packed(weight):
        kind = _packing_number(weight)
        plain = weight.as_subclass(Tensor)[number]
        if kind is None:
            return plain.reshape(-1).float().cpu(), plain.dtype
        return packing_of(kind).unpacked(plain.view(torch.uint8).cpu(), 1).reshape(-1), torch.uint8
    if type(weight) in (Parameter, Tensor):
        return weight.detach()[number].reshape(-1).float().cpu(), weight.dtype
    whole: Any = weight
    return whole.dequantize().detach()[number].reshape(-1).float().cpu(), COARSE[0]


def _packing_number(weight: Tensor) -> int | None:
    """GGML's number of a packed parameter's type; None where its numbers lie as torch has them."""
    kind: Any = getattr(weight, "tensor_type", None)
    return None if kind is None or getattr(kind, "name", "") in ("F32", "F16") else int(kind)


_FORMAT_NAMES = {dtype: name for name, dtype in FORMATS.items()}


def _is_kept(entry: StoredTensor) -> bool:
    """Whether the host computes with a weight as it lies in its file, given its scale."""
    if entry.scale is None or len(entry.shape) != 2 or entry.stored_dtype not in _FORMAT_NAMES:
        return False
    if entry.stored_dtype != torch.int8 and entry.scale.shape.numel() > 1:
        return False
    return _FORMAT_NAMES[entry.stored_dtype] in _known_formats()


def _known_formats() -> Mapping[str, Any]:
    """Of quantised weights, those that the host knows: none before 0.8, and none without comfy-kitchen."""
    try:
        import comfy.quant_ops as quantised
    except ImportError:
        return {}
    return quantised.QUANT_ALGOS if getattr(quantised, "_CK_AVAILABLE", False) else {}

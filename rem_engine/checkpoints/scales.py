"""Weights in fp8 and int8 whose scales lie beside them, as ComfyUI writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from .stored import FLOAT8, StoredTensor

INT8_FORMAT = "int8_tensorwise"
"""ComfyUI's name of int8 with a scale a tensor or a row."""

FORMATS = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2, INT8_FORMAT: torch.int8}
"""Those with a scale a tensor or a row, by ComfyUI's names, and the types of their weights."""

_LAYERS = "_quantization_metadata"  # of a safetensors file: in place of tensors called comfy_quant
_SETTINGS_LIMIT = 4096  # bytes that say how a layer is quantised; ComfyUI's take some forty

# Of NVFP4 and its like, ComfyUI's W4A8 and AWQ's smoothing of inputs, bitsandbytes, GPTQ and AWQ, SVDQuant.
_OTHER_FORMS = re.compile(
    r"\.(?:weight_scale_2|weight_s_rel|weight_s_channel|weight_codebook|pre_quant_scale|weight_zero_point|absmax"
    r"|quant_map|quant_state\.bitsandbytes__\w+|SCB|qweight|qzeros|wscales)$"
)
# Scales of a layer's input only serve multiplying in fp8; of the marker, its size alone says something, of that too.
_LEFT_OUT = ("scaled_fp8", "scale_input", "input_scale")


def unite_scales(stored: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> dict[str, StoredTensor]:
    """Give weights in fp8 and int8 their scales, which files keep beside them.

    Knows ComfyUI's two forms: a marker `scaled_fp8` with `<layer>.scale_weight` and `.scale_input`; and
    `<layer>.weight_scale` and `.input_scale`, with what kind they are of in `<layer>.comfy_quant` or in the file's
    metadata.

    Args:
        stored: the tensors of a file, by bare names.
        metadata: of the file.

    Raises:
        ValueError: a kind of quantisation that has more to it than scales of tensors or rows.
    """
    united: dict[str, StoredTensor] = {}
    scales = {}
    label = next((entry.file.name for entry in stored.values()), "")
    settings = _settings(metadata.get(_LAYERS), label)
    for name, entry in stored.items():
        layer, _, kind = name.rpartition(".")
        if kind in ("scale_weight", "weight_scale"):
            scales[f"{layer}.weight"] = entry
        elif kind == "comfy_quant":
            if entry.nbytes > _SETTINGS_LIMIT:
                raise _damaged(label)
            settings[layer] = _parsed(entry.read().view(torch.uint8).numpy().tobytes(), entry.file.name)
        elif _OTHER_FORMS.search(name):
            raise _other_form(entry.file.name, name)
        elif kind not in _LEFT_OUT:
            united[name] = entry
    for layer, its in settings.items():
        name = f"{layer}.weight"
        dtype = _type_of_form(its, name, label)
        # As bytes some files hold fp8.
        if name in united and united[name].stored_dtype == torch.uint8:
            united[name] = replace(united[name], stored_dtype=dtype)
    for name, scale in scales.items():
        if (
            name not in united
            or united[name].stored_dtype not in (*FLOAT8, torch.int8)
            or scale.shape.numel() not in (1, united[name].shape[0])
        ):
            raise ValueError(f"{scale.file.name} has a scale for {name} that fits no such weight; download it again.")
        united[name] = replace(united[name], scale=scale)
    for name, entry in united.items():
        if entry.stored_dtype == torch.int8 and entry.scale is None and name.endswith(".weight"):
            raise ValueError(f"{label} has no scale for {name}, which is in int8; download it again.")
    return united


def _type_of_form(settings: Mapping[str, Any], name: str, label: str) -> torch.dtype:
    """The type of weights that are quantised so; ValueError where that is another form."""
    form, own = settings.get("format"), settings.get("params")
    rotated = any(each.get("convrot") for each in (settings, own) if isinstance(each, Mapping))
    if form not in FORMATS or rotated:
        raise _other_form(label, f"{name}, {form}{', rotated' if rotated else ''}")
    return FORMATS[form]


def _settings(text: str | None, label: str) -> dict[str, Mapping[str, Any]]:
    """How layers are quantised, by their names, as a file's metadata say it."""
    if text is None:
        return {}
    layers = _parsed(text, label).get("layers", {})
    if not isinstance(layers, Mapping) or not all(isinstance(layer, Mapping) for layer in layers.values()):
        raise _damaged(label)
    return {str(name): layer for name, layer in layers.items()}


def _parsed(text: str | bytes, label: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(label) from error
    if not isinstance(content, Mapping):
        raise _damaged(label)
    return content


def _damaged(label: str) -> ValueError:
    return ValueError(f"{label} is damaged: what it says of its quantisation cannot be read; download it again.")


def _other_form(label: str, what: str) -> ValueError:
    return ValueError(
        f"{label} is quantised in a form this does not read ({what}); plain or scaled fp8, int8 with a scale a tensor "
        "or a row, GGUF, or any wider type, is expected."
    )

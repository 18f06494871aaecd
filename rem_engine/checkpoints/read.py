"""State dicts out of files, without running anything a file contains."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_INDEX_SUFFIX = ".safetensors.index.json"
_PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")

# Where trainers put the weights among other things: REM's Wan and ModelScope runs.
_WEIGHT_ENTRIES = ("model_state", "unet")

# Wrappers around a component's own names, outermost first: DistributedDataParallel; REM's trainer; ComfyUI.
_PREFIXES = (
    "module.",
    "backbone.dit.",
    "backbone.vae.",
    "backbone.unet.",
    "model.diffusion_model.",
    "first_stage_model.",
)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a file, or of a model folder's component (`transformer/`, `vae/`, ...).

    Understands safetensors, sharded safetensors (through their index), and the official REM `.pth`. A `.pth` is
    unpickled through an allow-list: a file that asks for anything else is refused and nothing in it runs. Tensors are
    mapped from the file where the format permits, so that large files cost no memory until they are used.

    Returns:
        Tensors by name, without wrapping prefixes such as `module.` or `backbone.dit.`. A file that holds several
        components (transformer and VAE) gives them together; `split_components` separates them.

    Raises:
        FileNotFoundError: nothing there, or a shard is missing.
        ValueError: not a readable checkpoint, or one that holds more than weights and plain settings.
    """
    path = Path(path)
    if path.is_dir():
        path = _component_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}; check the name, or download the file first.")
    if path.name.endswith(_INDEX_SUFFIX):
        tensors = _read_sharded(path)
    elif path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix in _PICKLE_SUFFIXES:
        tensors = _read_pickle(path)
    else:
        raise ValueError(
            f"{path.name} is not a checkpoint this reads; .safetensors, its .index.json, or .pth is expected."
        )
    return _without_prefixes(tensors)


def _component_file(folder: Path) -> Path:
    indexes = sorted(folder.glob(f"*{_INDEX_SUFFIX}"))
    found = indexes or sorted(folder.glob("*.safetensors"))
    if not found:
        raise FileNotFoundError(f"There are no weights in {folder}; one .safetensors file is expected there.")
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{folder} holds several sets of weights ({names}); leave one there.")
    return found[0]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path.name} is damaged or not a safetensors file ({error}); download it again.") from error


def _read_sharded(index: Path) -> dict[str, Tensor]:
    try:
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index.name} is not an index of safetensors files; download it again.") from error
    tensors: dict[str, Tensor] = {}
    for name in shards:
        # An index is data from outside: it may only name files beside it.
        shard = index.parent / Path(name).name
        if not shard.is_file():
            raise FileNotFoundError(f"{index.name} lists {name}, which is missing from {index.parent}; download it.")
        tensors.update(_read_safetensors(shard))
    return tensors


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle can fail in any way
        refused = re.search(r"GLOBAL ([\w.]+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is None:
            raise ValueError(f"{path.name} is damaged or not a PyTorch checkpoint; download it again.") from error
        raise ValueError(
            f"{path.name} was not read: beyond weights it asks for {refused[1]}, which could run code when loaded. "
            "Use safetensors, or a checkpoint as REM's authors publish it."
        ) from error
    weights = content
    if isinstance(content, Mapping):
        weights = next((content[entry] for entry in _WEIGHT_ENTRIES if entry in content), content)
    tensors = _tensors(weights)
    if not tensors:
        raise ValueError(f"{path.name} holds no weights by name; a state dict or REM's own .pth is expected.")
    return tensors


def _allowed_globals() -> list[Any]:
    """What REM's Wan checkpoints hold beyond torch's weights-only defaults: the trainer's arguments."""
    scalar = np._core.multiarray.scalar if hasattr(np, "_core") else np.core.multiarray.scalar
    return [
        Namespace,
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),
        np.dtype,
        np.dtypes.Float64DType,
    ]


def _tensors(weights: Any) -> dict[str, Tensor]:
    if not isinstance(weights, Mapping):
        return {}
    return {name: value for name, value in weights.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    bare = {}
    for name, tensor in tensors.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        bare[name] = tensor
    return bare

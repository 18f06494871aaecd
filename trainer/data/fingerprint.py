"""Hashes that say whether something kept on disk is still what would be computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ENCODING_PARTS = ("encoder.", "quant_conv.")
"""What of a VAE makes latents: beginnings of the names of its weights."""


def module_hash(module: nn.Module, prefixes: tuple[str, ...] = ("",)) -> str:
    """SHA-256 of a module's weights, those whose names begin with one of `prefixes`."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.startswith(prefixes):
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values."""
    return hashlib.sha256(_bytes(tensor)).hexdigest()


def files_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of files' paths, sizes and times of last change; one that does not exist counts as such."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except FileNotFoundError:
            state = "missing"
        digest.update(f"{path}\0{state}\0".encode())
    return digest.hexdigest()


def value_hash(value: Any) -> str:
    """SHA-256 of a value that JSON can hold; paths count as their text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _bytes(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()

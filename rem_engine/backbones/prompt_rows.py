"""What a text encoder gave for a prompt, kept on disk: the next run that asks for it needs no text encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.kept_tensors import KeptTensors
from ..content_hash import content_hash
from .base import TEXT_ROWS

_KEPT = 1000
"""Prompts, of all encoders together, beyond which the oldest go: one takes 16 kB a token for Wan."""
_KEPT_BYTES = 2**31


class PromptRows:
    """Rows of prompts on disk; see `KeptTensors`.

    An entry is of the prompt's text, of what the encoder's files hold, and of what it was computed with.

    Args:
        files: of the encoder and its tokenizer.
        computed: what else the rows depend on: type of numbers, kind of device.
    """

    def __init__(self, files: Sequence[Path], computed: Mapping[str, str]) -> None:
        self._files, self._computed = files, dict(computed)

    def get(self, prompt: str) -> Tensor | None:
        """Rows float32 [n,D] of a prompt; None where they are not known."""
        rows = self._kept.get(self._name(prompt))
        if rows is None or rows.dtype != torch.float32 or rows.ndim != 2 or not 0 < len(rows) <= TEXT_ROWS:
            return None
        return rows if rows.isfinite().all() else None

    def keep(self, prompt: str, rows: Tensor) -> None:
        """Keep rows float32 [n,D] of a prompt."""
        self._kept.keep(self._name(prompt), rows)

    @property
    def _kept(self) -> KeptTensors:
        return KeptTensors("prompts", most=_KEPT, most_bytes=_KEPT_BYTES)

    def _name(self, prompt: str) -> str:
        return hashlib.sha256(json.dumps([prompt, self._encoder]).encode()).hexdigest()

    @cached_property
    def _encoder(self) -> list[object]:
        versions = {package: version(package) for package in ("torch", "transformers")}
        return [content_hash(self._files), self._computed, versions]

"""What a text encoder gave for a prompt, kept on disk: the next run that asks for it needs no text encoder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.safetensors_file import Writer, read_index
from ..content_hash import content_hash
from ..whole_files import written_whole
from .base import TEXT_ROWS

_KEPT = 1000
"""Prompts, of all encoders together, beyond which the oldest go: one takes 16 kB a token for Wan."""

_log = logging.getLogger(__name__)


class PromptRows:
    """Rows of prompts in the folder that huggingface_hub has for what libraries keep ($HF_ASSETS_CACHE).

    An entry is of the prompt's text, of what the encoder's files hold, and of what it was computed with. A folder that
    cannot be written to keeps nothing, and costs nothing but time.

    Args:
        files: of the encoder and its tokenizer.
        computed: what else the rows depend on: type of numbers, kind of device.
    """

    def __init__(self, files: Sequence[Path], computed: Mapping[str, str]) -> None:
        self._files, self._computed = files, dict(computed)

    def get(self, prompt: str) -> Tensor | None:
        """Rows float32 [n,D] of a prompt; None where they are not known."""
        file = self._file(prompt)
        if file is None or not file.is_file():
            return None
        try:
            rows = read_index(file).tensors["rows"].read()
        except (OSError, ValueError, KeyError) as error:
            _log.debug("rows of a prompt in %s are of no use: %s", file, error)
            return None
        is_whole = rows.dtype == torch.float32 and rows.ndim == 2 and 0 < len(rows) <= TEXT_ROWS
        return rows if is_whole and rows.isfinite().all() else None

    def keep(self, prompt: str, rows: Tensor) -> None:
        """Keep rows float32 [n,D] of a prompt."""
        file = self._file(prompt)
        if file is None:
            return
        try:
            with written_whole(file) as temporary, open(temporary, "wb") as stream:
                writer = Writer(stream, ["rows"], {})
                writer.add("rows", rows.dtype, rows.shape, [rows])
                writer.finish()
            written = sorted(file.parent.glob("*.safetensors"), key=lambda one: one.stat().st_mtime)
            for old in written[:-_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _log.debug("rows of a prompt were not kept in %s: %s", file, error)

    def _file(self, prompt: str) -> Path | None:
        from huggingface_hub import cached_assets_path

        name = hashlib.sha256(json.dumps([prompt, self._encoder]).encode()).hexdigest()
        try:
            return cached_assets_path("refereverything", "prompts", "rows") / f"{name}.safetensors"
        except (OSError, ValueError) as error:  # the latter where a file is in its place
            _log.debug("there is no folder for rows of prompts: %s", error)
            return None

    @cached_property
    def _encoder(self) -> list[object]:
        versions = {package: version(package) for package in ("torch", "transformers")}
        return [content_hash(self._files), self._computed, versions]

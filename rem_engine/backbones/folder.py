"""Model folders in diffusers' layout: what every backbone does to load one, offline and checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import check
from ..checkpoints.read import open_state_dict
from ..checkpoints.stored import StoredTensor
from ..input_files import is_refusal
from .base import FAMILIES, WAN, Family, Network
from .checkpoint import Checkpoint, Weights
from .configuration import build, read_config, read_json


def family_of(folder: Path) -> Family:
    """The family of a model folder, by its denoiser; Wan2.1 where none is there, whose loader says what is missing."""
    others = (family for family in FAMILIES.values() if family is not WAN)
    return next((family for family in others if (folder / family.denoiser).is_dir()), WAN)


def check_parts(folder: Path, parts: Sequence[str]) -> None:
    """Raise FileNotFoundError for the first of `parts`, paths in a model folder, that is not there."""
    for part in parts:
        if not (folder / part).exists():
            names = [Path(part).parts[0] for part in parts]
            raise FileNotFoundError(
                f"{folder} has no {part}; a model folder holds {', '.join(names[:-1])} and {names[-1]}."
            )


def load_component(
    folder: Path,
    model_class: type[Network],
    rem: Checkpoint,
    *,
    family: str,
    rename: Callable[[Mapping[str, StoredTensor]], dict[str, StoredTensor]],
    dtype: Callable[[str], torch.dtype],
) -> tuple[Network, Weights]:
    """Build the denoiser or the VAE of a model folder, without memory, and find its weights, REM's where a checkpoint
    holds them.

    Args:
        folder: the component's, with config.json; the VAE's is called "vae".
        model_class: of diffusers.
        rem: the checkpoint that is laid over.
        family: the model's, for messages.
        rename: from the names in files to diffusers' present ones.
        dtype: by a weight's name, the type it is kept in.

    Raises:
        FileNotFoundError: the folder holds no weights.
        ValueError: a component of another class, or weights, deltas or LoRAs that do not fit.
    """
    whole, overlays = (rem.vae, ()) if folder.name == "vae" else (rem.denoiser, rem.overlays)
    source = rem.label if whole else folder.name
    config = read_config(folder, model_class, family)
    stored = rename(whole or open_state_dict(folder))
    model = build(folder / "config.json", lambda: model_class.from_config(config), stored)
    check_weights(model, stored, f"{source} ({folder.name})")
    return model, Weights(stored, dtype, overlays)


def check_weights(model: Network, stored: Mapping[str, StoredTensor], label: str) -> None:
    """Raise ValueError for weights other than a model's."""
    check(stored, {name: value.shape for name, value in model.state_dict().items()}, label)


def fill(model: Network, weights: Weights, device: torch.device) -> Network:
    """Give a model built without memory its weights, one at a time, in the type each is kept in.

    Raises:
        ValueError: weights that are no finite numbers.
    """
    model.load_state_dict({name: weights.read(name, device) for name in weights.stored}, assign=True)
    return frozen(model)


def before_first_call(model: Network, do: Callable[[], object]) -> None:
    """Have something done when a model is called for the first time."""

    def first_call(*_: object) -> None:
        do()
        hook.remove()

    hook = model.register_forward_pre_hook(first_call)


def frozen(model: Network) -> Network:
    """The model, for inference: without gradients, or autocast would keep a half-precision copy of every float32
    weight through a pass."""
    return model.eval().requires_grad_(False)


def load_tokenizer(folder: Path, rows: int | None = None) -> Any:
    """The tokenizer of a model folder; no code that comes with it is run.

    Args:
        folder: the model's.
        rows: of the text encoder's table, one a token; None where that is not loaded.

    Raises:
        ValueError: it cannot be read, asks for code of its own, or has more tokens than that.
    """
    from transformers import AutoTokenizer

    place = folder / "tokenizer"
    check_no_code(place)
    try:
        with _in_silence("transformers"):
            tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # damaged files can fail in any way
        if is_refusal(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if "pip install" in reason:  # a spiece.model that cannot be read is taken for another library's
            reason = "it is of no form that is known"
        raise ValueError(
            f"The tokenizer in {place} cannot be read ({reason.rstrip('.')}); download its files again."
        ) from error
    if not tokenizer.is_fast or (rows is not None and len(tokenizer) > rows):
        raise ValueError(
            f"The tokenizer in {place} has {len(tokenizer)} tokens, and the text encoder beside it a row for {rows}; "
            "parts of one model are expected: download both again."
        )
    return tokenizer


@contextmanager
def _in_silence(library: str) -> Iterator[None]:
    """Within `with`, what a library tries before it raises is not logged."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_no_code(place: Path) -> None:
    """Raise ValueError where a tokenizer's folder asks for code that comes with it, or its settings are no JSON."""
    for name in ("tokenizer_config.json", "config.json"):
        if (place / name).is_file():
            read_json(place / name)

"""Model folders in diffusers' layout: what every backbone does to load one, offline and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import Change, check, describe, is_adapter, read_changes, split_components
from ..checkpoints.adapter import apply_change, check_changes, check_strength
from ..checkpoints.names import name_to_diffusers
from ..checkpoints.read import open_state_dict
from ..checkpoints.stored import StoredTensor, map_tensors
from .base import FAMILIES, WAN, Family, Network


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


@dataclass(frozen=True)
class Checkpoint:
    """REM weights to lay over a model folder; it holds either whole components or changes, or nothing.

    Attributes:
        label: the file's name.
        denoiser, vae: whole weights as the file names them; empty for a component it does not hold.
        changes: what a delta or LoRA changes of the denoiser, by diffusers' names.
        strength: of the changes, 0..1.
    """

    label: str = ""
    denoiser: Mapping[str, StoredTensor] = field(default_factory=dict)
    vae: Mapping[str, StoredTensor] = field(default_factory=dict)
    changes: Mapping[str, Change] = field(default_factory=dict)
    strength: float = 1.0


def open_checkpoint(path: Path | None, strength: float = 1.0) -> Checkpoint:
    """Open a REM checkpoint of any form; None is one that holds nothing.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not REM weights, or a strength they do not take.
    """
    check_strength(strength)
    label, stored = ("", {}) if path is None else (path.name, open_state_dict(path))
    if is_adapter(stored):
        changes = read_changes(map_tensors(stored))
        renamed = {name_to_diffusers(name): change for name, change in changes.items()}
        return Checkpoint(label, changes=renamed, strength=strength)
    if strength != 1.0:
        raise ValueError(
            "A strength is for a delta or LoRA; whole weights take the place of the model's, leave it at 1."
        )
    whole = split_components(stored)
    if stored and not whole["transformer"]:
        raise ValueError(f"{label} holds no transformer, this is {describe(stored)}; a REM denoiser is expected.")
    return Checkpoint(label, whole["transformer"], whole["vae"])


def load_component(
    folder: Path,
    model_class: type[Network],
    whole: Mapping[str, StoredTensor],
    rem: Checkpoint,
    *,
    family: str,
    rename: Callable[[Mapping[str, StoredTensor]], dict[str, StoredTensor]],
    device: torch.device,
    dtype: Callable[[str], torch.dtype],
) -> Network:
    """Build a component of a model folder and give it its weights.

    Args:
        folder: the component's, with config.json.
        model_class: of diffusers.
        whole: REM's weights of it, out of `rem`; the folder's are read where there are none.
        rem: the checkpoint that is laid over.
        family: the model's, for messages.
        rename: from the names in files to diffusers' present ones.
        device: where it runs.
        dtype: by a weight's name, the type it is kept in.

    Raises:
        FileNotFoundError: the folder holds no weights.
        ValueError: a component of another class, or weights that do not fit.
    """
    source = rem.label if whole else folder.name
    with torch.device("meta"):
        model = model_class.from_config(read_config(folder, model_class.__name__, family))
    return fill(model, rename(whole or open_state_dict(folder)), f"{source} ({folder.name})", device, dtype)


def fill(
    model: Network,
    weights: Mapping[str, StoredTensor],
    label: str,
    device: torch.device,
    dtype: Callable[[str], torch.dtype],
) -> Network:
    """Give a model built without memory its weights, one at a time, in the type each is kept in.

    Raises:
        ValueError: weights other than the model's.
    """
    check(weights, {name: value.shape for name, value in model.state_dict().items()}, label)
    filled = {name: entry.read().to(device, dtype(name)) for name, entry in weights.items()}
    model.load_state_dict(filled, assign=True)
    # Frozen, or autocast would keep a half-precision copy of every float32 weight through a pass.
    return model.eval().requires_grad_(False)


def lay_over(model: Network, rem: Checkpoint) -> None:
    """Add a delta or LoRA to a denoiser's weights, in place; whole weights are in it already."""
    weights = model.state_dict()
    check_changes(weights, rem.changes, rem.label)
    for name, change in rem.changes.items():
        weights[name].copy_(apply_change(weights[name], change, rem.strength))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder.

    Raises:
        ValueError: it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"The tokenizer in {folder} cannot be read: {error}") from error


def read_config(folder: Path, class_name: str, family: str) -> dict[str, Any]:
    """config.json of a component.

    Raises:
        ValueError: of another class than `class_name`, which is `family`'s.
    """
    config = read_json(folder / "config.json")
    if config.get("_class_name") != class_name:
        raise ValueError(f"{folder} holds a {config.get('_class_name')}, where a {class_name} ({family}) is expected.")
    return config


def read_defaults(folder: Path) -> dict[str, Any]:
    """rem.json as arguments of a backbone; a plain base model has none.

    Raises:
        ValueError: it lacks something.
    """
    path = folder / "rem.json"
    if not path.is_file():
        return {}
    card = read_json(path)
    try:
        return {
            "name": str(card["name"]),
            "default_size": (int(card["size"][0]), int(card["size"][1])),
            "default_window": int(card["window"]),
            "default_overlap": int(card["overlap"]),
        }
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} must give name, size [H, W], window and overlap.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Raises ValueError for a file that is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error

"""REM weights that are laid over a model folder: whole ones, deltas and LoRAs, one or several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints import Change, describe, is_adapter, read_changes, split_components
from ..checkpoints.base_signature import BaseSignature, check_base, read_signature
from ..checkpoints.change import apply_change, check_changes, check_strength
from ..checkpoints.check import check_finite_weight
from ..checkpoints.names import name_to_diffusers, name_to_original
from ..checkpoints.nested import chosen_part
from ..checkpoints.read import open_state_dict
from ..checkpoints.safetensors_file import read_metadata
from ..checkpoints.stored import FLOAT8, StoredTensor, map_tensors

Paths = str | Path | Sequence[str | Path] | None
"""One checkpoint, several, or none."""


@dataclass(frozen=True)
class Overlay:
    """A delta or LoRA.

    Attributes:
        label: the file's name.
        tensors: as the file names them.
        strength: how much of it, 0..1.
        signature, base: what it was made over, and what that is called, as far as the file says.
    """

    label: str
    tensors: Mapping[str, Tensor]
    strength: float = 1.0
    signature: BaseSignature | None = None
    base: str = ""

    def changes(self, weights: Collection[str] = ()) -> dict[str, Change]:
        """What it changes of a denoiser, by diffusers' names.

        Args:
            weights: the names of the denoiser's weights; see `read_changes`.

        Raises:
            ValueError: half a change, or one of a kind that is not read.
        """
        changes = read_changes(self.tensors, weights)
        return {name_to_diffusers(name): change for name, change in changes.items()}


@dataclass(frozen=True)
class Checkpoint:
    """REM weights to lay over a model folder.

    Attributes:
        label: name of the file with whole weights.
        denoiser, vae: whole weights as that file names them; empty for a component it does not hold.
        overlays: deltas and LoRAs, in the order in which they are laid over.
    """

    label: str = ""
    denoiser: Mapping[str, StoredTensor] = field(default_factory=dict)
    vae: Mapping[str, StoredTensor] = field(default_factory=dict)
    overlays: tuple[Overlay, ...] = ()


def checkpoint_paths(checkpoint: Paths) -> tuple[Path, ...]:
    """The files that a caller means."""
    if checkpoint is None:
        return ()
    return tuple(map(Path, (checkpoint,) if isinstance(checkpoint, str | Path) else checkpoint))


def checkpoint_files(checkpoint: Paths) -> list[Path]:
    """The files behind them: without the name of one of several denoisers in a file."""
    return [chosen_part(path)[0] for path in checkpoint_paths(checkpoint)]


def open_checkpoint(checkpoint: Paths, strength: float | Sequence[float] = 1.0) -> Checkpoint:
    """Open REM checkpoints of any form; None, or no path, is one that holds nothing.

    Args:
        checkpoint: at most one file of whole weights, which comes first wherever it stands, and deltas and LoRAs. Of
            one that holds several denoisers, the name of one after it: "rem.pth:ema".
        strength: of all deltas and LoRAs, or one for each of them, in their order; 0..1.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not REM weights, whole ones twice, or strengths they do not take.
    """
    strengths = [strength] if isinstance(strength, int | float) else [*strength]
    for one in strengths:
        check_strength(one)
    whole, differences = Checkpoint(), []
    for path in checkpoint_paths(checkpoint):
        stored = open_state_dict(path)
        if is_adapter(stored):
            differences.append((path, stored))
        elif whole.label:
            raise ValueError(
                f"{whole.label} and {path.name} both hold whole weights, of which one alone can be the denoiser's; the "
                "others are to be deltas or LoRAs."
            )
        else:
            whole = _whole(path, stored)
    if not differences and any(one != 1.0 for one in strengths):
        raise ValueError(
            "A strength is for a delta or LoRA; whole weights take the place of the model's, leave it at 1."
        )
    if len(strengths) not in (1, len(differences)):
        raise ValueError(
            f"There are {len(strengths)} strengths and {len(differences)} deltas and LoRAs; give one for each of them, "
            "in their order, or one for all."
        )
    if len(strengths) == 1:
        strengths *= len(differences)
    overlays = tuple(
        _overlay(path, stored, strength) for (path, stored), strength in zip(differences, strengths, strict=True)
    )
    return Checkpoint(whole.label, whole.denoiser, whole.vae, overlays)


def lay_over(model: nn.Module, overlays: Sequence[Overlay], stored: Mapping[str, StoredTensor]) -> None:
    """Add deltas and LoRAs to a denoiser's weights, in place; whole weights are in it already.

    Args:
        model: the denoiser.
        overlays: what is laid over, in this order.
        stored: the weights that `model` was filled with, in any names.

    Raises:
        ValueError: changes of another model, made over another base, or that give no finite numbers.
    """
    weights = model.state_dict()
    by_original = {name_to_original(name): weight for name, weight in weights.items()}
    # What was fp8 in the file is as coarse in the model, whatever it is kept in.
    coarse = next((entry.stored_dtype for entry in stored.values() if entry.stored_dtype in FLOAT8), None)

    def row(name: str, number: int) -> tuple[Tensor, torch.dtype]:
        weight = by_original[name]
        return weight[number], coarse or weight.dtype

    for overlay in overlays:
        changes = overlay.changes(weights)
        check_changes(weights, changes, overlay.label)
        check_base(overlay.signature, by_original, row, overlay.label, overlay.base)
        for name, change in changes.items():
            changed = apply_change(weights[name], change, overlay.strength)
            check_finite_weight(changed, name_to_original(name), overlay.label, torch.float32)
            weights[name].copy_(changed)


def read_base(path: Path) -> tuple[BaseSignature | None, str]:
    """What a delta or LoRA was made over, and what that is called, as far as the file says.

    Raises:
        ValueError: it is damaged.
    """
    path, _ = chosen_part(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return None, ""
    metadata = read_metadata(path)
    return read_signature(metadata, path.name), metadata.get("rem.base", "")


def _whole(path: Path, stored: Mapping[str, StoredTensor]) -> Checkpoint:
    parts = split_components(stored)
    if not parts["transformer"]:
        raise ValueError(f"{path.name} holds no transformer, this is {describe(stored)}; a REM denoiser is expected.")
    return Checkpoint(path.name, parts["transformer"], parts["vae"])


def _overlay(path: Path, stored: Mapping[str, StoredTensor], strength: float) -> Overlay:
    overlay = Overlay(path.name, map_tensors(stored), strength, *read_base(path))
    overlay.changes()  # of a kind that is not read it is refused before a model is loaded
    return overlay

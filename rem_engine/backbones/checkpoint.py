"""REM weights that are laid over a model folder: whole ones, deltas and LoRAs, one or several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints import Change, describe, is_adapter, read_changes, split_components
from ..checkpoints.base_signature import BaseSignature, check_base, read_signature
from ..checkpoints.change import apply_change, change_row, check_changes, check_strength
from ..checkpoints.check import check_finite_weight
from ..checkpoints.names import name_to_diffusers, name_to_original
from ..checkpoints.nested import chosen_part
from ..checkpoints.read import open_file
from ..checkpoints.stored import StoredFile, StoredTensor, map_tensors
from ..wording import there_are

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


def checkpoint_entry(checkpoint: Paths) -> str | list[str] | None:
    """Checkpoints as a run's account has them: None, a path, or a list of several."""
    names = [str(path) for path in checkpoint_paths(checkpoint)]
    return names if len(names) > 1 else next(iter(names), None)


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
    return checkpoint_of([(path, open_file(path)) for path in checkpoint_paths(checkpoint)], strength)


def checkpoint_of(files: Sequence[tuple[Path, StoredFile]], strength: float | Sequence[float] = 1.0) -> Checkpoint:
    """REM checkpoints out of files that are open already, by their paths.

    Args, Raises: see `open_checkpoint`.
    """
    strengths = [strength] if isinstance(strength, int | float) else [*strength]
    for one in strengths:
        check_strength(one)
    whole, differences = Checkpoint(), []
    for path, file in files:
        if is_adapter(file.tensors):
            differences.append((path, file))
        elif whole.label:
            raise ValueError(
                f"{whole.label} and {path.name} both hold whole weights, of which one alone can be the denoiser's; the "
                "others are to be deltas or LoRAs."
            )
        else:
            whole = _whole(path, file.tensors)
    if not differences and any(one != 1.0 for one in strengths):
        raise ValueError(
            "A strength is for a delta or LoRA; whole weights take the place of the model's, leave it at 1."
        )
    if len(strengths) not in (1, len(differences)):
        raise ValueError(
            f"{there_are(len(strengths), 'strength')}, and {len(differences)} in all of deltas and LoRAs; give one "
            "for each of them, in their order, or one for all."
        )
    if len(strengths) == 1:
        strengths *= len(differences)
    overlays = tuple(
        _overlay(path.name, file, strength) for (path, file), strength in zip(differences, strengths, strict=True)
    )
    return Checkpoint(whole.label, whole.denoiser, whole.vae, overlays)


@dataclass(frozen=True)
class Weights:
    """A component's weights in their files, with what is laid over them: any one can be had without the others.

    Attributes:
        stored: by the names of diffusers' or transformers' module.
        dtype: by a weight's name, the type it is kept in.
        overlays: deltas and LoRAs, in the order in which they are added.
    """

    stored: Mapping[str, StoredTensor]
    dtype: Callable[[str], torch.dtype]
    overlays: tuple[Overlay, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for changes of another model, or made over another base."""
        for place, (overlay, changes) in enumerate(self._laid_over):
            check_changes(self.stored, changes, overlay.label)
            row = partial(self._row, place)
            check_base(overlay.signature, self._by_original, row, overlay.label, overlay.base)

    def read(self, name: str, device: torch.device) -> Tensor:
        """One weight as the module takes it: changes are added in float32, before it is rounded to its type.

        Raises:
            ValueError: it, or a change of it, holds numbers that are not finite.
        """
        entry = self.stored[name]
        weight = entry.read()
        for overlay, changes in self._laid_over:
            if name in changes and overlay.strength:
                check_finite_weight(weight, name, entry.file.name)
                weight = apply_change(weight.float(), changes[name], overlay.strength)
                check_finite_weight(weight, name_to_original(name), overlay.label, torch.float32)
        kept = weight.to(device, self.dtype(name))
        check_finite_weight(kept, name, entry.file.name, weight.dtype)
        return kept

    def nbytes(self, name: str) -> int:
        """What a weight takes in memory, once read."""
        return self.stored[name].shape.numel() * self.dtype(name).itemsize

    @cached_property
    def _laid_over(self) -> list[tuple[Overlay, dict[str, Change]]]:
        return [(overlay, overlay.changes(self.stored)) for overlay in self.overlays]

    @cached_property
    def _by_original(self) -> dict[str, StoredTensor]:
        return {name_to_original(name): entry for name, entry in self.stored.items()}

    def _row(self, overlays: int, name: str, number: int) -> tuple[Tensor, torch.dtype]:
        """For `check_base`: a row once so many overlays are added."""
        entry = self._by_original[name]
        row = entry.row(number).float()
        for overlay, changes in self._laid_over[:overlays]:
            if (change := changes.get(name_to_diffusers(name))) is not None:
                row = row + overlay.strength * change_row(change, number)
        return row, entry.stored_dtype


def base_of(file: StoredFile, label: str) -> tuple[BaseSignature | None, str]:
    """What a delta or LoRA was made over, and what that is called, as far as its file says.

    Raises:
        ValueError: it is damaged.
    """
    return read_signature(file.metadata, label), file.metadata.get("rem.base", "")


def _whole(path: Path, stored: Mapping[str, StoredTensor]) -> Checkpoint:
    parts = split_components(stored)
    if not parts["transformer"]:
        raise ValueError(f"{path.name} holds no transformer, this is {describe(stored)}; a REM denoiser is expected.")
    return Checkpoint(path.name, parts["transformer"], parts["vae"])


def _overlay(label: str, file: StoredFile, strength: float) -> Overlay:
    overlay = Overlay(label, map_tensors(file.tensors), strength, *base_of(file, label))
    overlay.changes()  # of a kind that is not read it is refused before a model is loaded
    return overlay

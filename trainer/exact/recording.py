"""Training steps recorded with the authors' code: what went in, and what came out.

A recording is a folder of two files. tensors.safetensors holds the batches: `<batch>.pixels` [B,T,3,H,W] in -1..1 or
`<batch>.frames_u8`, `<batch>.masks` [B,T,H,W] of 0 and 1, perhaps `<batch>.p_emb` [B,L,D] and `<batch>.noise`, where
<batch> is a kind (image, video) with anything around it; and perhaps latents and weights after a step, by the step's
name or batch. expected.json holds the steps: a list `steps`, taken in a row, or entries by name, each from the initial
weights; and beside them what all steps share (`optimizer`, `prompts`, ...).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor

from rem_engine.input_files import NotJson, load_json, told_as_damage

_FRAMES = ("pixels", "frames_u8")
_KINDS = ("image", "video")
_SCHEDULE = re.compile(r"x([\d.]+) for step ?< ?(\d+), ?x([\d.]+) after")


@dataclass(frozen=True)
class RecordedStep:
    """A step.

    Attributes:
        name: of the entry; empty where it has none.
        kind: image or video.
        number: of the step in its training run, from 0.
        expected: what was recorded: `loss`, `grad_norm` by name, ...
        inputs: the batch's tensors: pixels or frames_u8, masks, ...
        outputs: tensors that came out, by name.
        prompts: sentences, one a clip; empty where none were recorded.
    """

    name: str
    kind: str
    number: int
    expected: Mapping[str, Any]
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class RecordedRun:
    """Steps in a row, from the initial weights.

    Attributes:
        name: of the entry; empty where it has none.
        steps: in order.
        shared: what expected.json states for all runs.
    """

    name: str
    steps: tuple[RecordedStep, ...]
    shared: Mapping[str, Any]

    def optim_overrides(self) -> dict[str, Any]:
        """The recorded settings of the optimizer, as overrides for `load_settings`."""
        first = self.steps[0]
        optimizer = self.shared.get("optimizer") or {}
        stated = {**optimizer, **{name: value for name, value in first.expected.items() if name != "lr"}}
        found: dict[str, Any] = {
            f"optim.{setting}": stated[name]
            for name, setting in (
                ("betas", "betas"),
                ("eps", "eps"),
                ("weight_decay", "weight_decay"),
                ("no_decay_if_name_contains", "no_decay"),
                ("clip_val", "clip_value"),
            )
            if name in stated
        }
        factor = 1.0
        if schedule := _SCHEDULE.search(str(self.shared.get("lr_schedule", ""))):
            before, start, after = float(schedule[1]), int(schedule[2]), float(schedule[3])
            found["optim.schedule"] = {"kind": "steps", "at": [[start, after / before]]}
            factor = after / before if first.number >= start else 1.0
        if "lr" in optimizer:
            found["optim.lr"] = optimizer["lr"]
        elif "lr" in first.expected:
            lr = first.expected["lr"]
            found["optim.lr"] = (lr[0] if isinstance(lr, list) else lr) / factor
        return found


def read_recording(folder: Path) -> list[RecordedRun]:
    """Read a recording.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: no steps in them, or a step without its batch.
    """
    path, values = folder / "expected.json", folder / "tensors.safetensors"
    for file in (path, values):
        if not file.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {file.name}; a recorded step has expected.json beside tensors.safetensors."
            )
    try:
        shared = load_json(path)
    except NotJson as error:
        raise ValueError(f"{path} cannot be read: {error}; record the steps again.") from error
    with told_as_damage(f"{values} is damaged: record the steps again."):
        tensors = load_file(values)
    runs = [
        RecordedRun(name, _steps(name, entries, shared, tensors, path), shared)
        for name, entries in (_entries(shared).items() if isinstance(shared, Mapping) else ())
    ]
    if not runs:
        raise ValueError(f"{path} records no step; a list 'steps', or an entry with a loss, is expected.")
    return runs


def _entries(shared: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The steps of each run by the run's name; a list that has no other name than `steps` goes by none."""
    runs = {}
    for name, value in shared.items():
        if isinstance(value, Mapping) and isinstance(value.get("steps"), list):
            value = value["steps"]
        entries = value if isinstance(value, list) else [value]
        if entries and all(isinstance(entry, Mapping) and "loss" in entry for entry in entries):
            runs["" if name == "steps" else name] = entries
    return runs


def _steps(
    run: str,
    entries: list[Mapping[str, Any]],
    shared: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
) -> tuple[RecordedStep, ...]:
    names = [str(entry.get("name", run)) for entry in entries]
    kinds = [
        str(entry.get("kind") or next((kind for kind in _KINDS if kind in name), ""))
        for entry, name in zip(entries, names)
    ]
    steps: list[RecordedStep] = []
    for entry, name, kind, batch in zip(entries, names, kinds, _batches(kinds, tensors, path)):
        inputs = _under(f"{batch}.", tensors)
        previous = steps[-1].number if steps else -1
        number = int(entry.get("step", entry.get("iteration", previous + 1)))
        prompts = entry.get("prompts", shared.get("prompts", ()))
        if isinstance(prompts, Mapping):
            prompts = prompts.get(batch, prompts.get(kind, ()))
        prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        outputs = {**inputs, **(_under(f"{name}.", tensors) if name else {})}
        steps.append(RecordedStep(name, kind, number, entry, inputs, outputs, prompts))
    return tuple(steps)


def _batches(kinds: list[str], tensors: Mapping[str, Tensor], path: Path) -> list[str]:
    """For each step the batch of its kind; of several, the one with the step's place in its name, or the next."""
    named = {name.rpartition(".")[0] for name in tensors if name.rpartition(".")[2] in _FRAMES}
    found = sorted(named, key=lambda name: (len(name), name))
    of_kind = [[batch for batch in found if kind in batch] for kind in kinds]
    for place, (kind, batches) in enumerate(zip(kinds, of_kind)):
        if not batches:
            raise ValueError(
                f"{path} has a step {place} of kind {kind!r}, and tensors.safetensors has no batch for it; "
                f"its batches are {', '.join(found) or 'none'}."
            )
    by_place = [
        next((batch for batch in batches if str(place) in re.findall(r"\d+", batch)), "")
        for place, batches in enumerate(of_kind)
    ]
    if "" not in by_place:
        return by_place
    return [batches[kinds[:place].count(kinds[place]) % len(batches)] for place, batches in enumerate(of_kind)]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def recorded_noise(step: RecordedStep, shape: torch.Size, generator: torch.Generator | None) -> Tensor | None:
    """The noise of a step for latents [B,C,T,h,w]: as recorded, or drawn frame by frame as [B*T,C,h,w], as REM's does.

    Args:
        step: with a tensor `noise`, perhaps.
        shape: of the latents.
        generator: from the recorded seed; None where there is none.

    Returns:
        [B,C,T,h,w], or None where nothing was recorded.
    """
    batch, channels, frames, height, width = shape
    noise = step.inputs.get("noise")
    if noise is None:
        if generator is None:
            return None
        noise = torch.randn([batch * frames, channels, height, width], generator=generator)
    return rearrange(noise.reshape(batch, frames, channels, height, width), "b t c h w -> b c t h w")

"""Recorded training steps, taken again by the code that trains."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from rem_engine.backbones.base import MODELSCOPE, fit_text_rows
from rem_engine.backbones.folder import family_of
from rem_engine.backbones.load import find_model_folder

from ..data.sample import Sample
from ..model.objective import Batch, encode_clips, loss, model_clip
from ..model.trainable import Trainable, freeze, load_trainable
from ..run.optim import build_optimizer, clip_gradients, parameter_groups, set_rates
from ..settings import TrainSettings, load_settings
from .recording import RecordedRun, RecordedStep, read_recording, recorded_noise

LIMITS = {
    "loss": 1e-5,
    "grad_norm": 1e-4,
    "grad_norm_all": 1e-4,
    "lr": 1e-6,
    "param_after_step_norm": 2e-6,
    "n_params_with_grad": 0.0,
    "param_moved": 0.0,
}
"""Largest relative difference of what a recording may hold."""

_ROUNDING = 1e-8
"""Of the whole gradient's norm: what is allowed beside. Some gradients, as of a bias before a normalisation, are zero
but for rounding."""

_RATE_SHARE = 0.1
"""Of the learning rate: what is allowed beside in a norm after a step. A missed step changes it by about the rate."""


def verify_steps(folder: Path, model: str | Path, checkpoint: Path | None, device: torch.device) -> dict[str, Any]:
    """Take recorded steps again, in float32, and compare.

    Args:
        folder: the recording; see `trainer.exact.recording`.
        model, checkpoint: what the steps started from; see `load_trainable`.
        device: where they are taken.

    Returns:
        `steps`: of each, under the recording's own names, what was found; beside it `expected`,
        `relative_difference` of both, and of recorded tensors `max_difference`; `within_limits`; and `differs`, a
        sentence for everything beyond `LIMITS`.

    Raises:
        FileNotFoundError, ValueError: see `read_recording` and `load_trainable`.
    """
    folder_of_model = find_model_folder(model)
    steps, differs = [], []
    for run in read_recording(folder):
        settings = run_settings(run, family_of(folder_of_model) is MODELSCOPE)
        trainable = load_trainable(model, checkpoint, settings, device)
        differs += _compare_names(run, freeze(trainable, settings), trainable.denoiser, settings)
        for result in _take(run, trainable, settings):
            steps.append(result)
            differs += _beyond(result)
    return {"steps": steps, "within_limits": not differs, "differs": differs}


def run_settings(run: RecordedRun, modelscope: bool) -> TrainSettings:
    """The preset that a run was trained by, with the settings it recorded, in float32.

    ModelScope's stage is in the run's name; where it is not, images are stage 1.
    """
    preset = "wan_14b"
    if modelscope:
        stage = re.search(r"stage_?([12])", run.name)
        preset = f"modelscope_stage{stage[1] if stage else 1 if run.steps[0].kind == 'image' else 2}"
    in_float32 = {"precision": "float32", "gradient_checkpointing": False}
    return load_settings(preset, {**run.optim_overrides(), **in_float32})


def _take(run: RecordedRun, trainable: Trainable, settings: TrainSettings) -> list[dict[str, Any]]:
    """Take a run's steps by what `TrainingLoop` takes its own by: objective, groups, rates, clipping.

    Not by the loop itself: a recording tells the clipped gradients, which the loop lets go of, and numbers its steps as
    its own run did; and a deviation is found more easily without accelerate and checkpoints around it.
    """
    denoiser, optim = trainable.denoiser, settings.optim
    optimizer = build_optimizer(denoiser, optim)
    seed, results = run.shared.get("noise_seed"), []
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for step in run.steps:
        if "noise_seed" in step.expected:
            generator = torch.Generator().manual_seed(step.expected["noise_seed"])
        batch = recorded_batch(step, trainable, generator)
        predicted = _predicted(step, trainable, batch)
        set_rates(optimizer, optim, step.number, settings.steps or 1)
        optimizer.zero_grad(set_to_none=True)
        value = loss(trainable, denoiser, batch, settings.objective)
        value.backward()
        clip_gradients(denoiser.parameters(), optim)
        with_gradient = {name: p for name, p in denoiser.named_parameters() if p.grad is not None}
        norms = {name: p.grad.norm().item() for name, p in with_gradient.items() if p.grad is not None}
        before = {name: p.detach().clone() for name, p in with_gradient.items()}
        optimizer.step()
        found = {
            "loss": value.item(),
            "grad_norm": norms,
            "grad_norm_all": math.sqrt(sum(norm**2 for norm in norms.values())),
            "n_params_with_grad": len(norms),
            "param_moved": sum(not torch.equal(p, before[name]) for name, p in with_gradient.items()),
            "lr": [group["lr"] for group in optimizer.param_groups],
            "param_after_step_norm": {
                name: p.detach().double().norm().item() for name, p in denoiser.named_parameters()
            },
        }
        tensors = {"img_latents": batch.latents, "target_latents": batch.mask_latents, "pred_latents": predicted}
        tensors |= {f"after_step.{name}": p.detach() for name, p in denoiser.named_parameters()}
        results.append(_result(step, found, tensors))
    return results


def recorded_batch(step: RecordedStep, trainable: Trainable, generator: torch.Generator | None) -> Batch:
    """The batch of a recorded step.

    Args:
        step: with its inputs.
        trainable: encodes them.
        generator: of the noise, for a backbone that takes it.

    Raises:
        ValueError: no text, or no noise, was recorded.
    """
    masks = step.inputs["masks"].flatten(1, -3)  # some have an axis of one channel
    if "frames_u8" in step.inputs:
        frames = rearrange(step.inputs["frames_u8"], "b t c h w -> b t h w c").numpy()
        size = (frames.shape[2], frames.shape[3])
        samples = [Sample(clip, mask.numpy() > 0, "") for clip, mask in zip(frames, masks)]
        clips = [model_clip(sample, size) for sample in samples]
    else:
        clips = list(zip(step.inputs["pixels"], masks))
    if "p_emb" in step.inputs:
        rows = [fit_text_rows(each, each.shape[-1]) for each in step.inputs["p_emb"]]
    else:
        rows = [trainable.encode_text(prompt) for prompt in step.prompts]
    if len(rows) != len(clips):
        raise ValueError(
            f"The recorded {step.kind} batch has {len(clips)} clips and {len(rows)} texts; "
            "p_emb in tensors.safetensors or prompts in expected.json are expected, one a clip."
        )
    batch = encode_clips(trainable, clips, torch.stack(rows))
    if not trainable.takes_noise:
        return batch
    noise = recorded_noise(step, batch.latents.shape, generator)
    if noise is None:
        raise ValueError(f"The recorded {step.kind} batch has no noise; noise_seed in expected.json is expected.")
    return replace(batch, noise=noise.to(trainable.device))


@torch.no_grad()
def _predicted(step: RecordedStep, trainable: Trainable, batch: Batch) -> Tensor | None:
    if "pred_latents" not in step.outputs:
        return None
    return trainable.predict(batch.latents, batch.rows, noise=batch.noise)


def _result(step: RecordedStep, found: Mapping[str, Any], tensors: Mapping[str, Tensor | None]) -> dict[str, Any]:
    """What was found and what was recorded, side by side; only of what was recorded."""
    expected = {name: step.expected[name] for name in found if name in step.expected}
    own = {name: _as_recorded(found[name], value) for name, value in expected.items()}
    own |= {name: found[name] for name in ("grad_norm_all", "lr") if name not in own}
    result: dict[str, Any] = {"name": step.name, "kind": step.kind, "step": step.number, **own, "expected": expected}
    result["relative_difference"] = {name: _relative(own[name], value) for name, value in expected.items()}
    result["max_difference"] = {
        name: (_as_stored(tensor, value) - value.float()).abs().max().item()
        for name, value in step.outputs.items()
        if (tensor := tensors.get(name)) is not None
    }
    return result


def _as_recorded(found: Any, expected: Any) -> Any:
    """A finding in the form of its record: of the same names, or one rate for all groups that share it."""
    if isinstance(expected, Mapping):
        return {name: found.get(name) for name in expected}
    return found if isinstance(expected, list) else _first(found)


def _as_stored(tensor: Tensor, stored: Tensor) -> Tensor:
    """Latents [B,C,T,h,w] as ModelScope's are recorded, [B*T,C,h,w], where they are."""
    if tensor.ndim == 5 and stored.ndim == 4:
        tensor = rearrange(tensor, "b c t h w -> (b t) c h w")
    return tensor.float().cpu()


def _relative(found: Any, expected: Any) -> Any:
    if isinstance(expected, Mapping):
        return {name: _relative(found[name], value) for name, value in expected.items()}
    if expected is None:  # nothing was there: as of the gradient of what is frozen
        return None if found is not None else 0.0
    if isinstance(expected, list):
        return max((_relative(each, value) for each, value in zip(found, expected)), default=0.0)
    if found is None:
        return None
    return abs(found - expected) / abs(expected) if expected else abs(found)


def _beyond(result: Mapping[str, Any]) -> list[str]:
    """A sentence for each difference beyond its limit."""
    label = f"step {result['step']}" + (f" of {result['name']}" if result["name"] else "")
    beside = {
        "grad_norm": _ROUNDING * result["grad_norm_all"],
        "param_after_step_norm": _RATE_SHARE * _first(result["lr"]),
    }
    sentences = []
    for what, expected in result["expected"].items():
        difference = result["relative_difference"][what]
        if not isinstance(expected, Mapping):
            difference, expected = {"": difference}, {"": _first(expected)}
        for name, value in difference.items():
            subject = f"{label}: {what}" + (f" of {name}" if name else "")
            if expected[name] is None:
                if value is None:
                    sentences.append(f"{subject} was recorded as none, and here there is one.")
            elif value is None:
                sentences.append(f"{subject} was recorded, and here there is none.")
            elif not value * abs(expected[name]) <= LIMITS[what] * abs(expected[name]) + beside.get(what, 0.0):
                sentences.append(f"{subject} differs by {value:.2g}; at most {LIMITS[what]:g} is expected.")
    return sentences


def _first(value: float | list[float]) -> float:
    return value[0] if isinstance(value, list) else value


def _compare_names(run: RecordedRun, trainable: list[str], denoiser: nn.Module, settings: TrainSettings) -> list[str]:
    """Sentences about parameters that are trained, or not decayed, here or in the recording alone."""
    groups = parameter_groups(denoiser.named_parameters(), settings.optim)
    plain = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    not_decayed = [name for name, parameter in denoiser.named_parameters() if id(parameter) in plain]
    sentences = []
    for key, own, verb in (("trainable_dit", trainable, "trained"), ("no_decay_dit", not_decayed, "not decayed")):
        if key in run.shared and (other := set(run.shared[key]) ^ set(own)):
            sentences.append(f"{len(other)} parameters are {verb} either here or in the recording: {min(other)}, ...")
    return sentences

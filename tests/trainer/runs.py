"""Training runs small enough for tests: a random model of one block, and four shots of five frames, 32x32."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from trainer.run.checkpoint import DENOISER_FILE
from trainer.run.train import TrainingRun, train
from trainer.settings import load_settings
from trainer.synth.backgrounds import procedural
from trainer.synth.write import write_split

SIZE, FRAMES = 32, 5


def write_shots(folder: Path, count: int = 4) -> Path:
    """Rendered shots of the size that the runs here train at."""
    write_split(folder, count, 1, procedural, frames=FRAMES, height=SIZE, width=SIZE, unseen=False)
    return folder


def write_settings(path: Path, shots: Path, **changes: Any) -> Path:
    """Settings of a run of six steps, with others in place of some by their dotted names (`__` for a dot)."""
    content = {
        "backbone": "wan",
        "size": [SIZE, SIZE],
        "streams": [{"sources": [{"kind": "synth", "root": str(shots)}], "frames": FRAMES, "batch": 2, "workers": 0}],
        "steps": 6,
        "frozen": ["patch_embedding", "condition_embedder"],
        "optim": {"lr": 1e-3, "weight_decay": 1e-2, "no_decay": [".bias", "norm"]},
        "save_every": 2,
        "seed": 3,
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    overrides = {name.replace("__", "."): value for name, value in changes.items()}
    path.write_text(yaml.safe_dump(load_settings(path, overrides).model_dump(mode="json")), encoding="utf-8")
    return path


def as_published(model: Path, folder: Path) -> Path:
    """A copy of a model whose VAE's configuration leaves out what published ones do: diffusers then lists what it
    added, in an order that changes with every start."""
    shutil.copytree(model, folder)
    config = folder / "vae" / "config.json"
    stated = {"_class_name", "base_dim", "z_dim", "latents_mean", "latents_std"}
    config.write_text(json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k in stated}))
    return folder


def run(model: Path, settings: Path, out: Path, **options: Any) -> dict[str, torch.Tensor]:
    """Train in this process; what the last checkpoint holds of the denoiser."""
    return load_file(train(TrainingRun(load_settings(settings), str(model), out, **options)) / DENOISER_FILE)


def curve(out: Path, name: str = "loss") -> Mapping[int, float]:
    """A figure of every step, from the run's TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    figures: dict[int, float] = {}
    # By time of writing: names count whole seconds, in which a killed run and the one that goes on may both begin.
    for file in sorted((out / "logs").rglob("*tfevents*"), key=lambda file: file.stat().st_mtime_ns):
        log = EventAccumulator(str(file), size_guidance={"scalars": 0})
        log.Reload()
        if name in log.Tags()["scalars"]:
            figures |= {event.step: event.value for event in log.Scalars(name)}
    return figures

"""How a model is taught a look: settings whose constants scale with the length of the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rem_engine.backbones.folder import family_of
from rem_engine.backbones.load import MINI_FOLDER, find_model_folder

from ..data.broken import Skip
from ..data.folder import Folder, shot_folders
from ..settings import TrainSettings, load_settings

Form = Literal["full", "lora"]

HELD_OUT = 0.2
"""Share of the shots that is held out."""
EVALUATIONS = 6
"""In a training; the best of them is what is written."""


@dataclass(frozen=True)
class Split:
    """Names of shots.

    Attributes:
        trained: to train on.
        held_out: to choose by, and to score on.
    """

    trained: tuple[str, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class Defaults:
    """What suits a model where nothing else is asked for.

    Attributes:
        preset: whose size, frames, precision and frozen parts are taken.
        stream: which of its streams is of clips.
        form: weights themselves, or a LoRA where these do not fit.
        steps: of the optimizer.
        batch, accumulate: clips on a GPU at once, and such batches in a step.
        lr, lora_lr: highest learning rate of AdamW, for either form.
        rank: of a LoRA.
        variants: of a sample that are kept encoded; None draws them anew.
    """

    preset: str
    stream: int
    form: Form
    steps: int
    batch: int
    accumulate: int
    lr: float
    lora_lr: float
    rank: int
    variants: int | None


MINI = Defaults("mini", 0, "full", 300, 8, 1, 1e-3, 5e-3, 64, 4)
WAN = Defaults("wan_1_3b", 1, "lora", 600, 1, 4, 1e-5, 1e-4, 64, None)
MODELSCOPE = Defaults("modelscope_stage2", 0, "full", 600, 1, 4, 1e-6, 1e-4, 64, None)

LORA_TARGETS = {
    "wan": ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2", "proj_out"],
    "modelscope": ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"],
}
_AUGMENT = {"crop": 0.75, "flip": True, "colour": 0.15}
_CLIPS = ["contiguous", "strided"]


def split_shots(root: Path, share: float = HELD_OUT) -> Split:
    """Hold out a share of a folder's shots, at least one, the same each time.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: fewer than two shots.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} does not exist; name a folder of shots (docs/adapt.md).")
    names = [path.name for path in shot_folders(root)]
    if len(names) < 2:
        raise ValueError(
            f"{root} holds {len(names)} shots and two are needed, one of them to judge by: add some, or cut a long one "
            "into two."
        )
    count = min(max(1, round(share * len(names))), len(names) - 1)
    held_out = sorted(np.random.default_rng(0).permutation(len(names))[:count])
    return Split(
        tuple(name for number, name in enumerate(names) if number not in held_out),
        tuple(names[number] for number in held_out),
    )


def defaults_for(model: str) -> Defaults:
    """What suits a model folder."""
    folder = find_model_folder(model)
    if family_of(folder).key == "modelscope":
        return MODELSCOPE
    return MINI if folder == MINI_FOLDER or (folder / "rem.json").is_file() else WAN


def plan(
    model: str,
    new: Path,
    split: Split,
    old: Path | None,
    old_split: Split | None,
    form: Form | None,
    steps: int | None,
    overrides: dict[str, Any],
) -> TrainSettings:
    """The settings of the training.

    Warm-up is a twentieth of the steps, the average spans about a tenth of them, and the schedule ends with them. Old
    shots, where there are any, are half of what is drawn.

    Args:
        model: "mini" or a model folder.
        new, split: the shots of the look, and which of them are held out.
        old, old_split: the same of shots of the look that is known; None for none.
        form, steps: None for what suits the model.
        overrides: of settings, by dotted names.

    Raises:
        ValueError: settings that do not fit together.
    """
    suits = defaults_for(model)
    base = load_settings(suits.preset)
    data = base.streams[suits.stream]
    steps = steps or suits.steps
    form = form or suits.form

    def source(root: Path, shots: Sequence[str]) -> dict[str, Any]:
        return {"kind": "folder", "root": str(root.resolve()), "shots": list(shots)}

    varied = {"clips": _CLIPS, "augment": {**_AUGMENT, "variants": suits.variants}}
    sources = [{**source(new, split.trained), **varied}]
    held_out = [{**source(new, split.held_out), "clips": ["contiguous"]}]
    if old is not None and old_split is not None:
        sources.append({**source(old, old_split.trained), **varied, "weight": _evened(new, split, old, old_split)})
        held_out.append({**source(old, old_split.held_out), "clips": ["contiguous"]})
    every = max(1, steps // EVALUATIONS)
    frames = {"frames": data.frames, "workers": min(data.workers, 4)}
    changes: dict[str, Any] = {
        "streams": [{"sources": sources, **frames, "batch": suits.batch}],
        "evaluation": {"sources": held_out, **frames, "batch": suits.batch},
        "evaluate_every": every,
        "save_every": every,
        "keep_last": 1,
        "steps": steps,
        "epochs": None,
        "ema": 1 - 1 / max(10, steps // 10),
        "optim": {
            "optimizer": "adamw",
            "lr": suits.lr if form == "full" else suits.lora_lr,
            "betas": [0.9, 0.99],
            "schedule": {"kind": "cosine", "warmup": max(1, steps // 20), "floor": 0.02},
            "clip_norm": 1.0,
            "accumulate": suits.accumulate,
        },
        "lora": None,
        "seed": 1,
    }
    if form == "lora":
        targets = LORA_TARGETS[base.backbone]
        changes["lora"] = {"rank": suits.rank, "alpha": suits.rank, "targets": targets}
        changes["frozen"] = []
    elif suits.preset == "wan_1_3b":
        changes["frozen"] = ["patch_embedding", "condition_embedder"]
    return load_settings(suits.preset, {**changes, **overrides})


def _evened(new: Path, split: Split, old: Path, old_split: Split) -> float:
    """The weight that has as many old samples drawn as new ones."""
    return len(Folder(new, Skip(), split.trained)) / max(1, len(Folder(old, Skip(), old_split.trained)))

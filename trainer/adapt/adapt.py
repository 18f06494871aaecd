"""Teaching a model the look of a few shots: split, score, train, choose, export, score again."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rem_engine import load_segmenter
from rem_engine.content_hash import content_hash
from rem_engine.progress import SILENT, Progress
from rem_engine.run.parts import model_files
from rem_engine.whole_files import written_whole

from ..data.fingerprint import files_hash, value_hash
from ..export import Export, export
from ..run.records import read_record
from ..run.train import TrainingRun, train
from .plan import HELD_OUT, Form, Split, plan, split_shots
from .score import score_shots

_log = logging.getLogger(__name__)

GAIN = 0.01
"""Of J on the held-out shots; less is taken for none."""
BEFORE_FILE = "before.json"
"""In the folder of the training: the scores it began at, see `Before`."""

Scores = dict[str, dict[str, int | float]]
"""Of looks by name, see `score_shots`."""


@dataclass(frozen=True)
class Before:
    """Scores before the training.

    Attributes:
        of: hash of the weights, the shots and the settings they were taken with.
        scores: by look.
    """

    of: str
    scores: Scores


@dataclass(frozen=True)
class Adaptation:
    """What to teach, and to what; see `rem-trainer adapt --help`.

    Attributes:
        shots: folder of shots in the new look (see `trainer.data.folder.Folder`).
        out: the .safetensors file to write: a delta or a LoRA, over the REM that it was trained from.
        model: "mini" or a model folder.
        checkpoint: REM weights laid over it, in their order.
        old: folder of shots of the look the model knows, mixed in so that it is not forgotten; None for none.
        form: "full" trains the weights, "lora" low-rank changes of them; None for what suits the model.
        steps: of the optimizer; None for what suits it.
        held_out: share of the shots that is held out.
        overrides: of settings of the training, by dotted names.
        work: folder of the training, kept; None for one beside `out` that is removed at the end.
        device: to score on.
        overwrite: replace `out` even where no export has written it.
    """

    shots: Path
    out: Path
    model: str = "mini"
    checkpoint: tuple[Path, ...] = ()
    old: Path | None = None
    form: Form | None = None
    steps: int | None = None
    held_out: float = HELD_OUT
    overrides: dict[str, Any] = field(default_factory=dict)
    work: Path | None = None
    device: str = "auto"
    overwrite: bool = False


def adapt(asked: Adaptation, progress: Progress = SILENT) -> dict[str, Any]:
    """Teach a model a look; a run that was stopped goes on from its last checkpoint, with the scores it began at.

    Args:
        asked: what to do.
        progress: see `score_shots`, `train` and `export`.

    Returns:
        `before` and `after`, the scores on held-out shots by look ("new", "old"); `step`, the one that was chosen, and
        `steps`; `gained`, whether J on the new look rose by more than `GAIN`.

    Raises:
        FileNotFoundError, ValueError: shots, a model or a setting that cannot be used.
        RuntimeError, KeyboardInterrupt: see `train`.
    """
    split = split_shots(asked.shots, asked.held_out)
    old_split = None if asked.old is None else split_shots(asked.old, asked.held_out)
    settings = plan(asked.model, asked.shots, split, asked.old, old_split, asked.form, asked.steps, asked.overrides)
    looks = {"new": (asked.shots, split)}
    if asked.old is not None and old_split is not None:
        looks["old"] = (asked.old, old_split)
    work = asked.work or asked.out.with_name(f"{asked.out.stem}.run")
    before = _scores_before(asked, work, settings.size, looks, progress)
    train(TrainingRun(settings, asked.model, work, checkpoint=asked.checkpoint, resume=True), progress)
    form: Literal["delta", "lora"] = "delta" if settings.lora is None else "lora"
    request = Export(work, asked.out, form, which="best", over="start", overwrite=asked.overwrite)
    chosen = export(request, progress)
    after = _scores(asked, (*asked.checkpoint, asked.out), settings.size, looks, progress)
    gained = after["new"]["J"] > before["new"]["J"] + GAIN
    if not gained:
        _log.warning(
            "nothing is gained: J on held-out shots was %.3f and is %.3f; more shots, more steps or other sentences "
            "may help, and the model without %s is as good.",
            before["new"]["J"],
            after["new"]["J"],
            asked.out.name,
        )
    if asked.work is None:
        shutil.rmtree(work)
    return {"before": before, "after": after, "step": int(chosen.name), "steps": settings.steps, "gained": gained}


def _scores_before(
    asked: Adaptation, work: Path, size: tuple[int, int], looks: dict[str, tuple[Path, Split]], progress: Progress
) -> Scores:
    """The scores that a stopped run has in its folder, where they are of the same weights, shots and settings."""
    weights = model_files({"model": asked.model, "checkpoint": asked.checkpoint})
    shots = [files_hash(sorted((root / name).rglob("*"))) for root, split in looks.values() for name in split.held_out]
    held = [content_hash([file]) for file in weights if file.is_file()]  # what is missing is told by who loads it
    of = value_hash([held, [path.name for path in asked.checkpoint], shots, size, asked.device])
    path = work / BEFORE_FILE
    if path.is_file():
        kept = read_record(path, Before, "remove it, and the model is scored again")
        if kept.of == of:
            _log.info("the scores before the training are those of %s", path)
            return kept.scores
    scores = _scores(asked, asked.checkpoint, size, looks, progress)
    work.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write_text(json.dumps(asdict(Before(of, scores)), indent=2) + "\n", encoding="utf-8")
    return scores


def _scores(
    asked: Adaptation,
    checkpoint: Sequence[Path],
    size: tuple[int, int],
    looks: dict[str, tuple[Path, Split]],
    progress: Progress,
) -> Scores:
    segmenter = load_segmenter(asked.model, checkpoint=tuple(checkpoint), device=asked.device, size=size)
    scores: Scores = {
        look: {**score_shots(segmenter, root, split.held_out, progress)} for look, (root, split) in looks.items()
    }
    if "J" not in scores["new"]:
        raise ValueError(
            f"The held-out shots of {asked.shots} ({', '.join(looks['new'][1].held_out)}) have no sentence that names "
            "something; add such lines to their prompts.txt."
        )
    return scores

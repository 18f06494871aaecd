"""Training and scoring every variant with every seed, by equal budgets, each in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import written_whole

from ..run.records import read_record
from ..run.run_folder import read_settings
from ..run.stop_request import StopRequest
from ..settings import load_settings
from .variants import VARIANTS

if TYPE_CHECKING:
    from ..settings import TrainSettings

DATA_SEEDS = {"train": 1, "seen": 100, "unseen": 101}
"""Of the rendered shots, as of REM-mini's own; nothing that is scored is trained on."""
SPLITS = ("seen", "unseen")
"""What is scored."""
RESULT_FILE = "result.json"
_LOG_FILE = "log.txt"
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Ablation:
    """What to run.

    Attributes:
        out: folder of everything: `data`, `cache`, and a folder of runs for each variant.
        variants: names of `VARIANTS`.
        preset: the settings of all runs are those of the preset `ablation_<preset>`.
        seeds: how many; 1, 2, ... Runs of one seed see the same batches.
        steps: of each run, in place of the preset's.
        jobs: runs side by side.
        model, checkpoint: what is trained from; see `trainer.run.train.TrainingRun`.
        train_shots, scored_shots: rendered for training, and for each split that is scored.
    """

    out: Path
    variants: tuple[str, ...] = tuple(VARIANTS)
    preset: str = "mini"
    seeds: int = 3
    steps: int | None = None
    jobs: int = 1
    model: str = "mini"
    checkpoint: Path | None = MINI_FOLDER / "t2v" / "rem_mini_t2v.safetensors"
    train_shots: int = 600
    scored_shots: int = 24

    @property
    def cache(self) -> Path:
        """Folder of what all runs have encoded."""
        return self.out / "cache"

    def settings(self, variant: str, seed: int) -> TrainSettings:
        """Of a run.

        Raises:
            FileNotFoundError: no such preset.
            ValueError: no such variant.
        """
        if variant not in VARIANTS:
            raise ValueError(f"There is no variant {variant!r}; choose from {', '.join(VARIANTS)}.")
        overrides: dict[str, Any] = {"data_root": str((self.out / "data").resolve()), "seed": seed}
        if self.steps is not None:
            overrides["steps"] = self.steps
        return load_settings(f"ablation_{self.preset}", {**overrides, **VARIANTS[variant].overrides})


@dataclass(frozen=True)
class _Result:
    """What a run's result says; see `train_and_score`."""

    variant: str
    seed: int
    steps: int | None
    train_seconds: float
    score_seconds: float
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class AblationRun:
    """One variant with one seed."""

    ablation: Ablation
    variant: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.ablation.out / self.variant / f"seed{self.seed}"

    @property
    def title(self) -> str:
        return f"{self.variant}, seed {self.seed}"

    def result(self) -> dict[str, Any] | None:
        """What was measured, or None if it is not done.

        Raises:
            ValueError: it was done by other settings, or there is no such variant.
        """
        path, settings = self.folder / RESULT_FILE, self.ablation.settings(self.variant, self.seed)
        if not path.is_file():
            return None
        if read_settings(self.folder) != settings:
            raise ValueError(
                f"{self.folder} holds a result of other settings than these; name another --out, or remove it."
            )
        return asdict(read_record(path, _Result, "remove it, and the run is scored anew"))


def ablate(ablation: Ablation, progress: Progress = SILENT) -> list[dict[str, Any]]:
    """Run what is not done yet, seed by seed; a run that was broken off goes on from its checkpoint.

    Args:
        ablation: what to run.
        progress: told "shards" of the caches and "runs" done.

    Returns:
        the results of all runs, variant by variant.

    Raises:
        ValueError: settings that do not go together, or another ablation in the folder.
        RuntimeError: a run failed; those under way were finished.
    """
    runs = [
        AblationRun(ablation, variant, seed) for seed in range(1, ablation.seeds + 1) for variant in ablation.variants
    ]
    missing = [run for run in runs if run.result() is None]
    for split in DATA_SEEDS:
        _render(ablation, split)
    if missing:
        _encode(ablation, progress)
    _run_all(missing, ablation.jobs, len(runs), progress)
    done = [run.result() for variant in ablation.variants for run in runs if run.variant == variant]
    return [result for result in done if result is not None]


def _run_all(runs: Sequence[AblationRun], jobs: int, total: int, progress: Progress) -> None:
    # spawned, so that no thread pool of this process is copied half-way
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting, failed = list(runs), None
    active: dict[int, tuple[AblationRun, SpawnProcess]] = {}
    done = total - len(runs)
    progress.update("runs", done, total)
    with StopRequest("give the same command to go on") as stop:
        while active or (waiting and failed is None):
            while waiting and failed is None and len(active) < jobs:
                run = waiting.pop(0)
                process = context.Process(target=_in_process, args=(run, threads), name=run.title)
                process.start()
                active[process.sentinel] = (run, process)
            ended = wait(list(active), timeout=_POLL_SECONDS)
            if stop.asked:
                _stop([process for _, process in active.values()])
                raise KeyboardInterrupt("stopped; run the same command to go on")
            for sentinel in [each for each in active if each in ended]:
                run, process = active.pop(sentinel)
                process.join()
                if process.exitcode:
                    failed = failed or run
                else:
                    done += 1
                    progress.update("runs", done, total)
    if failed is not None:
        raise RuntimeError(
            f"The run {failed.title} failed; {failed.folder / _LOG_FILE} says why. The same command goes on."
        )


def _stop(processes: Sequence[BaseProcess]) -> None:
    """Have runs save a checkpoint and end."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


def _in_process(run: AblationRun, threads: int) -> None:
    """What a process does; its bars and messages go to the run's log."""
    import torch

    torch.set_num_threads(threads)
    run.folder.mkdir(parents=True, exist_ok=True)
    with open(run.folder / _LOG_FILE, "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    try:
        train_and_score(run)
    except KeyboardInterrupt:
        sys.exit(130)


def train_and_score(run: AblationRun) -> dict[str, Any]:
    """Train a run to its end and score it; the result is also written to its folder."""
    import torch

    from ..model.trained import load_trained_segmenter
    from ..run.checkpoint import read_progress
    from ..run.train import TrainingRun, train
    from ..synth.score import score

    ablation = run.ablation
    settings = ablation.settings(run.variant, run.seed)
    training = TrainingRun(settings, ablation.model, run.folder, ablation.checkpoint, resume=True, cache=ablation.cache)
    checkpoint = train(training)
    segmenter = load_trained_segmenter(run.folder, torch.device("cpu"))
    started = time.monotonic()
    scores = {split: score(segmenter, ablation.out / "data" / split) for split in SPLITS}
    result = asdict(
        _Result(
            run.variant,
            run.seed,
            settings.steps,
            train_seconds=round(read_progress(checkpoint).seconds, 1),
            score_seconds=round(time.monotonic() - started, 1),
            scores=scores,
        )
    )
    with written_whole(run.folder / RESULT_FILE) as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _encode(ablation: Ablation, progress: Progress) -> None:
    """Fill the caches that all runs share, so that no two of them do it at once."""
    import torch

    from ..data.cache import cache_all
    from ..data.open import open_sources
    from ..model.trainable import load_trainable

    settings = ablation.settings(ablation.variants[0], 1)
    trainable = load_trainable(ablation.model, ablation.checkpoint, settings, torch.device("cpu"))
    sources = [open_sources(data, settings.size) for data in settings.streams]
    cache_all(ablation.cache, trainable, sources, settings.streams, settings.size, progress=progress)


def _render(ablation: Ablation, split: str) -> None:
    """Render a split, unless it stands.

    Raises:
        ValueError: another number of shots stands there.
    """
    from ..data.files import field
    from ..mini.pool import mixed_plates
    from ..synth.write import Split, write_split

    count = ablation.train_shots if split == "train" else ablation.scored_shots
    folder = Split(ablation.out / "data" / split)
    if folder.details.is_file():
        found = len(field(folder.details, folder.read_details(), "videos", dict, "the file"))
        if found != count:
            raise ValueError(f"{folder.root} holds {found} shots and {count} are wanted; name another --out.")
        return
    settings = ablation.settings(ablation.variants[0], 1)
    height, width = settings.size
    write_split(
        folder.root,
        count,
        DATA_SEEDS[split],
        mixed_plates(None, 0.0),
        frames=settings.streams[0].frames,
        height=height,
        width=width,
        unseen=split == "unseen",
    )

"""Training REM: every backbone, objective and number of processes, from settings and datasets to checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from rem_engine.backbones.checkpoint import Paths, checkpoint_entry
from rem_engine.folder_lock import locked
from rem_engine.progress import SILENT, Progress

from ..data.cache import ReadyToTrain, Share, TextCache, cache_all
from ..data.loader import LoadedBatch, Loader
from ..data.open import open_datasets, open_sources
from ..data.order import SampleOrder
from ..model.objective import loss
from ..model.trainable import Trainable, freeze, load_trainable
from ..settings import TrainSettings
from .batch_encoder import BatchEncoder
from .distributed import new_accelerator
from .evaluate import HeldOut, check_held_out, comparison_picture, held_out_picture, mean_j
from .loop import LoopSettings, TrainingLoop, TrainingTask
from .run_folder import CACHE, FRAMES, Start, check_samples, claim_run_folder
from .training_log import check_trackers
from .whole_videos import WholeVideos

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class TrainingRun:
    """What to train, and where; see `python -m trainer train --help`.

    Attributes:
        settings: of the run.
        model: "mini" or the base's model folder.
        checkpoint: weights laid over it to start from; see `rem_engine.load_segmenter`.
        out: folder of the run.
        resume: go on with the run in that folder, if there is one.
        extend: with more steps, or another schedule, than it began with.
        cache: folder of the caches, which runs may share; None is one in `out`.
        cached: whether caches are used.
        report_to: trackers; see `TrainingLog`.
    """

    settings: TrainSettings
    model: str
    out: Path
    checkpoint: Paths = None
    resume: bool = False
    extend: bool = False
    cache: Path | None = None
    cached: bool = True
    report_to: tuple[str, ...] = ("tensorboard",)


def train(run: TrainingRun, progress: Progress = SILENT) -> Path:
    """Train to the end, from the run's last checkpoint where there is one; every process of the run calls this.

    Args:
        run: what to train.
        progress: told "shards" of the caches; training itself has a log of its own.

    Returns:
        folder of the last checkpoint.

    Raises:
        FileNotFoundError, ValueError: a model, dataset or setting that cannot be used, or a folder that holds another
            run.
        RuntimeError: another process trains there; and see `TrainingLoop.run`.
        KeyboardInterrupt: see `TrainingLoop.run`.
    """
    check_trackers(run.report_to)
    accelerator = new_accelerator(run.settings)
    alone = locked(run.out, "name another folder for the run") if accelerator.is_main_process else nullcontext()
    with alone:
        return _train(run, accelerator, progress)


def _train(run: TrainingRun, accelerator: Accelerator, progress: Progress) -> Path:
    settings = run.settings
    if accelerator.is_main_process:
        start = Start(run.model, checkpoint_entry(run.checkpoint), accelerator.num_processes)
        claim_run_folder(run.out, start, settings, run.resume, run.extend)
    accelerator.wait_for_everyone()
    read = settings.streams if settings.evaluation is None else (*settings.streams, settings.evaluation)
    kept = (run.cache or run.out / CACHE) / FRAMES if run.cached else None
    datasets = [open_datasets(data) for data in read]
    plain = [open_sources(data, settings.size, kept, opened) for data, opened in zip(read, datasets)]
    if accelerator.is_main_process:
        check_samples(run.out, [len(part) for source in plain for part in source.parts], run.extend)
    sources: Sequence[ReadyToTrain] = plain
    trainable = load_trainable(run.model, run.checkpoint, settings, accelerator.device)
    freeze(trainable, settings)
    texts = None
    if run.cached:
        folder = run.cache or run.out / CACHE
        share = Share(accelerator.process_index, accelerator.num_processes)
        texts, sources = cache_all(folder, trainable, plain, read, settings.size, share, progress)
        accelerator.wait_for_everyone()
        # Every sentence is known: the largest part of a base after its denoiser need not stay in memory.
        trainable.backbone.text_encoder.to("meta")
    encoder = BatchEncoder(trainable, settings.size, settings.seed, texts)
    held_out = None if settings.evaluation is None else HeldOut(sources[-1], settings.evaluation)
    if held_out is not None:
        check_held_out(accelerator, held_out, settings.seed)
    whole = None
    if settings.evaluation is not None and settings.evaluate_videos:
        whole = WholeVideos(settings.evaluation, datasets[-1])
    sources = sources[: len(settings.streams)]
    loop_settings = LoopSettings(
        total_steps(settings, sources, accelerator.num_processes),
        settings.optim,
        settings.ema,
        settings.save_every,
        settings.keep_last,
        settings.evaluate_every,
        report_to=run.report_to,
        config=settings.model_dump(mode="json"),
    )
    loop = TrainingLoop(accelerator, trainable.denoiser, loop_settings, run.out)
    return loop.run(_task(settings, accelerator, trainable, loop.wrapped, sources, held_out, whole, encoder, texts))


def _task(
    settings: TrainSettings,
    accelerator: Accelerator,
    trainable: Trainable,
    denoiser: nn.Module,
    sources: Sequence[ReadyToTrain],
    held_out: HeldOut | None,
    whole: WholeVideos | None,
    encoder: BatchEncoder,
    texts: TextCache | None,
) -> TrainingTask:
    """REM's objective on the batches of a run's streams, through its denoiser as accelerate has wrapped it."""

    def batches(steps: range) -> Iterator[tuple[list[LoadedBatch], dict[str, float]]]:
        loader = Loader(sources, settings, steps, rank=accelerator.process_index, world_size=accelerator.num_processes)
        loaded = iter(loader)
        for _ in steps:
            yield [next(loaded) for _ in range(settings.optim.accumulate)], {"waiting": loader.waiting}

    def batch_loss(step: int, batch: LoadedBatch) -> tuple[Tensor, dict[str, float]]:
        encoded = encoder.encode(batch.samples, step, batch.slots)
        return loss(trainable, denoiser, encoded, settings.objective), {}

    def samples(step: int, batch: LoadedBatch) -> tuple[str, Tensor]:
        encoded = encoder.encode(batch.samples, step, batch.slots)
        picture = comparison_picture(trainable, denoiser, encoded, settings.objective)
        return "frame, prediction, target", picture

    if held_out is None:
        return TrainingTask(batches, batch_loss, samples)
    picture = partial(held_out_picture, trainable, denoiser, held_out, encoder, settings)
    if whole is not None:
        figures = partial(whole.score, accelerator, trainable, settings, texts)
        return TrainingTask(batches, batch_loss, samples, figures, picture)

    def evaluate() -> dict[str, float]:
        return {"J": mean_j(accelerator, trainable, denoiser, held_out, encoder, settings)}

    return TrainingTask(batches, batch_loss, samples, evaluate, picture)


def total_steps(settings: TrainSettings, sources: Sequence[ReadyToTrain], world_size: int) -> int:
    """Steps of a whole run; an epoch is one pass through the first stream, whose turn it is in one step of n.

    Args:
        settings: of the run, with `steps` or `epochs`.
        sources: one for every stream.
        world_size: processes that share a step.
    """
    if settings.epochs is None:
        return settings.steps or 0  # settings have the one or the other
    first = sources[0]
    samples = len(SampleOrder([len(part) for part in first.parts], first.weights, (settings.seed,)))
    global_batch = settings.streams[0].batch * settings.optim.accumulate * world_size
    return math.ceil(settings.epochs * samples / global_batch) * len(sources)

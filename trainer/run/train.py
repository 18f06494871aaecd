"""Training: one loop for every backbone, objective and number of processes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..data.cache import Share, cache_latents, cache_texts
from ..data.join import Joined
from ..data.loader import LoadedBatch, Loader
from ..data.open import open_sources
from ..data.order import Order
from ..model.objective import loss
from ..model.trainable import Trainable, freeze, load_trainable
from ..settings import TrainSettings
from .batches import Batches
from .checkpoint import Checkpoints, Progress, read_progress, trained_weights_only
from .distributed import clip, new_accelerator
from .evaluate import averaged, mean_j
from .loop import Average
from .optim import build_optimizer, set_rates
from .run_folder import CACHE, CHECKPOINTS, LOGS, Start, take_folder
from .stop_request import StopRequest
from .watch import Watch, picture

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Job:
    """What to train, and where; see `python -m trainer train --help`.

    Attributes:
        settings: of the run.
        model: "mini" or the base's model folder.
        checkpoint: weights laid over it to start from.
        out: folder of the run.
        resume: go on with the run in that folder, if there is one.
        cache: folder of the caches, which runs may share; None is one in `out`.
        cached: whether caches are used.
    """

    settings: TrainSettings
    model: str
    out: Path
    checkpoint: Path | None = None
    resume: bool = False
    cache: Path | None = None
    cached: bool = True


def train(job: Job) -> Path:
    """Train to the end, from the run's last checkpoint where there is one; every process of the run calls this.

    Returns:
        folder of the last checkpoint.

    Raises:
        FileNotFoundError, ValueError: a model, dataset or setting that cannot be used, or a folder that holds another
            run.
        RuntimeError: the loss or the gradient is no finite number any more.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM after a checkpoint; the message says how to go on.
    """
    settings = job.settings
    accelerator = new_accelerator(settings)
    if accelerator.is_main_process:
        start = Start(job.model, None if job.checkpoint is None else str(job.checkpoint), accelerator.num_processes)
        take_folder(job.out, start, settings, job.resume)
    accelerator.wait_for_everyone()
    sources = [open_sources(data, settings.size) for data in settings.streams]
    held_out = None if settings.evaluation is None else open_sources(settings.evaluation, settings.size)
    trainable = load_trainable(job.model, job.checkpoint, settings, accelerator.device)
    freeze(trainable, settings)
    texts = None
    if job.cached:
        folder = job.cache or job.out / CACHE
        share = Share(accelerator.process_index, accelerator.num_processes)
        texts = cache_texts(folder, trainable, _texts([*sources, *([held_out] if held_out else [])]), share)
        sources = [
            cache_latents(folder, trainable, source, data, settings.size, share)
            for source, data in zip(sources, settings.streams)
        ]
        if held_out is not None:
            held_out = cache_latents(folder, trainable, held_out, settings.evaluation, settings.size, share)
        accelerator.wait_for_everyone()
        # Every sentence is known: the largest part of a base after its denoiser need not stay in memory.
        trainable.backbone.text_encoder.to("meta")
    batches = Batches(trainable, settings.size, settings.seed, texts)
    return _Run(job, accelerator, trainable, sources, held_out, batches).run()


class _Run:
    """A run under way."""

    def __init__(
        self,
        job: Job,
        accelerator: Accelerator,
        trainable: Trainable,
        sources: Sequence[Joined],
        held_out: Joined | None,
        batches: Batches,
    ) -> None:
        settings = job.settings
        self._job, self._settings, self._accelerator = job, settings, accelerator
        self._trainable, self._sources, self._held_out, self._batches = trainable, sources, held_out, batches
        self._steps = total_steps(settings, sources, accelerator.num_processes)
        optimizer = build_optimizer(trainable.denoiser, settings.optim)
        set_rates(optimizer, settings.optim, 0, self._steps)  # its state, also a checkpoint's, has the initial rates
        self._denoiser, self._optimizer = accelerator.prepare(trainable.denoiser, optimizer)
        trained_weights_only(accelerator)
        self._average = None if settings.ema is None else Average(trainable.denoiser, settings.ema)
        self._checkpoints = Checkpoints(job.out / CHECKPOINTS, settings.keep_last)
        self._saved = self._checkpoints.latest()
        self._progress = Progress(0)

    def run(self) -> Path:
        """Take the steps that are left."""
        if self._saved is not None:
            self._progress = self._checkpoints.load(self._accelerator, self._saved, self._average)
        best = self._checkpoints.best()
        highest = -math.inf if best is None else read_progress(best).score
        first = self._progress.step
        shown = self._accelerator.is_main_process
        with StopRequest() as stop, Watch(self._job.out / LOGS, first, self._steps, shown) as watch:
            seconds, since = self._progress.seconds, time.monotonic()
            for step, parts, waiting in self._data(first):
                figures, stopping = self._step(step, parts, stop)
                taken = time.monotonic() - since
                seconds += taken
                watch.step(step, {**figures, "waiting": waiting, "seconds": taken})
                done, settings, score = step + 1, self._settings, None
                if settings.evaluate_every and (done % settings.evaluate_every == 0 or done == self._steps):
                    score = self._evaluate()
                    watch.note(step, {"J": score})
                is_best = score is not None and score > highest
                highest = score if is_best else highest
                if is_best or stopping or done % settings.save_every == 0 or done == self._steps:
                    self._progress = Progress(done, score, seconds)
                    self._saved = self._checkpoints.save(self._accelerator, self._progress, self._average)
                    watch.picture(step, self._picture(parts[-1]))
                since = time.monotonic()
                if stopping and done < self._steps:
                    if not shown:
                        raise SystemExit(130)
                    raise KeyboardInterrupt(
                        f"stopped at step {done} of {self._steps}, which is saved; "
                        "give the same command with --resume to go on"
                    )
        return self._saved

    def _data(self, first: int) -> Iterator[tuple[int, list[LoadedBatch], float]]:
        """(step, its batches on this process, share of the time spent waiting for data so far) of the steps left."""
        processes = {
            "process_index": self._accelerator.process_index,
            "process_count": self._accelerator.num_processes,
        }
        loader = Loader(self._sources, self._settings, range(first, self._steps), **processes)
        batches = iter(loader)
        for step in range(first, self._steps):
            yield step, [next(batches) for _ in range(self._settings.optim.accumulate)], loader.waiting

    def _step(self, step: int, parts: Sequence[LoadedBatch], stop: StopRequest) -> tuple[dict[str, float], bool]:
        """One step of the optimizer: its figures, and whether any process has been asked to stop."""
        accelerator, settings = self._accelerator, self._settings
        rate = set_rates(self._optimizer, settings.optim, step, self._steps)[0]
        losses: list[Tensor] = []
        for part in parts:
            with accelerator.accumulate(self._denoiser):
                batch = self._batches.make(part.samples, step, part.slots)
                value = loss(self._trainable, self._denoiser, batch, settings.objective)
                losses.append(value.detach())
                if part is parts[-1]:
                    # Learned by all processes together, before the step changes anything.
                    told = torch.stack([torch.stack(losses).mean(), value.new_tensor(float(stop.asked))])
                    mean, asked = accelerator.reduce(told, "mean").tolist()
                    self._check_finite("loss", mean, step)
                accelerator.backward(value)
                if accelerator.sync_gradients:
                    norm = clip(accelerator, self._denoiser, settings.optim)
                    self._check_finite("gradient", norm, step)
                self._optimizer.step()
                self._optimizer.zero_grad()
        if self._average is not None:
            self._average.update(self._trainable.denoiser, step)
        return {"loss": mean, "grad_norm": norm, "lr": rate}, asked > 0

    def _check_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            last = "there is no checkpoint yet" if self._saved is None else f"the last checkpoint is {self._saved}"
            raise RuntimeError(
                f"The {what} of step {step + 1} is {value}, and {last}: try a lower optim.lr or optim.clip_norm, or "
                "precision float32."
            )

    def _evaluate(self) -> float:
        with averaged(self._trainable.denoiser, self._average):
            return mean_j(
                self._accelerator, self._trainable, self._denoiser, self._held_out, self._batches, self._settings
            )

    def _picture(self, part: LoadedBatch) -> Tensor:
        batch = self._batches.make(part.samples, part.step, part.slots)
        with averaged(self._trainable.denoiser, self._average):
            return picture(self._trainable, self._denoiser, batch, self._settings.objective)


def total_steps(settings: TrainSettings, sources: Sequence[Joined], processes: int) -> int:
    """Steps of a whole run; an epoch is one pass through the first stream, whose turn it is in one step of n.

    Args:
        settings: of the run, with `steps` or `epochs`.
        sources: one for every stream.
        processes: that share a step.
    """
    if settings.steps is not None:
        return settings.steps
    first = sources[0]
    samples = len(Order([len(part) for part in first.parts], first.weights, settings.seed))
    together = settings.streams[0].batch * settings.optim.accumulate * processes
    return math.ceil(settings.epochs * samples / together) * len(sources)


def _texts(sources: Sequence[Joined]) -> Iterator[str]:
    return (source.text(index) for source in sources for index in range(len(source)))

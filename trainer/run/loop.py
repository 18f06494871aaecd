"""The training loop of every training here: steps, gradients, moving average, checkpoints, resuming, log.

What a step draws at random depends on the step's number alone, so that a training that is killed at any step goes on
from its last checkpoint to the same weights.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .average import Average, averaged
from .checkpoint import Checkpoints, TrainingProgress, save_trainable_weights_only
from .distributed import clip
from .optim import build_optimizer, set_rates
from .run_folder import CHECKPOINTS, LOGS
from .stop_request import StopRequest
from .training_log import TrainingLog

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..settings import OptimSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings:
    """How long to train, how weights change, and what is kept.

    Attributes:
        steps: optimizer steps in all.
        optim: the optimizer, its schedule over `steps`, and clipping.
        ema: decay of the moving average of the weights, or None for no average.
        save_every: steps between two checkpoints; every evaluation and the last step have one too.
        keep_last: checkpoints kept, beside the best.
        evaluate_every: steps between two evaluations, or None for none.
        how_to_resume: ends the sentence about a stop: "give the same command with --resume to go on".
        report_to, config: see `TrainingLog`.
    """

    steps: int
    optim: OptimSettings
    ema: float | None
    save_every: int
    keep_last: int
    evaluate_every: int | None = None
    how_to_resume: str = "give the same command with --resume to go on"
    report_to: tuple[str, ...] = ("tensorboard",)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingTask:
    """What is trained, as functions that the loop calls.

    Attributes:
        batches: (steps that are left) -> for each of them this process's batches, as many as are accumulated, and
            figures for the log.
        loss: (step, one of its batches) -> the loss to minimise, and figures for the log.
        samples: (step, its last batch) -> a picture's title and the picture [3,H,W] in 0..1, by the averaged weights.
        evaluate: -> figures of the averaged weights, 0..1, by name, of which the first is the score by which the best
            checkpoint is kept; called where `evaluate_every` says.
        held_out: -> title and picture [3,H,W] of held-out samples, by the averaged weights; called with `evaluate`.
    """

    batches: Callable[[range], Iterator[tuple[Sequence[Any], dict[str, float]]]]
    loss: Callable[[int, Any], tuple[Tensor, dict[str, float]]]
    samples: Callable[[int, Any], tuple[str, Tensor]]
    evaluate: Callable[[], dict[str, float]] | None = None
    held_out: Callable[[], tuple[str, Tensor]] | None = None


class TrainingLoop:
    """A training under way; every process of a distributed one has its own.

    Args:
        accelerator: from `new_accelerator`.
        module: whose trainable parameters are trained, in place.
        settings: see there.
        folder: of `checkpoints` and `logs`.
        name: shown with the progress.

    Attributes:
        wrapped: the module as accelerate has wrapped it; losses are computed through it.
        average: the moving average, where one is kept.

    Raises:
        ValueError: nothing is trainable.
    """

    def __init__(
        self, accelerator: Accelerator, module: nn.Module, settings: LoopSettings, folder: Path, name: str = ""
    ) -> None:
        self._accelerator, self._module, self._settings = accelerator, module, settings
        self._logs, self._name = folder / LOGS, name
        optimizer = build_optimizer(module, settings.optim)
        set_rates(optimizer, settings.optim, 0, settings.steps)  # its state, also a checkpoint's, has the initial rates
        self.wrapped, self._optimizer = accelerator.prepare(module, optimizer)
        save_trainable_weights_only(accelerator)
        self.average = None if settings.ema is None else Average(module, settings.ema)
        self._checkpoints = Checkpoints(folder / CHECKPOINTS, settings.keep_last)
        self._last_checkpoint = self._checkpoints.latest()

    def run(self, task: TrainingTask) -> Path:
        """Train to the end, from the last checkpoint where there is one.

        Returns:
            folder of the last checkpoint.

        Raises:
            ValueError: a checkpoint of other weights than those that are trained, or no steps.
            RuntimeError: the loss or the gradient is no finite number any more.
            KeyboardInterrupt: stopped by Ctrl-C or SIGTERM after a checkpoint; the message says how to go on.
        """
        settings, progress = self._settings, TrainingProgress(0)
        if self._last_checkpoint is not None:
            progress = self._checkpoints.load(self._accelerator, self._last_checkpoint, self.average)
            _log.debug("going on from %s", self._last_checkpoint)
        left = range(progress.step, settings.steps)
        is_main = self._accelerator.is_main_process
        stop = StopRequest(settings.how_to_resume)
        log = TrainingLog(
            self._logs, left.start, settings.steps, is_main, self._name, settings.report_to, settings.config
        )
        with stop, log:
            seconds, since = progress.seconds, time.monotonic()
            processor_seconds, processor_since = progress.processor_seconds, time.process_time()
            for step, (batches, data_figures) in zip(left, task.batches(left)):
                figures, stop_requested = self._step(task, step, batches, stop)
                step_seconds = time.monotonic() - since
                seconds += step_seconds
                processor_seconds += time.process_time() - processor_since
                log.step(step, {**figures, **data_figures, "seconds": step_seconds})
                done = step + 1
                is_last = done == settings.steps
                every = settings.evaluate_every
                evaluate = task.evaluate if every and (done % every == 0 or is_last) else None
                if evaluate or stop_requested or done % settings.save_every == 0 or is_last:
                    # Before it is evaluated, which may fail, and take long.
                    progress = TrainingProgress(done, None, seconds, processor_seconds)
                    self._last_checkpoint = self._checkpoints.save(self._accelerator, progress, self.average)
                    _log.debug("saved %s", self._last_checkpoint)
                    with averaged(self._module, self.average):
                        log.picture(step, *task.samples(step, batches[-1]))
                if evaluate:
                    with averaged(self._module, self.average):
                        scores = evaluate()
                        if task.held_out is not None:
                            log.picture(step, *task.held_out())
                    log.scalars(step, scores)
                    self._checkpoints.rate(self._accelerator, replace(progress, score=next(iter(scores.values()))))
                since, processor_since = time.monotonic(), time.process_time()
                if stop_requested and not is_last:
                    if not is_main:
                        raise SystemExit(130)
                    raise KeyboardInterrupt(
                        f"stopped at step {done} of {settings.steps}, which is saved; {settings.how_to_resume}"
                    )
        if self._last_checkpoint is None:
            raise ValueError(f"A training of {settings.steps} steps leaves no checkpoint; ask for at least one step.")
        return self._last_checkpoint

    def _step(
        self, task: TrainingTask, step: int, batches: Sequence[Any], stop: StopRequest
    ) -> tuple[dict[str, float], bool]:
        """One step of the optimizer: its figures, and whether any process has been asked to stop."""
        accelerator, optim = self._accelerator, self._settings.optim
        rate = set_rates(self._optimizer, optim, step, self._settings.steps)[0]
        losses: list[Tensor] = []
        for batch in batches:
            with accelerator.accumulate(self.wrapped):
                loss, figures = task.loss(step, batch)
                losses.append(loss.detach())
                if batch is batches[-1]:
                    # Averaged over all processes together, before the step changes anything.
                    local = torch.stack([torch.stack(losses).mean(), loss.new_tensor(float(stop.asked))])
                    mean_loss, stop_share = accelerator.reduce(local, "mean").tolist()
                    self._check_finite("loss", mean_loss, step)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    norm = clip(accelerator, self.wrapped, optim)
                    self._check_finite("gradient", norm, step)
                self._optimizer.step()
                self._optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self._module, step)
        return {"loss": mean_loss, "grad_norm": norm, "lr": rate, **figures}, stop_share > 0

    def _check_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            last = self._last_checkpoint
            saved = "there is no checkpoint yet" if last is None else f"the last checkpoint is {last}"
            raise RuntimeError(
                f"The {what} of step {step + 1} is {value}, and {saved}: try a lower optim.lr or optim.clip_norm, or "
                "precision float32."
            )

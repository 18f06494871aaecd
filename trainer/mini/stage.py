"""A stage of REM-mini's training: the trainer's loop over losses that depend on the step's number alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from ..run.checkpoint import Checkpoints, read_progress
from ..run.distributed import cpu_accelerator
from ..run.loop import LoopSettings, TrainingLoop, TrainingTask
from ..run.run_folder import CHECKPOINTS
from ..settings import Cosine, OptimSettings

STAGES = "stages"
"""Folder of the stages in a working folder; each has its checkpoints and its log."""
SCHEDULE = Cosine(kind="cosine", warmup=100, floor=0.02)
SAVE_EVERY = 250
EMA = 0.998

Loss = Callable[[int], tuple[Tensor, dict[str, float]]]
"""Step number -> loss to minimise, and figures to log."""


def train_stage(
    name: str,
    module: nn.Module,
    optim: OptimSettings,
    loss: Loss,
    steps: int,
    work: Path,
    *,
    pictures: Callable[[], Tensor],
    ema: float | None = EMA,
    save_every: int = SAVE_EVERY,
) -> None:
    """Train a module until `steps`, on from the stage's last checkpoint; it ends with its averaged weights, if any.

    Args:
        name: of the stage.
        module: what is trained, on the CPU; its trainable parameters are.
        optim: see there.
        loss: computes the loss of a step.
        steps: where to stop.
        work: working folder of the training.
        pictures: [3,H,W] in 0..1 by the averaged weights, logged with every checkpoint.
        ema: decay of the moving average; None keeps none.
        save_every: steps between two checkpoints.

    Raises:
        RuntimeError, KeyboardInterrupt: see `TrainingLoop.run`.
    """
    settings = LoopSettings(steps, optim, ema, save_every, keep_last=1, how_to_resume="give the same command to go on")
    loop = TrainingLoop(cpu_accelerator(), module, settings, stage_folder(work, name), name)
    task = TrainingTask(
        batches=lambda left: (((step,), {}) for step in left),
        loss=lambda step, _: loss(step),
        samples=lambda step, _: ("samples", pictures()),
    )
    loop.run(task)
    if loop.average is not None:
        loop.average.copy_to(module)


def stage_folder(work: Path, name: str) -> Path:
    """The folder of a stage."""
    return work / STAGES / name


def stage_seconds(work: Path) -> dict[str, float]:
    """Seconds each stage of a working folder has trained for."""
    checkpoints = {folder.name: Checkpoints(folder / CHECKPOINTS, 1).latest() for folder in (work / STAGES).iterdir()}
    return {name: read_progress(path).seconds for name, path in sorted(checkpoints.items()) if path is not None}

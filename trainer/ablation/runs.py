"""Running an ablation: the rates of every variant, then its cells, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess

from rem_engine.progress import SILENT, Progress

from ..run.stop_request import StopRequest
from .cell import Cell
from .plan import Ablation, prepare
from .sweep import SweepTask

_LOG_FILE = "log.txt"
_POLL_SECONDS = 1.0
_Task = Cell | SweepTask


def cells_of(ablation: Ablation) -> list[Cell]:
    """All cells, seed by seed."""
    return [Cell(ablation, variant, seed) for seed in range(1, ablation.seeds + 1) for variant in ablation.variants]


def ablate(ablation: Ablation, progress: Progress = SILENT, after_each: Callable[[], None] = lambda: None) -> None:
    """Run what is not done yet, first the rates, then cells seed by seed; what was broken off goes on where it was.

    Args:
        ablation: what to run.
        progress: told "shards" of the caches, and "runs" done: of the variants' rates, then of the cells.
        after_each: called when one is done.

    Raises:
        ValueError: settings that do not go together, or another ablation in the folder.
        RuntimeError: a run failed; those under way were finished.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; runs under way have saved where they are.
    """
    sweeps = [SweepTask(ablation, variant) for variant in ablation.variants]
    cells = cells_of(ablation)
    missing_rates = [task for task in sweeps if not task.is_done()]
    missing = [cell for cell in cells if not cell.is_done()]
    if missing_rates or missing:
        prepare(ablation, progress)
    _run_all(missing_rates, ablation.jobs, len(sweeps), progress, after_each)
    _run_all(missing, ablation.jobs, len(cells), progress, after_each)


def _run_all(tasks: Sequence[_Task], jobs: int, total: int, progress: Progress, after_each: Callable[[], None]) -> None:
    # spawned, so that no thread pool of this process is copied half-way
    context = multiprocessing.get_context("spawn")
    waiting, failed = list(tasks), None
    active: dict[int, tuple[_Task, SpawnProcess]] = {}
    done = total - len(tasks)
    progress.update("runs", done, total)
    with StopRequest("give the same command to go on") as stop:
        while active or (waiting and failed is None):
            while waiting and failed is None and len(active) < jobs:
                task = waiting.pop(0)
                process = context.Process(target=_in_process, args=(task,), name=task.title)
                process.start()
                active[process.sentinel] = (task, process)
            ended = wait(list(active), timeout=_POLL_SECONDS)
            if stop.asked:
                _stop([process for _, process in active.values()])
                raise KeyboardInterrupt("stopped; run the same command to go on")
            for sentinel in [each for each in active if each in ended]:
                task, process = active.pop(sentinel)
                process.join()
                if process.exitcode:
                    failed = failed or task
                else:
                    done += 1
                    after_each()
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


def _in_process(task: _Task) -> None:
    """What a process does; its bars and messages go to the task's log."""
    import torch

    torch.set_num_threads(1)  # threads that wait for each other take processor time, too
    task.folder.mkdir(parents=True, exist_ok=True)
    with open(task.folder / _LOG_FILE, "a", encoding="utf-8") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    try:
        task.run()
    except KeyboardInterrupt:
        sys.exit(130)

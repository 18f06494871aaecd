"""The log of a training: curves and pictures in TensorBoard, Weights & Biases or Trackio, and a progress bar."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from tqdm import tqdm

from rem_engine.whole_files import written_whole

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

TRACKERS = ("tensorboard", "wandb", "trackio")
"""Where a training can be reported to, by the names that accelerate gives them."""
PROJECT = "refereverything"
"""That runs are listed under, where a tracker has such; `WANDB_PROJECT` has no say, since accelerate names one."""

_RUN_ID = "run_id"


def check_trackers(names: Sequence[str]) -> None:
    """Raise ValueError for a tracker that is not known or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"There is no tracker {name!r} here; --report-to takes {', '.join(TRACKERS)}, or none.")
        if find_spec(name) is None:
            raise ValueError(f"{name} is not installed: pip install {name}, or leave it out of --report-to.")


class TrainingLog:
    """Trackers of accelerate and a progress bar; silent unless `enabled`.

    A run that goes on is the same run to its trackers. TensorBoard takes back what it was told of later steps than
    `first`; the others keep it, and take no figures of steps that they have.

    Args:
        folder: of the log.
        first, steps: where the training goes on, and its end.
        enabled: whether this process is the one that logs.
        name: shown with the bar.
        report_to: of `TRACKERS`.
        config: settings of the run, for trackers that list them.
    """

    def __init__(
        self,
        folder: Path,
        first: int,
        steps: int,
        enabled: bool,
        name: str = "",
        report_to: Sequence[str] = ("tensorboard",),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._trackers = [_tracker(each, folder, first, config or {}) for each in report_to] if enabled else []
        self._bar = tqdm(desc=name or None, initial=first, total=steps, unit="step", disable=not enabled)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        for tracker in self._trackers:
            tracker.finish()

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Log the figures of a step, and show its loss and, where it is one, the share of time waiting for data."""
        self.scalars(step, figures)
        waiting = f", waiting {figures['waiting']:.0%}" if "waiting" in figures else ""
        self._bar.set_postfix_str(f"loss {figures['loss']:.4g}{waiting}", refresh=False)
        self._bar.update()

    def scalars(self, step: int, figures: dict[str, float]) -> None:
        """Log figures, by name."""
        for tracker in self._trackers:
            tracker.log(figures, step=step)

    def picture(self, step: int, title: str, picture: Tensor) -> None:
        """Log a picture [3,H,W] in 0..1."""
        pixels = picture.movedim(0, -1)[None].mul(255).round().byte().numpy()
        for tracker in self._trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({title: pixels}, step=step, dataformats="NHWC")
                tracker.tracker.flush()
            elif tracker.name == "wandb":
                tracker.log_images({title: pixels}, step=step)
            else:
                import trackio

                tracker.log({title: trackio.Image(pixels[0])}, step=step)


def _tracker(name: str, folder: Path, first: int, config: Mapping[str, Any]) -> GeneralTracker:
    from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker

    tracker: GeneralTracker
    if name == "tensorboard":
        tracker = TensorBoardTracker(folder.name, folder.parent, purge_step=first)
        tracker.start()
        return tracker
    title = folder.absolute().parent.name
    run = _run_id(folder)
    if name == "wandb":
        tracker = WandBTracker(PROJECT, name=title, id=run, resume="allow", dir=folder)
    else:
        tracker = TrackioTracker(PROJECT, name=f"{title}-{run}", resume="allow")
    tracker.start()
    tracker.store_init_configuration(dict(config))
    return tracker


def _run_id(folder: Path) -> str:
    """By which a run is known elsewhere, the same whenever it goes on."""
    path = folder / _RUN_ID
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_text(secrets.token_hex(4), encoding="ascii")
    return path.read_text(encoding="ascii")

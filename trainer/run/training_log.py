"""The log of a training: curves and pictures in TensorBoard, and a progress bar."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from tqdm import tqdm


class TrainingLog:
    """TensorBoard's log and a progress bar; silent unless `enabled`.

    Args:
        folder: of the log; what it says of later steps than `first` is taken back.
        first, steps: where the training goes on, and its end.
        enabled: whether this process is the one that logs.
        name: shown with the bar.
    """

    def __init__(self, folder: Path, first: int, steps: int, enabled: bool, name: str = "") -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=first) if enabled else None
        self._bar = tqdm(desc=name or None, initial=first, total=steps, unit="step", disable=not enabled)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Log the figures of a step, and show its loss and, where it is one, the share of time waiting for data."""
        self.scalars(step, figures)
        waiting = f", waiting {figures['waiting']:.0%}" if "waiting" in figures else ""
        self._bar.set_postfix_str(f"loss {figures['loss']:.4g}{waiting}", refresh=False)
        self._bar.update()

    def scalars(self, step: int, figures: dict[str, float]) -> None:
        """Log figures, by name."""
        if self._writer is not None:
            for name, figure in figures.items():
                self._writer.add_scalar(name, figure, step)

    def picture(self, step: int, title: str, picture: Tensor) -> None:
        """Log a picture [3,H,W] in 0..1."""
        if self._writer is not None:
            self._writer.add_image(title, picture, step)
            self._writer.flush()

"""What there is to watch while a model trains: curves and pictures in TensorBoard, and a progress bar."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..model.objective import Batch, soft_masks

if TYPE_CHECKING:
    from ..model.trainable import Trainable
    from ..settings import ObjectiveSettings

_SHOWN = 4
"""Clips in a picture."""


class Watch:
    """TensorBoard's log and a progress bar; silent unless `shown`.

    Args:
        folder: of the log; what it says of later steps than `first` is taken back.
        first, steps: where the run goes on, and its end.
        shown: whether this process is the one that tells.
    """

    def __init__(self, folder: Path, first: int, steps: int, shown: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=first) if shown else None
        self._bar = tqdm(initial=first, total=steps, unit="step", disable=not shown)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def step(self, step: int, figures: dict[str, float]) -> None:
        """Note the figures of a step, and show its loss and the share of time spent waiting for data."""
        self.note(step, figures)
        self._bar.set_postfix_str(f"loss {figures['loss']:.4g}, waiting {figures['waiting']:.0%}", refresh=False)
        self._bar.update()

    def note(self, step: int, figures: dict[str, float]) -> None:
        """Note figures, by name."""
        if self._writer is not None:
            for name, figure in figures.items():
                self._writer.add_scalar(name, figure, step)

    def picture(self, step: int, picture: Tensor) -> None:
        """Note a picture [3,H,W] in 0..1."""
        if self._writer is not None:
            self._writer.add_image("frame, prediction, target", picture, step)
            self._writer.flush()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if not self._bar.disable:
            self._bar.write(text)


@torch.no_grad()
def picture(trainable: Trainable, denoiser: nn.Module, batch: Batch, objective: ObjectiveSettings) -> Tensor:
    """The middle frames of a few clips of a batch above the masks that are predicted for them and those asked for.

    Frames are decoded from latents. Every process of a distributed run calls this, since they share the denoiser.

    Returns:
        [3,3H,nW] in 0..1.
    """
    parts = {field.name: getattr(batch, field.name) for field in fields(batch)}
    few = Batch(**{name: None if value is None else value[:_SHOWN] for name, value in parts.items()})
    middle = few.masks.shape[1] // 2
    frames = [(trainable.backbone.decode_masks(clip[None])[middle] + 1) / 2 for clip in few.latents]
    masks = (soft_masks(trainable, denoiser, few, objective), few.masks)
    rows = [
        torch.cat(frames, dim=2),
        *(torch.cat(list(each[:, middle].float()), dim=1).expand(3, -1, -1) for each in masks),
    ]
    return torch.cat(rows, dim=1).clamp(0, 1).cpu()

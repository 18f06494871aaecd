"""How good a model in training is by the field's own measure: J and F of whole videos, at their own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from rem_engine import Segmenter, SegmentSettings
from rem_engine.frames import ArrayFrames
from rem_engine.metrics import boundary_accuracy, region_similarity

from ..benchmarks.predict import encoding_once, whole_masks
from ..data.broken import broken_policy
from ..data.join import Subset
from ..data.sample import BrokenSample, Dataset
from ..data.video import VideoSource

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from ..data.cache import TextCache
    from ..model.trainable import Trainable
    from ..settings import DataSettings, TrainSettings


@dataclass(frozen=True)
class _Asked:
    """A sentence about a video."""

    source: VideoSource
    index: int


class WholeVideos:
    """The videos of an evaluation, whole and at their own size.

    Args:
        data: of the evaluation.
        datasets: of `data`, from `open_datasets`.

    Raises:
        ValueError: one of its sources holds no videos.
    """

    def __init__(self, data: DataSettings, datasets: Sequence[Dataset]) -> None:
        self._on_broken = broken_policy(data.on_broken)
        self._asked: list[_Asked] = []
        for settings, source in zip(data.sources, datasets):
            if not isinstance(source, VideoSource):
                raise ValueError(f"evaluate_videos needs videos, and {source.name} holds still images; leave it out.")
            chosen: Sequence[int] = range(len(source))
            if settings.max_samples is not None:
                chosen = Subset(source, settings.max_samples).chosen.tolist()
            self._asked += [_Asked(source, index) for index in chosen]

    @torch.no_grad()
    def score(
        self, accelerator: Accelerator, trainable: Trainable, settings: TrainSettings, texts: TextCache | None
    ) -> dict[str, float]:
        """Mean J&F, J and F over sentences, of means over frames, as Ref-DAVIS17 has them; "J&F" is the first.

        Masks are the engine's under the protocol `paper`, through the weights that are trained; a window of a video is
        encoded once for the sentences about it. Processes share the sentences, each a run of them; those that share the
        weights take all of them together. Every process gets the same figures.

        Raises:
            BrokenSample: a video cannot be read, and the settings refuse that.
            ValueError: none can be read.
        """
        backbone = encoding_once(trainable.backbone)
        segmenter = Segmenter(backbone, SegmentSettings(protocol="paper", size=settings.size))
        sharded = accelerator.distributed_type.value in ("FSDP", "DEEPSPEED")
        first, apart = (0, 1) if sharded else (accelerator.process_index, accelerator.num_processes)
        sums = torch.zeros(3, dtype=torch.float64)
        mine = self._asked[len(self._asked) * first // apart : len(self._asked) * (first + 1) // apart]
        before: tuple[VideoSource, str] | None = None
        for asked in tqdm(mine, desc="evaluating", leave=False, disable=first > 0):
            try:
                video = asked.source.read_whole(asked.index)
            except BrokenSample as broken:
                self._on_broken(broken)
                continue
            clip = asked.source, asked.source.clip(asked.index)
            if clip != before:
                backbone.encode_video.forget()
                before = clip
            (masks,) = whole_masks(segmenter, ArrayFrames(video.frames), _rows(trainable, texts, video.text))
            measured = [measure(masks, video.masks).mean() for measure in (region_similarity, boundary_accuracy)]
            sums += torch.tensor([*measured, 1.0], dtype=torch.float64)
        summed = accelerator.reduce(sums.float().to(accelerator.device), "sum").tolist()
        if not summed[2]:
            raise ValueError("No video of the evaluation can be read; check its sources in the settings.")
        region, boundary = summed[0] / summed[2], summed[1] / summed[2]
        return {"J&F": (region + boundary) / 2, "J": region, "F": boundary}


def _rows(trainable: Trainable, texts: TextCache | None, text: str) -> Tensor:
    rows = trainable.encode_text(text)[None] if texts is None else texts.rows([text])
    return rows.to(trainable.device)

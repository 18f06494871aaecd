"""Predicting a benchmark's masks, video by video, into files that are whole or not there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rem_engine import Segmenter
from rem_engine.backbones.base import Backbone
from rem_engine.frames import FrameSource
from rem_engine.media.images import ImageShot
from rem_engine.media.writing import mask_png
from rem_engine.progress import SILENT, Progress
from rem_engine.whole_files import written_together

from ..data.fingerprint import tensor_hash
from .benchmark import Benchmark
from .video import Query, Video

# A window's masks of every sentence are held together: 8 of 73 frames at 512x512 take 1.8 GB under `paper`.
QUERIES_TOGETHER = 8
THRESHOLD = 0.5
"""Above it a pixel is in the mask (REM's released code)."""


class _Remembering:
    """A backbone's encoding of windows; one that was encoded for some sentences of a video is there for the others.

    Args:
        encode: the backbone's own.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        self._encode = encode
        self._latents: dict[str, Tensor] = {}

    def __call__(self, frames: Tensor) -> Tensor:
        name = tensor_hash(frames)
        if name not in self._latents:
            self._latents[name] = self._encode(frames)
        return self._latents[name]

    def forget(self) -> None:
        """Another video begins."""
        self._latents.clear()


def encoding_once(backbone: Backbone) -> Any:
    """The same model, encoding a window once however often it is asked for, until `encode_video.forget()`."""
    remembering: Any = copy.copy(backbone)  # whose parts are set, as a backbone's own never are
    remembering.encode_video = _Remembering(backbone.encode_video)
    return remembering


def whole_masks(segmenter: Segmenter, frames: FrameSource, embeds: Tensor) -> np.ndarray:
    """Masks of a whole shot, bool [P,T,H,W], from embeddings [P,77,D]; soft ones are in memory a few frames at a time.

    Raises:
        ValueError: see `Segmenter.stream`.
    """
    masks = np.zeros((len(embeds), frames.frame_count, frames.height, frames.width), bool)
    for chunk in segmenter.stream(frames, embeds):
        masks[:, chunk.start : chunk.start + chunk.soft.shape[1]] = (chunk.soft > THRESHOLD).numpy()
    return masks


def for_benchmark(segmenter: Segmenter, benchmark: Benchmark) -> Segmenter:
    """The same model, encoding each window of a video once however many sentences are asked, and under the protocol
    `paper` cutting videos as the authors' evaluation of this benchmark does."""
    settings = segmenter.plan.settings
    backbone = encoding_once(segmenter.backbone)
    if settings.protocol == "paper":
        family = backbone.family
        windows = benchmark.windows if family.paper_tail == "whole" else (benchmark.pieces,)
        backbone.family = replace(family, paper_windows=windows)
    return Segmenter(backbone, settings)


def predict(segmenter: Segmenter, video: Video, results: Path, progress: Progress = SILENT) -> None:
    """Write the masks of a video that are not there yet, 8-bit PNG of 0 and 255.

    Args:
        segmenter: the model, from `for_benchmark`.
        video: what is asked.
        results: folder that the queries' folders belong to.
        progress: see `Segmenter.stream`.

    Raises:
        ValueError: frames that cannot be read.
        RuntimeError, OSError: the disk is full.
    """
    remembering: Any = segmenter.backbone.encode_video
    remembering.forget()
    # The groups do not depend on what is there already: ModelScope's noise depends on a sentence's place in its group.
    for first in range(0, len(video.queries), QUERIES_TOGETHER):
        _predict(segmenter, video, video.queries[first : first + QUERIES_TOGETHER], results, progress)


def is_predicted(video: Video, results: Path) -> bool:
    """Whether every mask of a video is there."""
    return _first_missing(video, video.queries, results) is None


def _predict(segmenter: Segmenter, video: Video, queries: Sequence[Query], results: Path, progress: Progress) -> None:
    start = _first_missing(video, queries, results)
    if start is None:
        return
    last = max(frame for frame, name in enumerate(video.masks) if name is not None)
    for query in queries:
        (results / query.folder).mkdir(parents=True, exist_ok=True)
    with ImageShot(video.name, video.frames) as shot:
        embeds = segmenter.encode_prompts([query.text for query in queries])
        for chunk in segmenter.stream(shot, embeds, first_frame=start, progress=progress):
            masks = (chunk.soft > THRESHOLD).numpy().swapaxes(0, 1)
            for frame, of_frame in enumerate(masks, chunk.start):
                name = video.masks[frame]
                if name is not None:
                    files = [results / query.folder / name for query in queries]
                    with written_together({file: mask_png(mask) for file, mask in zip(files, of_frame)}):
                        pass
            if chunk.start + len(masks) > last:
                break


def _first_missing(video: Video, queries: Sequence[Query], results: Path) -> int | None:
    """The first frame of which a mask is not there."""
    folders = [results / query.folder for query in queries]
    for frame, name in enumerate(video.masks):
        if name is not None and not all((folder / name).is_file() for folder in folders):
            return frame
    return None

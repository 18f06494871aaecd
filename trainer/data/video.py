"""What the video datasets have in common: sentences about videos, annotated frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..settings import ClipKind
from .broken import OnBroken
from .files import check_place, field, read_frame, read_json, texts
from .frame_cache import FrameCache
from .sample import BrokenSample, Measured, Sample


@dataclass(frozen=True)
class VideoExpression:
    """A sentence about a video.

    Attributes:
        video: its name.
        text: the sentence.
        target: what the layout finds the masks by; None for a sentence that names nothing in the video.
    """

    video: str
    text: str
    target: Any


def sample_frames(count: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Which frames of a video make a clip, sorted (REM's released code, its Ref-YTVOS dataset).

    From a longer video frames are drawn without replacement, over all of it. A shorter one is repeated: every frame
    floor(frames / count) times, and the first frames mod count once more.

    Args:
        count: frames in the video, at least 1.
        frames: frames wanted.
        rng: source of chance.

    Returns:
        int [frames].
    """
    if count > frames:
        return np.sort(rng.choice(count, frames, replace=False))
    return np.sort(np.arange(frames) % count)


def clip_frames(count: int, frames: int, kinds: Sequence[ClipKind], rng: np.random.Generator) -> np.ndarray:
    """Which frames of a video make a clip, in one of some ways; shorter videos are repeated as by `sample_frames`.

    Contiguous frames follow one another; strided ones lie equally far apart, by more than one frame where the video is
    long enough.

    Args:
        count, frames, rng: see `sample_frames`.
        kinds: the ways; of several one is drawn.

    Returns:
        int [frames], sorted.
    """
    kind = kinds[0] if len(kinds) == 1 else kinds[int(rng.integers(len(kinds)))]
    if kind == "scattered" or count <= frames:
        return sample_frames(count, frames, rng)
    furthest = (count - 1) // max(frames - 1, 1)  # apart, so that all lie in the video
    stride = 1 if kind == "contiguous" or furthest < 2 else int(rng.integers(2, furthest + 1))
    first = int(rng.integers(count - stride * (frames - 1)))
    return first + stride * np.arange(frames)


class VideoSource(ABC):
    """A dataset of sentences about videos.

    Args:
        name: for logs and messages.
        expressions: the sentences.
        frames: names of the frames of every video, in order.
        listing: the file the sentences came from.

    Attributes:
        clips: how the frames of a clip are chosen; see `clip_frames`.
        kept: where frames are kept at the model's size, which clips are then read at; None for nowhere.

    Sentences are as they stand there, case and spaces kept; see `Trainable.encode_text`.
    """

    def __init__(
        self, name: str, expressions: Sequence[VideoExpression], frames: dict[str, tuple[str, ...]], listing: Path
    ) -> None:
        self.name = name
        self.clips: tuple[ClipKind, ...] = ("scattered",)
        self.kept: FrameCache | None = None
        self._expressions, self._frames, self._listing = list(expressions), frames, listing
        self._longest = max((len(frames[each.video]) for each in self._expressions), default=0)

    def __len__(self) -> int:
        return len(self._expressions)

    def text(self, index: int) -> str:
        return self._expressions[index].text

    def files(self, index: int) -> list[Path]:
        expression = self._expressions[index]
        count = len(self._frames[expression.video])
        return [
            self._listing,
            *(self._frame_file(expression.video, position) for position in range(count)),
            *(file for position in range(count) for file in self._mask_files(expression, position)),
        ]

    def is_fixed(self, frames: int) -> bool:
        return self._longest <= frames

    def read(self, index: int, frames: int, rng: np.random.Generator) -> Sample:
        expression = self._expressions[index]
        count = len(self._frames[expression.video])
        chosen = [int(position) for position in clip_frames(count, frames, self.clips, rng)]
        # a frame that is repeated is read once
        pictures = {position: self._sized_picture(expression.video, position) for position in dict.fromkeys(chosen)}
        size = pictures[chosen[0]][1]
        for position, (_, its_size) in pictures.items():
            self._check_size(expression.video, position, its_size, size)
        masks = {position: self._filled_mask(expression, position, size) for position in pictures}
        if expression.target is not None and not any(filled for _, filled in masks.values()):
            # what is named may leave the picture for a while, but must be there in some frame of the video
            self._check_present(expression, (p for p in range(count) if p not in masks), size)
        return Sample(
            np.stack([pictures[position][0] for position in chosen]),
            np.stack([masks[position][0] for position in chosen]),
            expression.text,
        )

    def clip(self, index: int) -> str:
        """The video a sample is about; what is about the same pictures has the same."""
        return self._clip_of(self._expressions[index].video)

    def read_whole(self, index: int) -> Sample:
        """All frames of a sample's video, in order.

        Raises:
            BrokenSample: see `Source.read`.
        """
        count = len(self._frames[self._expressions[index].video])
        return self.read(index, count, np.random.default_rng(0))  # which draws nothing, since all are taken

    def check(self, index: int) -> Measured:
        expression = self._expressions[index]
        count = len(self._frames[expression.video])
        size: tuple[int, ...] = ()
        areas = []
        for position in range(count):
            picture = self._picture(expression.video, position)
            size = size or picture.shape[:2]
            self._check_size(expression.video, position, picture.shape[:2], size)
            areas.append(float(self._checked_mask(expression, position, size).mean()))
        if expression.target is not None and not any(areas):
            self._check_present(expression, (), size)  # where all were looked at
        return Measured(self.clip(index), count, size, tuple(areas) if expression.target is not None else ())

    @abstractmethod
    def _frame_file(self, video: str, position: int) -> Path:
        """The file of a video's frame, counted from 0."""

    @abstractmethod
    def _mask_files(self, expression: VideoExpression, position: int) -> list[Path]:
        """The files a mask is read from, other than the listing."""

    @abstractmethod
    def _mask(self, expression: VideoExpression, position: int, size: tuple[int, ...]) -> np.ndarray:
        """bool [H,W]: what the sentence names in a frame of a video, of the size the annotation has."""

    def _clip_of(self, video: str) -> str:
        """By which videos of the same pictures are known."""
        return video

    def _picture(self, video: str, position: int) -> np.ndarray:
        return read_frame(self._frame_file(video, position))

    def _sized_picture(self, video: str, position: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """A frame, at the model's size where it is kept, and the size of the file's own."""
        if self.kept is not None:
            return self.kept.picture(self._frame_file(video, position), lambda: self._picture(video, position))
        picture = self._picture(video, position)
        return picture, picture.shape[:2]

    def _filled_mask(
        self, expression: VideoExpression, position: int, size: tuple[int, ...]
    ) -> tuple[np.ndarray, bool]:
        """A mask, at the model's size where it is kept, and whether the file's own has a pixel."""
        if self.kept is not None and expression.target is not None:
            files, named = self._mask_files(expression, position), [expression.target, position]
            return self.kept.mask(files, named, size, lambda: self._checked_mask(expression, position, size))
        mask = self._checked_mask(expression, position, size if self.kept is None else self.kept.size)
        return mask, bool(mask.any())

    def _checked_mask(self, expression: VideoExpression, position: int, size: tuple[int, ...]) -> np.ndarray:
        if expression.target is None:
            return np.zeros(size, bool)
        mask = self._mask(expression, position, size)
        if mask.shape != size:
            raise BrokenSample(
                self._mask_files(expression, position)[0],
                f"holds masks of {_by(mask.shape)} pixels, but the frame "
                f"{self._frame_file(expression.video, position).name} is {_by(size)}.",
            )
        return mask

    def _check_size(self, video: str, position: int, its_size: tuple[int, ...], size: tuple[int, ...]) -> None:
        if its_size != size:
            raise BrokenSample(
                self._frame_file(video, position),
                f"is {_by(its_size)} pixels, but another frame of its video is {_by(size)}.",
            )

    def _check_present(self, expression: VideoExpression, positions: Iterable[int], size: tuple[int, ...]) -> None:
        if not any(self._checked_mask(expression, position, size).any() for position in positions):
            raise BrokenSample(
                self._mask_files(expression, 0)[0],
                f"is empty, as are all masks of {expression.video} for the sentence {expression.text!r}.",
            )


def _by(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]}"


def read_videos(path: Path, on_broken: OnBroken) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """The videos of a meta_expressions.json: (name, names of its frames, expressions by id).

    Raises:
        FileNotFoundError: no such file.
        BrokenSample: not JSON, or not of that form.
    """
    videos = []
    for video, entry in field(path, read_json(path), "videos", dict, "the file").items():
        try:
            where = f"the video {video}"
            frames = tuple(sorted(texts(path, entry, "frames", where)))
            if not frames:
                raise BrokenSample(path, f"{where} has no frames.")
            expressions = field(path, entry, "expressions", dict, where)
            for name in (video, *frames, *expressions):
                check_place(path, name, where)
            videos.append((video, frames, expressions))
        except BrokenSample as broken:
            on_broken(broken)
    return videos

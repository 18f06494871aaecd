"""Users' own shots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rem_engine.input_files import NotText, load_text
from rem_engine.media.images import read_image
from rem_engine.media.mask_pictures import stored_pictures
from rem_engine.media.matte_values import MatteChoice, StoredPicture, choose_matte
from rem_engine.media.reading import find_sequence
from rem_engine.pixels import to_uint8

from .broken import OnBroken, refuse
from .sample import BrokenSample
from .video import VideoExpression, VideoSource

NOTHING = "-"
"""Stands in prompts.txt for the mask of a sentence that names nothing in the shot."""


class Folder(VideoSource):
    """A folder of shots, each a folder of its own.

    `<shot>/frames/`: PNG, JPEG, TIFF or EXR, numbered; `<shot>/masks/<mask>/`: pictures with the numbers of the frames
    they belong to, above one half where the thing is, in their colour or their alpha as `choose_matte` finds it;
    `<shot>/prompts.txt`: lines `<mask>: <sentence>`, where the mask `-` says that the sentence names nothing in the
    shot. A mask need not cover all frames: a clip of its sentences is made of those it has.

    Args:
        root: the folder.
        on_broken: what is done about a shot or a line that is not of that form.
        shots: names of the shots to take; None for all.

    Attributes:
        shots: names of those that can be used, in order.

    Raises:
        FileNotFoundError: the folder does not exist or holds no shot.
        ValueError: it does not hold one of the shots that are named.
    """

    def __init__(self, root: Path, on_broken: OnBroken = refuse, shots: Sequence[str] | None = None) -> None:
        there = shot_folders(root)
        if not there:
            raise FileNotFoundError(f"{root} holds no shot; folders with frames/, masks/ and prompts.txt are expected.")
        names = [path.name for path in there]
        if shots is not None and (lost := next((name for name in shots if name not in names), None)):
            raise ValueError(f"{root} holds no shot {lost!r}; check the setting shots.")
        self.shots: list[str] = []
        self._root = root
        self._shot_frames: dict[str, list[Path]] = {}
        self._pictures: dict[str, list[Path]] = {}
        self._masks: dict[str, list[Path]] = {}
        self._choices: dict[str, MatteChoice] = {}
        expressions: list[VideoExpression] = []
        for shot in there:
            if shots is not None and shot.name not in shots:
                continue
            try:
                frames, lines = _by_number(shot / "frames"), _lines(shot / "prompts.txt")
            except BrokenSample as broken:
                on_broken(broken)
                continue
            self.shots.append(shot.name)
            self._shot_frames[shot.name] = list(frames.values())
            for number, line in enumerate(lines, 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    try:
                        expressions.append(self._expression(shot, number, line, frames))
                    except BrokenSample as broken:
                        on_broken(broken)
        stems = {key: tuple(path.stem for path in paths) for key, paths in self._pictures.items()}
        super().__init__(f"shots of {root.name}", expressions, stems, root)

    def files(self, index: int) -> list[Path]:
        listing, *pictures = super().files(index)
        return [listing / self.clip(index) / "prompts.txt", *pictures]

    def frames_of(self, shot: str) -> list[Path]:
        """All frames of a shot, in order."""
        return self._shot_frames[shot]

    def sentences_of(self, shot: str) -> list[int]:
        """Numbers of the samples that are about a shot."""
        return [number for number in range(len(self)) if self.clip(number) == shot]

    def name_the_same(self, one: int, other: int) -> bool:
        """Whether two sentences have the same mask."""
        return self._expressions[one].video == self._expressions[other].video

    def truth(self, index: int) -> tuple[list[int], np.ndarray] | None:
        """Places among the shot's frames that a sentence's mask has, and the mask there, bool [n,H,W]; None where it
        names nothing in the shot.

        Raises:
            BrokenSample: a picture that cannot be read.
        """
        expression = self._expressions[index]
        if expression.target is None:
            return None
        paths = self._pictures[expression.video]
        places = {path: place for place, path in enumerate(self.frames_of(self.clip(index)))}
        size = self._picture(expression.video, 0).shape[:2]
        masks = [self._checked_mask(expression, position, size) for position in range(len(paths))]
        return [places[path] for path in paths], np.stack(masks)

    def _clip_of(self, video: str) -> str:
        return Path(video).parts[0]

    def _expression(self, shot: Path, number: int, line: str, frames: dict[int, Path]) -> VideoExpression:
        listing = shot / "prompts.txt"
        mask, colon, text = (part.strip() for part in line.partition(":"))
        if not colon or not mask or not text:
            raise BrokenSample(listing, f"line {number} is not '<mask>: <sentence>' but {line.strip()!r}.")
        key = f"{shot.name}/{mask}"
        if mask == NOTHING:
            self._pictures[key] = list(frames.values())
            return VideoExpression(key, text, None)
        if key not in self._masks:
            masks = _by_number(shot / "masks" / mask)
            strays = sorted(set(masks) - set(frames))
            if strays:
                raise BrokenSample(
                    masks[strays[0]], f"belongs to no frame; {shot / 'frames'} has no number {strays[0]}."
                )
            self._pictures[key] = [frames[each] for each in masks]
            self._masks[key] = list(masks.values())
        return VideoExpression(key, text, mask)

    def _frame_file(self, video: str, position: int) -> Path:
        return self._pictures[video][position]

    def _mask_files(self, expression: VideoExpression, position: int) -> list[Path]:
        return [] if expression.target is None else [self._masks[expression.video][position]]

    def _picture(self, video: str, position: int) -> np.ndarray:
        return to_uint8(_read(self._frame_file(video, position)))

    def _mask(self, expression: VideoExpression, position: int, size: tuple[int, ...]) -> np.ndarray:
        file = self._masks[expression.video][position]
        with _as_broken(file):
            return self._choice(expression.video).read(_stored(file)) > 0.5

    def _choice(self, video: str) -> MatteChoice:
        """What of a mask's pictures is the matte, found out when it is first read."""
        if video not in self._choices:
            files = self._masks[video]
            with _as_broken(files[0]):
                self._choices[video] = choose_matte(_stored(file) for file in files)
        return self._choices[video]


def shot_folders(root: Path) -> list[Path]:
    """The folders of a root that are shots, whole or not, by name."""
    return sorted(path for path in root.iterdir() if (path / "frames").is_dir() or (path / "prompts.txt").is_file())


def _lines(path: Path) -> list[str]:
    try:
        return load_text(path).splitlines()
    except FileNotFoundError:
        raise BrokenSample(path, "is missing; its lines are '<mask>: <sentence>'.") from None
    except NotText as error:
        raise BrokenSample(path, f"{error}; save it as UTF-8 text.") from error


def _by_number(folder: Path) -> dict[int, Path]:
    """The pictures of a folder by their frames' numbers, ascending."""
    if not folder.is_dir():
        raise BrokenSample(folder, "is missing; a folder of numbered pictures is expected there.")
    try:
        found = find_sequence(folder)
    except ValueError as error:
        raise BrokenSample(folder, f"cannot be used: {error}") from error
    if not found.own:
        (file,) = found.files.values()
        raise BrokenSample(file, "has no number in its name; frames and masks are matched by it.")
    return found.files


def _read(path: Path) -> np.ndarray:
    with _as_broken(path):
        return read_image(path)


def _stored(path: Path) -> StoredPicture:
    with _as_broken(path):
        return next(stored_pictures((path,)))


@contextmanager
def _as_broken(path: Path) -> Iterator[None]:
    """Names a file that is missing, or of which something is said."""
    try:
        yield
    except FileNotFoundError:
        raise BrokenSample(path, "is missing.") from None
    except BrokenSample:
        raise
    except ValueError as error:
        raise BrokenSample(path, f"cannot be used: {error}") from error

"""The motion between neighbouring frames of a shot, found once and kept on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import cv2
import numpy as np

from ..frames import FrameSource
from ..matte.motion import Motion, Picture, motions_between
from ..pixels import unit_values
from ..progress import SILENT, Progress
from ..whole_files import check_space, written_whole

MOST_BYTES = 4 * 2**30
"""Of what is kept of a shot; the motion of one that would take more is found on smaller pictures."""

_LONGEST_SIDE = 640  # pixels; finer plates take time and gain little (see `matte.motion`)
_LEAST_SIDE = 64
_BYTES_A_PIXEL = 3 + 2 * (2 * 2 + 1)  # colours, and flow and trust to either neighbour
_FLOW_STEPS = 64.0  # to a pixel: as int16 a flow reaches 511 pixels, which is most of a picture
_CONTENT = "shot.json"
_FORM = 1


@dataclass(frozen=True)
class Step:
    """From a frame to the next and back."""

    ahead: Motion
    back: Motion


class ShotMotion:
    """Pictures of a shot, reduced, and the motion between neighbours of one take; read from disk frame by frame.

    Attributes:
        frame_count: of the shot.
        cuts: frames at which takes begin, rising; never 0.
        size: (height, width) of the pictures, at which motion is measured.
    """

    def __init__(
        self,
        folder: Path,
        frame_count: int,
        cuts: Collection[int],
        size: tuple[int, int],
        temporary: TemporaryDirectory[str] | None = None,
    ) -> None:
        """See `of` and `kept`."""
        self.frame_count, self.cuts, self.size = frame_count, tuple(sorted(cuts)), size
        self._folder, self._temporary = folder, temporary

    @classmethod
    def of(
        cls,
        frames: FrameSource,
        cuts: Collection[int] = (),
        folder: Path | None = None,
        key: str = "",
        progress: Progress = SILENT,
    ) -> ShotMotion:
        """Find the motion of a shot, or take what was found before.

        Args:
            frames: the shot; read once, in order.
            cuts: frames at which takes begin.
            folder: where it is kept for later; None for a temporary one, which goes at the end of `with`.
            key: tells the shot from others; what was kept under another one is replaced.
            progress: told "motion".

        Raises:
            RuntimeError: the disk has no room for it.
            OSError: it cannot be written.
        """
        kept = None if folder is None else cls.kept(folder, frames.frame_count, key)
        if kept is not None and kept.cuts == tuple(sorted(cuts)):
            return kept
        temporary = TemporaryDirectory(prefix="rem-motion-") if folder is None else None
        place = Path(temporary.name) if temporary else Path(folder or "")
        try:
            size = motion_size(frames.height, frames.width, frames.frame_count)
            found = cls(place, frames.frame_count, cuts, size, temporary)
            place.mkdir(parents=True, exist_ok=True)
            found._clear()
            needed = frames.frame_count * size[0] * size[1] * _BYTES_A_PIXEL
            check_space(needed, "The motion of the shot, which is kept for later corrections,", place)
            found._find(frames, progress)
            if folder is not None:
                with written_whole(place / _CONTENT) as file:
                    file.write_text(json.dumps(found._content(key)), "utf-8")
        except BaseException:
            if temporary:
                temporary.cleanup()
            raise
        return found

    @classmethod
    def kept(cls, folder: Path, frame_count: int, key: str) -> ShotMotion | None:
        """What `of` found before and kept in a folder, under the cuts that were known then; None where it did not."""
        try:
            content = json.loads((folder / _CONTENT).read_text("utf-8"))
            height, width = content["size"]
            kept = cls(folder, frame_count, [int(cut) for cut in content["cuts"]], (int(height), int(width)))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        bytes_of_frame = height * width * _BYTES_A_PIXEL
        whole = all(
            kept._file(index).is_file() and kept._file(index).stat().st_size == bytes_of_frame
            for index in range(frame_count)
        )
        return kept if content == kept._content(key) and whole else None

    def _content(self, key: str) -> dict[str, object]:
        return {
            "form": _FORM,
            "key": key,
            "frames": self.frame_count,
            "cuts": [*self.cuts],
            "size": [*self.size],
        }

    def _clear(self) -> None:
        for file in (*self._folder.glob("[0-9]*.raw"), self._folder / _CONTENT):
            file.unlink(missing_ok=True)

    def take_of(self, index: int) -> range:
        """The frames of the take that a frame is of."""
        edges = (0, *self.cuts, self.frame_count)
        return next(range(start, stop) for start, stop in zip(edges, edges[1:]) if index < stop)

    def takes(self) -> Iterator[range]:
        """All takes, in order."""
        edges = (0, *self.cuts, self.frame_count)
        return (range(start, stop) for start, stop in zip(edges, edges[1:]))

    def picture(self, index: int) -> Picture:
        """A frame, reduced."""
        height, width = self.size
        colours = np.fromfile(self._file(index), np.uint8, height * width * 3).reshape(height, width, 3)
        return Picture(colours, cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))

    def step(self, index: int) -> Step:
        """From a frame to the next, which is of the same take."""
        height, width = self.size
        pixels = height * width
        with open(self._file(index), "rb") as file:
            file.seek(pixels * 3)
            flows = np.fromfile(file, np.int16, pixels * 4).reshape(2, height, width, 2)
            trusts = np.fromfile(file, np.uint8, pixels * 2).reshape(2, height, width)
        ahead, back = (
            Motion(flow.astype(np.float32) / np.float32(_FLOW_STEPS), trust.astype(np.float32) / np.float32(255.0))
            for flow, trust in zip(flows, trusts, strict=True)
        )
        return Step(ahead, back)

    def close(self) -> None:
        """Remove what was kept for as long as this is open."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> ShotMotion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _file(self, index: int) -> Path:
        return self._folder / f"{index:06d}.raw"

    def _find(self, frames: FrameSource, progress: Progress) -> None:
        """Motion is found by several threads, which OpenCV lets run beside each other; few frames wait for them."""
        workers = min(4, os.cpu_count() or 1)
        waiting: list[tuple[int, Picture, Future[Step] | None]] = []
        done = 0
        with ThreadPoolExecutor(workers) as pool:
            before: Picture | None = None
            for index in range(self.frame_count + 1):
                picture = None if index == self.frame_count else self._reduced(frames, index)
                if before is not None:
                    joined = picture is not None and index not in self.cuts
                    found = pool.submit(_step_between, before, picture) if joined and picture is not None else None
                    waiting.append((index - 1, before, found))
                while waiting and (len(waiting) > 2 * workers or picture is None):
                    place, shown, step = waiting.pop(0)
                    self._write(place, shown, step.result() if step else None)
                    done += 1
                    progress.update("motion", done, self.frame_count)
                before = picture

    def _reduced(self, frames: FrameSource, index: int) -> Picture:
        plate = unit_values(frames.read(index, index + 1)[0])
        if plate.shape[:2] != self.size:
            plate = cv2.resize(np.ascontiguousarray(plate), self.size[::-1], interpolation=cv2.INTER_AREA)
        picture = Picture.of(plate)
        assert picture.grey.shape == self.size
        return picture

    def _write(self, index: int, picture: Picture, step: Step | None) -> None:
        height, width = self.size
        flows = np.zeros((2, height, width, 2), np.int16)
        trusts = np.zeros((2, height, width), np.uint8)
        if step is not None:
            for place, motion in enumerate((step.ahead, step.back)):
                flows[place] = np.rint(motion.flow * _FLOW_STEPS).clip(-32767, 32767)
                trusts[place] = np.rint(motion.trust * 255.0)
        with open(self._file(index), "wb") as file:  # the content, written last, vouches for it
            for part in (picture.colours, flows, trusts):
                file.write(np.ascontiguousarray(part).data)


def motion_size(height: int, width: int, frame_count: int) -> tuple[int, int]:
    """(height, width) of the pictures on which the motion of a shot is found: what is kept has a limit."""
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    pixels = MOST_BYTES / (_BYTES_A_PIXEL * max(frame_count, 1))
    scale = min(scale, (pixels / (height * width)) ** 0.5)
    scale = max(scale, min(1.0, _LEAST_SIDE / min(height, width)))
    return max(round(height * scale), 16), max(round(width * scale), 16)


def _step_between(one: Picture, other: Picture) -> Step:
    return Step(*motions_between(one, other))

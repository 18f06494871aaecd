"""The time that a run takes, and how it ends when it is stopped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..whole_files import is_disk_full
from .folder import RunFolder

if TYPE_CHECKING:
    from ..segment.close_up import CloseUp
    from ..segment.segmenter import Segmenter

_Item = TypeVar("_Item")


class Clock:
    """Seconds per stage of a run, those before an interruption included.

    Stages may be entered from within others, as where the matte stage asks the model for its next frame; time counts
    for the innermost only.

    Args:
        segmenter: counts the model's stages itself.
        earlier: seconds until the run was interrupted.
        load: seconds that it took to get here.
    """

    def __init__(self, segmenter: Segmenter | CloseUp, earlier: Mapping[str, float], load: float) -> None:
        self._segmenter, self._earlier = segmenter, earlier
        self._own: dict[str, float] = {"load": load, "write": 0.0, "overlay": 0.0}
        self._stages: list[str | None] = []
        self._since = 0.0

    @contextlib.contextmanager
    def timed(self, stage: str | None) -> Iterator[None]:
        """Count what is done inside for a stage; None for what the segmenter counts."""
        self._charge()
        self._stages.append(stage)
        try:
            yield
        finally:
            self._charge()
            self._stages.pop()

    def each(self, stage: str | None, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items; what it takes to make them counts for a stage."""
        iterator = iter(items)
        while True:
            with self.timed(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
            del item  # before the next is made

    def seconds(self) -> dict[str, float]:
        counts = (self._segmenter.seconds, self._own, self._earlier)
        stages = dict.fromkeys(stage for count in counts for stage in count)
        return {stage: round(sum(count.get(stage, 0.0) for count in counts), 3) for stage in stages}

    def _charge(self) -> None:
        now = time.perf_counter()
        stage = self._stages[-1] if self._stages else None
        if stage is not None:
            self._own[stage] = self._own.get(stage, 0.0) + now - self._since
        self._since = now


@contextlib.contextmanager
def explained_stop(out: Path, note: Callable[[], None], where_it_stands: Callable[[], str]) -> Iterator[None]:
    """Whatever stops a run, note how far it came; a full disk and Ctrl-C get a sentence that says how to go on.

    Args:
        out: where the run writes.
        note: notes how far it came.
        where_it_stands: sentences about it.
    """
    try:
        yield
    except BaseException as error:
        # On a full disk the note itself may not fit; the one before then stands.
        with contextlib.suppress(OSError):
            note()
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"Interrupted. {where_it_stands()}") from None
        if is_disk_full(error):
            raise RuntimeError(f"No space is left on the disk for {out}: make room. {where_it_stands()}") from error
        raise


def where_it_stands(folder: RunFolder) -> str:
    """What of a stopped run is done, what the same command does next, and what became of the files it would replace."""
    said = _how_far(folder)
    return f"{said} The files that were there before are as they were." if folder.replaces else said


def _how_far(folder: RunFolder) -> str:
    done = folder.whole_frames
    if not folder.kept and folder.replaces:
        return f"{done} of {folder.frame_count} frames were done."
    if not folder.kept:
        return f"Frames 0 to {done - 1} of {folder.frame_count} are whole." if done else "No frame is whole."
    if not folder.can_go_on:
        if folder.has_single_files:
            return (
                "The same command run again starts at the first frame: a video cannot be gone on with, unless soft "
                "masks are written beside it."
            )
        return "The same command run again starts at the first frame."
    if done == 0:
        return "The same command run again starts at the first frame."
    again = "the same command run again"
    videos = ", and encodes its videos anew from the masks" if folder.has_single_files else ""
    if done == folder.frame_count:
        return f"All {done} frames are done: {again} finishes the rest{videos}."
    return f"Frames 0 to {done - 1} of {folder.frame_count} are done: {again} goes on at frame {done}{videos}."

"""Ref-VPS: processes, one expression a clip. No layout was released; this one is ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rem_engine.media.reading import shot_files

from ..data.files import check_place, read_ids, read_json
from ..data.sample import BrokenSample
from .benchmark import Benchmark
from .video import Query, Truth, Video


class RefVpsBenchmark(Benchmark):
    """Clips, each with one expression, in a layout of this project.

    `expressions.json` (clip -> expression); `frames/<clip>/<frame>.jpg` (or PNG, TIFF, EXR);
    `masks/<clip>/<frame>.png`, 8-bit, not 0 where the thing is, for all frames or some: a frame without one does not
    count. Results lie in `<clip>/<frame>.png`.

    Args:
        root: the folder.
        split: None, since there is a single one.

    Raises:
        FileNotFoundError, ValueError: a part of it is missing or not of that form.
    """

    name = "ref-vps"
    title = "Ref-VPS"
    headline = "J"

    def __init__(self, root: Path, split: str | None = None) -> None:
        self._root = root
        self._listing = root / "expressions.json"
        self._expressions = read_json(self._listing)
        if not isinstance(self._expressions, dict) or not self._expressions:
            raise BrokenSample(self._listing, "holds no expressions; an object of clip -> expression is expected.")

    def names(self) -> Sequence[str]:
        return sorted(self._expressions)

    def video(self, name: str) -> Video:
        text = self._expressions[name]
        if not isinstance(text, str) or not text.strip():
            raise BrokenSample(self._listing, f"has no sentence for {name}.")
        check_place(self._listing, name, "a clip")
        folder = self._root / "frames" / name
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} does not exist; expressions.json names the clip {name}.")
        frames = shot_files(folder)
        return Video(
            name, tuple(frames), tuple(f"{frame.stem}.png" for frame in frames), (Query(name, text, "", name),)
        )

    def truth(self, video: Video, frame: int) -> Truth | None:
        path = self._root / "masks" / video.name / f"{video.frames[frame].stem}.png"
        return Truth(read_ids(path)[None] > 0) if path.is_file() else None

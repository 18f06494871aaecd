"""Videos to look a matte over by: the plate with it beside the matte alone, and what frame it is burnt in."""

from __future__ import annotations

import re
from contextlib import closing, nullcontext
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..media.overlay import draw_overlay
from ..media.shot import Shot, ShotInfo
from ..media.timecode import STILLS_FPS
from ..media.writing import VideoWriter
from ..pixels import to_uint8, unit_values
from ..progress import Progress
from ..whole_files import written_whole
from .report import Report
from .written import WrittenLayer

_WIDEST = 960
"""Pixels of each of the two pictures."""
_VERSION = re.compile(r"[vV]\d+(?![a-zA-Z])")


def write_movies(report: Report, folder: Path, progress: Progress) -> None:
    """Write `<layer>.mp4` for each layer into a folder."""
    for layer in report.written.layers:
        plate = report.written.open_plate() if layer.numbers == report.written.numbers else None
        with (
            closing(plate) if plate is not None else nullcontext(),
            written_whole(folder / f"{layer.name}.mp4") as file,
        ):
            _write_movie(report, layer, plate, file, progress)


def _write_movie(report: Report, layer: WrittenLayer, plate: Shot | None, file: Path, progress: Progress) -> None:
    told = {number: one.kind for one in report.findings if one.layer in ("", layer.name) for number in one.numbers}
    version = _VERSION.search(report.written.title)
    video: VideoWriter | None = None
    fps = plate.fps if plate is not None and plate.fps else STILLS_FPS
    try:
        for place, (number, matte) in enumerate(zip(layer.numbers, layer.mattes(), strict=True)):
            shown = None if plate is None else unit_values(plate.read(place, place + 1, shared=True)[0])
            size = (plate.height, plate.width) if plate is not None else None if matte is None else matte.shape
            if size is None:
                continue  # nothing is known yet of how large the pictures are
            timecode = plate.timecode_of(place) if plate is not None else None
            line = [
                report.written.title,
                layer.name,
                version[0] if version else "",
                str(number),
                timecode or "",
                told.get(number, ""),
            ]
            picture = side_by_side(shown, matte, (size[0], size[1]), "  ".join(text for text in line if text))
            if video is None:
                video = VideoWriter(file, ShotInfo(picture.shape[0], picture.shape[1], Fraction(fps)))
            video.write(picture)
            progress.update("frames", place + 1, len(layer.numbers))
    except BaseException:
        if video is not None:
            video.abandon()
        raise
    if video is not None:
        video.close()


def side_by_side(shown: np.ndarray | None, matte: np.ndarray | None, size: tuple[int, int], text: str) -> np.ndarray:
    """The plate with the matte over it, the matte alone, and a line of text below them.

    Args:
        shown: the plate, float32 [H,W,3] in 0..1; None for black.
        matte: float32 [H,W]; None for nothing.
        size: (H, W) of both.
        text: the line.

    Returns:
        uint8 [h,2w,3], the pictures at most `_WIDEST` across.
    """
    height, width = size
    scale = min(1.0, _WIDEST / width)
    across, down = max(round(width * scale), 2), max(round(height * scale), 2)
    left = np.zeros((down, across, 3), np.uint8)
    if shown is not None:
        left = to_uint8(cv2.resize(shown, (across, down), interpolation=cv2.INTER_AREA))
    soft = np.zeros((down, across), np.float32)
    if matte is not None:
        soft = cv2.resize(np.nan_to_num(matte).clip(0.0, 1.0), (across, down), interpolation=cv2.INTER_AREA)
    right = np.repeat(to_uint8(soft)[..., None], 3, axis=2)
    return _with_text(np.concatenate([draw_overlay(left, soft[None], [""]), right], axis=1), text)


def _with_text(picture: np.ndarray, text: str) -> np.ndarray:
    size = max(10, picture.shape[0] // 24)
    bar = Image.new("RGB", (picture.shape[1], round(1.6 * size)))
    draw = ImageDraw.Draw(bar)
    draw.text((size // 2, bar.height / 2), text, fill=(255, 255, 255), font=ImageFont.load_default(size), anchor="lm")
    return np.concatenate([picture, np.asarray(bar)], axis=0)

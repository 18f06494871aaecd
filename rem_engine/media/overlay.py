"""Pictures of masks for people to look at: overlays and preview strips."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

# The vivid part of Sasha Trubetskoy's "List of 20 Simple, Distinct Colors" (2017), neighbours far apart in hue.
COLOURS = (
    (230, 25, 75),
    (70, 240, 240),
    (255, 225, 25),
    (145, 30, 180),
    (60, 180, 75),
    (245, 130, 48),
    (0, 130, 200),
    (240, 50, 230),
    (170, 110, 40),
    (250, 190, 212),
    (0, 128, 128),
    (128, 0, 0),
)
"""RGB 0..255 of prompts, in the order in which they are taken; more prompts than that take them again."""

CONTRAST = 60.0
"""CIE 1976 distance from what it covers at which a colour is plain to see, contour and fill."""

_SEEN = 1 / 4000  # of a frame that a mask covers before its colour is settled by what lies beneath
_FILL = 0.45  # opacity of a mask at 1: the colour is plain to see, and so is the shot beneath
_SMALLEST_TEXT = 8  # pixels; below that the default font is no longer readable
_LEGEND_SHARE = 0.6  # of the frame's height at most; what does not fit is counted in the last line


class OverlayColours:
    """A colour for each layer of a shot that contrasts with what the layer covers where it is first seen.

    Each takes the first of `COLOURS` that no other layer has and that lies `CONTRAST` away from the mean colour
    beneath its mask, or else the one farthest away; and keeps it to the end of the shot.

    Args:
        count: of layers.
        chosen: what an artist chose for each, "#rrggbb", which stands above all that; "" for none.
    """

    def __init__(self, count: int, chosen: Sequence[str] = ()) -> None:
        self._settled: list[int | None] = [None] * count
        self._chosen = [_rgb(colour) if colour else None for colour in chosen or [""] * count]

    def at(self, frame: np.ndarray, soft: np.ndarray, threshold: float = 0.5) -> list[tuple[int, int, int]]:
        """The layers' colours from a frame on, RGB 0..255; one that was not seen yet has what the others leave.

        Args:
            frame: uint8 [H,W,3], the frames of a shot in order.
            soft: soft masks [P,H,W].
            threshold: above which a mask covers a pixel.
        """
        for layer, place in enumerate(self._settled):
            if place is None and (inside := soft[layer] > threshold).mean() > _SEEN:
                self._settled[layer] = self._contrasting(frame[inside].mean(axis=0))
        given = list(self._settled)
        for layer, place in enumerate(given):
            if place is None:
                given[layer] = _free(given)[0]
        made = [COLOURS[place] for place in given if place is not None]
        return [own or colour for own, colour in zip(self._chosen, made, strict=True)]

    def _contrasting(self, covered: np.ndarray) -> int:
        away = np.linalg.norm(_lab(COLOURS) - _lab([covered]), axis=-1)
        free = _free(self._settled)
        return next((place for place in free if away[place] >= CONTRAST), max(free, key=lambda place: away[place]))


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _free(taken: Sequence[int | None]) -> list[int]:
    """Places in `COLOURS` that the fewest layers have."""
    uses = [taken.count(place) for place in range(len(COLOURS))]
    return [place for place, count in enumerate(uses) if count == min(uses)]


def _lab(colours: Sequence[Sequence[float]] | Sequence[np.ndarray]) -> np.ndarray:
    return cv2.cvtColor(np.array([colours], np.float32) / 255.0, cv2.COLOR_RGB2LAB)[0]


def draw_overlay(
    frame: np.ndarray,
    soft: np.ndarray,
    labels: Sequence[str],
    *,
    threshold: float = 0.5,
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> np.ndarray:
    """Draw soft masks over a frame: each prompt a colour of its own, filled as far as its mask says, with a contour
    where the mask crosses the threshold, and a legend at the top left.

    Args:
        frame: uint8 [H,W,3].
        soft: soft masks [P,H,W], nominally 0..1 (clipped here).
        labels: P texts of the legend.
        threshold: where the contour runs.
        colours: P of them, RGB 0..255; None takes those of `OverlayColours` for this frame alone.

    Returns:
        uint8 [H,W,3].

    Raises:
        ValueError: shapes that do not go together.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"An overlay is drawn on a frame uint8 [H,W,3], not {frame.dtype} {list(frame.shape)}.")
    if soft.shape != (len(labels), *frame.shape[:2]):
        raise ValueError(
            f"{len(labels)} labels and a frame {frame.shape[0]} high, {frame.shape[1]} wide need soft masks "
            f"{[len(labels), *frame.shape[:2]]}, not {list(soft.shape)}."
        )
    if colours is None:
        colours = OverlayColours(len(labels)).at(frame, soft, threshold)
    drawn = frame.copy()
    line = max(1, round(min(frame.shape[:2]) / 300))
    for index, mask in enumerate(soft):
        _fill(drawn, mask, colours[index])
    for index, mask in enumerate(soft):  # after every fill, so that none dulls a contour
        drawn[_contour(mask > threshold, line)] = colours[index]
    return _with_legend(drawn, labels, colours)


def preview_strip(frames: np.ndarray, *, count: int = 4, height: int = 192) -> np.ndarray:
    """A few frames of a shot side by side, evenly spread from the first to the last.

    Args:
        frames: uint8 [T,H,W,3].
        count: how many to show; fewer where the shot is shorter.
        height: of the strip, pixels; the frames keep their aspect.

    Returns:
        uint8 [height,width,3].

    Raises:
        ValueError: no frames.
    """
    if len(frames) == 0:
        raise ValueError("A preview needs at least one frame.")
    chosen = np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))
    width = max(1, round(frames.shape[2] * height / frames.shape[1]))
    tiles = [Image.fromarray(frames[i]).resize((width, height), Image.Resampling.LANCZOS) for i in chosen]
    gap = np.zeros((height, 4, 3), np.uint8)
    row = [part for tile in tiles for part in (gap, np.asarray(tile))]
    return np.concatenate(row[1:], axis=1)


def _fill(drawn: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Tint `drawn` in place by the mask's share; only where there is any, since most of a frame has none."""
    seen = mask > 1 / 255
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        return
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    share = _FILL * mask[box].astype(np.float32).clip(0.0, 1.0)[..., None]
    pixels = drawn[box].astype(np.float32)
    drawn[box] = np.rint(pixels + share * (np.array(colour, np.float32) - pixels)).astype(np.uint8)


def _contour(inside: np.ndarray, line: int) -> np.ndarray:
    """The outermost `line` pixels of a mask; its cut at the frame's border is no contour."""
    core = inside
    for _ in range(line):
        padded = np.pad(core, 1, mode="edge")
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _with_legend(drawn: np.ndarray, labels: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    if not labels:
        return drawn
    height, width = drawn.shape[:2]
    size = max(_SMALLEST_TEXT, min(round(min(height, width) / 28), int(_LEGEND_SHARE * height / (1.35 * len(labels)))))
    pitch = max(size + 2, round(1.35 * size))
    fitting = max(1, int(_LEGEND_SHARE * height) // pitch)
    if len(labels) > fitting:
        labels = [*labels[: fitting - 1], f"+ {len(labels) - fitting + 1} more"]
        swatches = len(labels) - 1
    else:
        swatches = len(labels)
    font = ImageFont.load_default(size)
    indent = pitch + size // 4
    texts = [_shortened(" ".join(label.split()), font, width - indent - size // 4 - 2) for label in labels]
    box_width = min(width, indent + round(max(font.getlength(text) for text in texts)) + size // 2)
    box_height = min(height, pitch * len(texts) + 2)

    # A dark ground at 60 % keeps the text readable over any shot without hiding it.
    drawn[:box_height, :box_width] = drawn[:box_height, :box_width] * 0.4
    picture = Image.fromarray(drawn)
    draw = ImageDraw.Draw(picture)
    margin = max(1, pitch // 5)
    for row, text in enumerate(texts):
        top = 1 + row * pitch
        if row < swatches:
            square = (margin, top + margin, pitch - margin, top + pitch - margin)
            draw.rectangle(square, fill=colours[row])
        draw.text((indent, top + pitch / 2), text, fill=(255, 255, 255), font=font, anchor="lm")
    return np.array(picture)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, or as much of it as `width` pixels hold, ending in three dots."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text.rstrip() + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."

"""Rendered shots with exact alpha, and masks of them as a model gives them: what `benchmarks.mattes` measures on.

Eighteen scenes: things with hard edges (disk, star, ring, hair, wires, fence, confetti, one of the ground's own
colours, a pane of glass in a frame, a glass), edges that are soft in the plate itself (motion blur, defocus) and
processes (smoke, cloud, fire, sparks, rain, ripples). `salt` makes another set of the same difficulty: other grounds,
textures, grain, places and shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from trainer.synth.backgrounds import procedural
from trainer.synth.scene import Thing, render

GRAIN = 0.008
"""Standard deviation of what is added to every plate, in display values."""


@dataclass(frozen=True)
class Scene:
    """A rendered shot.

    Attributes:
        plates: float32 [T,H,W,3] in 0..1, display-referred.
        alpha: float32 [T,H,W] in 0..1, exact.
        front: float32 [T,H,W,3], what the thing looks like without the ground; None where that was not rendered.
    """

    plates: np.ndarray
    alpha: np.ndarray
    front: np.ndarray | None = None


@dataclass(frozen=True)
class Canvas:
    """Draws alpha, twice as large and reduced; lengths in pixels of an HD plate.

    Attributes:
        height, width: of the plate.
        rng: for the shape; the same in every frame.
        time: frames since the first.
    """

    height: int
    width: int
    rng: np.random.Generator
    time: int

    @property
    def scale(self) -> float:
        """Pixels of the plate to one of HD."""
        return self.height / 1080

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """y and x of every pixel's centre."""
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32) + 0.5
        return y / self.scale, x / self.scale

    def drawn(self, *strokes: Callable[[np.ndarray, float], None]) -> np.ndarray:
        """float32 [H,W] of strokes on a sheet twice as large, that take (sheet uint8, its pixels to one of HD)."""
        sheet = np.zeros((2 * self.height, 2 * self.width), np.uint8)
        for stroke in strokes:
            stroke(sheet, 2 * self.scale)
        return cv2.resize(sheet, (self.width, self.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


_SHIFT = 4
"""Bits behind the point of what OpenCV draws."""


def _fixed(values: np.ndarray | float, scale: float) -> np.ndarray:
    return np.rint(np.asarray(values) * scale * 2**_SHIFT).astype(np.int32)


def _line(ends: np.ndarray, width: float) -> Callable[[np.ndarray, float], None]:
    def stroke(sheet: np.ndarray, scale: float) -> None:
        thickness = max(1, round(width * scale))
        cv2.polylines(sheet, [_fixed(ends, scale)], False, 255, thickness, cv2.LINE_AA, _SHIFT)

    return stroke


def _oval(centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Callable:
    def stroke(sheet: np.ndarray, scale: float) -> None:
        places = [tuple(int(value) for value in _fixed(np.array(pair), scale)) for pair in (centre, radii)]
        cv2.ellipse(sheet, *places, angle, 0, 360, 255, -1, cv2.LINE_AA, _SHIFT)

    return stroke


def _disk(canvas: Canvas, radius: float = 300.0) -> np.ndarray:
    y, x = canvas.grid()
    centre = canvas.rng.uniform((850, 500), (1000, 580))
    distance = np.hypot(x - centre[0] - 7.3 * canvas.time, y - centre[1] - 2.1 * canvas.time)
    return ((radius - distance) * canvas.scale + 0.5).clip(0.0, 1.0)


def _hair(canvas: Canvas) -> np.ndarray:
    rng, x = canvas.rng, 960 + 5.3 * canvas.time
    strands = []
    for _ in range(420):
        angle = rng.uniform(-np.pi, 0.0)
        place = np.array([x + 250 * np.cos(angle), 650 + 320 * np.sin(angle)])
        heading = angle + rng.normal(0.0, 0.25)
        turns = heading + (rng.normal(0.0, 0.06) + 0.004 * canvas.time) * np.arange(rng.integers(12, 30))
        steps = 6 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        strands.append(_line(np.concatenate([[place], place + steps.cumsum(axis=0)]), rng.uniform(1.0, 2.2)))
    return canvas.drawn(_oval((x, 650), (260, 330)), *strands)


def _wires(canvas: Canvas) -> np.ndarray:
    lean, x = canvas.rng.uniform(10, 20), 3 * canvas.time
    bar = _line(np.array([[250 + x, 175], [1650 + x, 175]]), 70)
    ends = [np.array([[300 + 90 * n + x, 150], [250 + (90 + lean) * n + x, 950]]) for n in range(14)]
    return canvas.drawn(bar, *(_line(pair, 2 + n / 2) for n, pair in enumerate(ends)))


def _fence(canvas: Canvas) -> np.ndarray:
    x, pitch = 400 + 4 * canvas.time, canvas.rng.uniform(56, 64)
    wires = []
    for n in range(-14, 34):
        start = x - 100 + pitch * n
        wires += [_line(np.array([[start, low], [start + 600, high]]), 6) for low, high in ((200, 900), (900, 200))]
    net = canvas.drawn(*wires)
    rows, columns = canvas.grid()
    net[(rows < 210) | (rows > 890) | (columns < x) | (columns > x + 1100)] = 0.0
    posts = canvas.drawn(*(_line(np.array([[x + place, 190], [x + place, 910]]), 22) for place in (0, 550, 1100)))
    return np.maximum(net, posts)


def _confetti(canvas: Canvas) -> np.ndarray:
    rng = canvas.rng
    places = rng.uniform((250, 150), (1650, 900), (70, 2)) + canvas.time * rng.normal(0.0, 6.0, (70, 2))
    return canvas.drawn(*(_oval((x, y), (r, r)) for (x, y), r in zip(places, rng.uniform(6, 22, 70))))


def _pane(canvas: Canvas) -> np.ndarray:
    y, x = canvas.grid()
    turn = np.deg2rad(canvas.rng.uniform(4, 10))
    across, down = x - 950 - 5 * canvas.time, y - 540
    along = np.abs(across * np.cos(turn) + down * np.sin(turn))
    aside = np.abs(down * np.cos(turn) - across * np.sin(turn))
    outer, inner = (
        ((half - along) * canvas.scale + 0.5).clip(0, 1) * ((high - aside) * canvas.scale + 0.5).clip(0, 1)
        for half, high in ((450, 340), (410, 300))
    )
    return outer - 0.6 * inner


def _motion_blur(canvas: Canvas) -> np.ndarray:
    side = round(81 * canvas.scale) | 1
    path = np.zeros((side, side), np.float32)
    cv2.line(path, (0, round(0.62 * side)), (side - 1, round(0.37 * side)), 1.0, 1)
    bar = _line(np.array([[1230, 250], [1230, 900]]), 60)
    thing = canvas.drawn(_oval((800 + 40 * canvas.time, 560 - 10 * canvas.time), (240, 300), 20), bar)
    return cv2.filter2D(thing, -1, path / path.sum())


def _defocus(canvas: Canvas) -> np.ndarray:
    side = round(61 * canvas.scale) | 1
    y, x = np.mgrid[:side, :side] - side // 2
    aperture = (np.hypot(y, x) <= side / 2).astype(np.float32)
    thing = canvas.drawn(
        _oval((900 + 6 * canvas.time, 540), (330, 180), 30), _line(np.array([[1100, 700], [1500, 300]]), 60)
    )
    return cv2.filter2D(thing, -1, aperture / aperture.sum())


def _cloud(canvas: Canvas) -> np.ndarray:
    y, x = canvas.grid()
    billows = np.zeros((canvas.height, canvas.width), np.float32)
    for octave in range(6):
        grid = canvas.rng.random((5 * 2**octave, 9 * 2**octave)).astype(np.float32)
        size = (canvas.width, canvas.height)
        billows += cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    billows = np.roll((billows - billows.min()) / np.ptp(billows), -round(4 * canvas.time * canvas.scale), axis=0)
    body = np.exp(-(((x - 960) / 420) ** 2) - ((y - 520) / 330) ** 2)
    return 0.95 * ((2 * billows - 0.7).clip(0, 1) * body).clip(0, 1)


_DRAWN: dict[str, tuple[Callable[[Canvas], np.ndarray], tuple[float, float, float] | None]] = {
    "disk": (_disk, (0.8, 0.3, 0.2)),
    "hair": (_hair, (0.25, 0.14, 0.07)),
    "wires": (_wires, (0.12, 0.12, 0.14)),
    "fence": (_fence, (0.55, 0.5, 0.45)),
    "confetti": (_confetti, (0.9, 0.75, 0.2)),
    "camouflage": (lambda canvas: _disk(canvas, 260.0), None),
    "pane": (_pane, (0.3, 0.45, 0.4)),
    "motion_blur": (_motion_blur, (0.75, 0.2, 0.15)),
    "defocus": (_defocus, (0.2, 0.35, 0.7)),
    "cloud": (_cloud, (0.78, 0.78, 0.8)),
}
_RENDERED = {
    "star": Thing("star", None, (0.5, 0.5), 0.32, 2, "red", "large", "rotating"),
    "ring": Thing("ring", None, (0.45, 0.5), 0.24, 5, "blue", "medium", "right"),
    **{kind: Thing(kind, "middle", (0.5, 0.52), 0.34, 5) for kind in ("smoke", "fire", "sparks", "rain", "ripples")},
    "glass": Thing("glass", "middle", (0.5, 0.52), 0.34, 5),
}
SCENES = (*_DRAWN, *_RENDERED)
SOLID = ("disk", "star", "ring", "hair", "wires", "fence", "confetti", "camouflage")
"""Things whose edges are hard and whose bodies are opaque."""


def scene(name: str, height: int, frames: int, salt: int) -> Scene:
    """One of `SCENES` at 16:9, `height` lines."""
    width = height * 16 // 9 // 2 * 2
    ground = procedural(_seeded(salt, name, 1), frames, height, width)
    if name in _RENDERED:
        shot = render([_RENDERED[name]], ground)
        plates, alpha, front = shot.frames, shot.mattes[0], None
    else:
        draw, colour = _DRAWN[name]
        alpha = np.stack([draw(Canvas(height, width, _seeded(salt, name, 2), time)) for time in range(frames)])
        front = _body(ground, colour, _seeded(salt, name, 3), 0.5 if name == "hair" else 0.3)
        plates = front * alpha[..., None] + ground * (1 - alpha[..., None])
    grain = _seeded(salt, name, 4).normal(0.0, GRAIN, plates.shape)
    return Scene((plates + grain).clip(0, 1).astype(np.float32), alpha.astype(np.float32), front)


def flicker(alpha: np.ndarray, exact: np.ndarray) -> float:
    """The mean absolute error of the change from frame to frame, within 20 pixels of 1080 lines of edges.

    Args:
        alpha, exact: float32 [T,H,W] in 0..1.

    Returns:
        NaN for a single frame.
    """
    if len(exact) < 2:
        return float("nan")
    reach = 2 * max(1, round(20 * exact.shape[1] / 1080)) + 1
    edges = (exact > 0.02) & (exact < 0.98)
    near = [cv2.dilate(plane.astype(np.uint8), np.ones((reach, reach))) > 0 for plane in edges]
    at_edges = np.stack([one | other for one, other in zip(near, near[1:])])
    return float(np.abs(np.diff(alpha, axis=0) - np.diff(exact, axis=0))[at_edges].mean())


def masks(alpha: np.ndarray, side: int, errs: bool, seed: tuple[int, ...]) -> np.ndarray:
    """Masks of a model that sees `side` x `side` pixels.

    Args:
        alpha: [T,H,W].
        side: pixels to either side.
        errs: whether they err as a model's do: blurred by 0.8 cells, moved by 0.4 and -0.3, between 0.01 and 0.97, with
            noise of 0.02 that is new in every frame. Otherwise they are exact means.
        seed: of the noise.

    Returns:
        float32 [T,side,side] in 0..1
    """
    exact = [cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in alpha]
    if not errs:
        return np.stack(exact)
    rng, moved = np.random.default_rng(seed), np.array([[1, 0, 0.4], [0, 1, -0.3]], np.float32)
    erring = [
        cv2.warpAffine(cv2.GaussianBlur(mask, (0, 0), 0.8), moved, (side, side), borderMode=cv2.BORDER_REPLICATE)
        for mask in exact
    ]
    noisy = 0.96 * np.stack(erring) + 0.01 + rng.normal(0.0, 0.02, (len(alpha), side, side))
    return noisy.clip(0, 1).astype(np.float32)


def _body(
    ground: np.ndarray, colour: tuple[float, float, float] | None, rng: np.random.Generator, contrast: float
) -> np.ndarray:
    """What a thing looks like, [T,H,W,3]: a colour with texture, or the ground itself, upside down and paler."""
    if colour is None:
        return 0.9 * ground[:, ::-1, ::-1] + 0.03
    frames, height, width, _ = ground.shape
    noise = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), max(1.5 * height / 1080, 0.5))
    surface = (np.float32(colour) + contrast * (noise[..., None] - 0.5)).clip(0, 1)
    return np.stack([np.roll(surface, round(7 * time * height / 1080), axis=1) for time in range(frames)])


def _seeded(salt: int, name: str, part: int) -> np.random.Generator:
    return np.random.default_rng([salt, part, *name.encode()])

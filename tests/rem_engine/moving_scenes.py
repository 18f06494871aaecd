"""Rendered shots: with exact mattes and motion, textured boxes that move and turn over a moving textured ground; and
with cuts, as arrays or as stills."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Surface:
    """Something textured that moves as a rigid body.

    Attributes:
        start: (x, y) of its centre at frame 0, pixels.
        speed: pixels a frame, (x, y).
        turn: radians a frame.
        half: (x, y) half sides of a box with rounded corners; None for a ground that fills the frame.
        seed: of its texture.
        colour: mean of its texture, 0..1.
        shown: frames at which it is there, half-open; None for always.
    """

    start: tuple[float, float]
    speed: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    half: tuple[float, float] | None = None
    seed: int = 0
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)
    shown: tuple[int, int] | None = None

    def is_there(self, t: int) -> bool:
        return self.shown is None or self.shown[0] <= t < self.shown[1]

    def to_own(self, points: np.ndarray, t: float) -> np.ndarray:
        """Places in the frame [...,2] (x, y) at time t -> the surface's own places."""
        cosine, sine = np.cos(self.turn * t), np.sin(self.turn * t)
        x, y = (points[..., axis] - self.start[axis] - self.speed[axis] * t for axis in (0, 1))
        return np.stack([cosine * x + sine * y, -sine * x + cosine * y], axis=-1)

    def to_frame(self, own: np.ndarray, t: float) -> np.ndarray:
        cosine, sine = np.cos(self.turn * t), np.sin(self.turn * t)
        x, y = own[..., 0], own[..., 1]
        moved = [cosine * x - sine * y, sine * x + cosine * y]
        return np.stack([moved[axis] + self.start[axis] + self.speed[axis] * t for axis in (0, 1)], axis=-1)

    def distance(self, own: np.ndarray) -> np.ndarray:
        """Pixels to the outline, negative inside: the signed distance of a rounded box."""
        radius = min(self.half) / 3.0
        outside = np.abs(own) - (np.asarray(self.half) - radius)
        return np.hypot(*np.moveaxis(np.maximum(outside, 0.0), -1, 0)) + np.minimum(outside.max(axis=-1), 0.0) - radius

    def texture(self) -> np.ndarray:
        """float32 [1024,1024,3] in 0..1 that tiles; detail of 3 to 60 pixels."""
        rng = np.random.default_rng(self.seed)
        picture = np.zeros((1024, 1024, 3), np.float32)
        for sigma, share in ((2.0, 0.04), (6.0, 0.06), (20.0, 0.08)):
            size = round(1024 / sigma)
            noise = np.pad(rng.standard_normal((size, size, 3)).astype(np.float32), ((4, 4), (4, 4), (0, 0)), "wrap")
            scale = 1024 / size
            large = cv2.resize(noise, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            margin = round(4 * scale)
            picture += share * large[margin : margin + 1024, margin : margin + 1024]
        return np.clip(picture + np.asarray(self.colour, np.float32), 0.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """A rendered shot.

    Attributes:
        plates: float32 [T,H,W,3] in 0..1.
        mattes: float32 [N,T,H,W]: the share of each pixel that each of the boxes shows, exact to the edge's pixel.
        distances: float32 [N,T,H,W]: pixels to each box's outline, negative inside, whether hidden or not.
        flow: float32 [T-1,H,W,2]: where what is seen at a pixel of frame t has moved to in frame t+1, (x, y).
        visible: bool [T-1,H,W]: whether it can be seen there.
    """

    plates: np.ndarray
    mattes: np.ndarray
    distances: np.ndarray
    flow: np.ndarray
    visible: np.ndarray


def render(ground: Surface, boxes: list[Surface], frames: int, height: int, width: int, grain: float = 0.0) -> Scene:
    """Boxes over a ground, back to front, with Gaussian grain of so much."""
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float64)
    surfaces = [ground, *boxes]
    textures = [surface.texture() for surface in surfaces]
    rng = np.random.default_rng(99)
    plates = np.empty((frames, height, width, 3), np.float32)
    mattes = np.zeros((len(boxes), frames, height, width), np.float32)
    distances = np.empty_like(mattes)
    on_top = np.zeros((frames, height, width), int)
    for t in range(frames):
        for number, (surface, texture) in enumerate(zip(surfaces, textures)):
            own = surface.to_own(pixels, t)
            x, y = ((own[..., axis] + 512.0).astype(np.float32) for axis in (0, 1))
            colour = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            if number == 0:
                plates[t] = colour
                continue
            distances[number - 1, t] = surface.distance(own)
            alpha = np.clip(0.5 - distances[number - 1, t], 0.0, 1.0) * surface.is_there(t)
            plates[t] += alpha[..., None] * (colour - plates[t])
            mattes[: number - 1, t] *= 1.0 - alpha
            mattes[number - 1, t] = alpha
            on_top[t][alpha > 0.5] = number
    plates = np.clip(plates + grain * rng.standard_normal(plates.shape, np.float32), 0.0, 1.0)

    flow = np.empty((frames - 1, height, width, 2), np.float32)
    visible = np.zeros((frames - 1, height, width), bool)
    for t in range(frames - 1):
        for number, surface in enumerate(surfaces):
            mine = on_top[t] == number
            moved = surface.to_frame(surface.to_own(pixels[mine], t), t + 1)
            flow[t][mine] = moved - pixels[mine]
            nearest = np.rint(moved).astype(int)
            inside = ((nearest >= 0) & (nearest < (width, height))).all(axis=-1)
            column, row = np.where(inside[:, None], nearest, 0).T
            visible[t][mine] = inside & (on_top[t + 1][row, column] == number)
    return Scene(plates, mattes, distances, flow, visible)


def segmented(scene: Scene, box: int, *, wobble: float, noise: float, seed: int = 5) -> np.ndarray:
    """A box's matte as a segmenter gives it, float32 [T,H,W]: an outline that wobbles from frame to frame by `wobble`
    pixels (standard deviation), in waves some 25 pixels long, and Gaussian noise of so much on every pixel."""
    rng = np.random.default_rng(seed)
    truth, distance = scene.mattes[box], scene.distances[box]
    height, width = truth.shape[1:]
    masks = np.empty_like(truth)
    for t, matte in enumerate(truth):
        small = rng.standard_normal((height // 12 + 2, width // 12 + 2)).astype(np.float32)
        moved = distance[t] + wobble * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        hidden = np.clip(0.5 - distance[t], 0.0, 1.0) > matte + 1e-3  # by something in front
        masks[t] = np.where(hidden, matte, np.clip(0.5 - moved, 0.0, 1.0))
    return masks + noise * rng.standard_normal(masks.shape).astype(np.float32)


def edit(*lengths: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Takes of drifting textures, each of its own; uint8 [T,H,W,3]."""
    takes = []
    for number, length in enumerate(lengths):
        noise = np.random.default_rng(number).integers(0, 256, (6, 9, 3), np.uint8)
        ground = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        takes.append(np.stack([np.roll(ground, step, axis=1) for step in range(length)]))
    return np.concatenate(takes)


def write_edit(folder: Path, *lengths: int) -> Path:
    """The same as PNG, cut.1001.png and on, in a folder that is made."""
    folder.mkdir()
    for number, frame in enumerate(edit(*lengths), start=1001):
        Image.fromarray(frame).save(folder / f"cut.{number}.png")
    return folder

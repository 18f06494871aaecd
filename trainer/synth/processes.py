"""Rendered processes, such as smoke, fire, rain or shattering glass, each with its exact soft matte.

Time is counted in frames of 24 a second; lengths are in frame heights, so that a shot looks alike at every size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .noise import value_noise
from .shapes import coverage

Layer = tuple[np.ndarray, np.ndarray]
"""Colour float32 [H,W,3], not premultiplied, and alpha float32 [H,W], both in 0..1."""
Drawer = Callable[[float], Layer]
"""Frame, also between two frames -> layer."""


class _Grid:
    """Pixel centres in frame heights relative to a centre."""

    def __init__(self, height: int, width: int, centre: tuple[float, float]) -> None:
        y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
        self.height, self.width = height, width
        self.x = x / height - centre[0]
        self.y = y / height - centre[1]


def _soft(edge: np.ndarray, softness: float) -> np.ndarray:
    """0 below -softness, 1 above +softness, smooth between."""
    t = np.clip(edge / (2 * softness) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _scrolled(texture: np.ndarray, rows: float) -> np.ndarray:
    """A texture taller than the frame moved up by `rows` pixels, wrapping around."""
    whole = int(np.floor(rows))
    part = np.float32(rows - whole)
    return np.roll(texture, -whole, 0) * (1 - part) + np.roll(texture, -whole - 1, 0) * part


def smoke(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """A plume that rises, widens and drifts."""
    grid = _Grid(height, width, centre)
    texture = value_noise(rng, height * 2, width, cell=0.20 * height)
    speed = rng.uniform(0.010, 0.020) * height
    lean = rng.uniform(-0.35, 0.35)
    shade = rng.uniform(0.45, 0.8) + rng.uniform(-0.03, 0.03, 3)
    phase = rng.uniform(0, 6.28)

    def frame(t: float) -> Layer:
        noise = _scrolled(texture, speed * t)[:height]
        rise = (grid.y + radius) / (2 * radius)  # 0 at the top of the plume, 1 at its foot
        middle = lean * (1 - rise) * radius + 0.1 * radius * np.sin(0.25 * t + phase + 5 * rise)
        half = radius * (0.42 + 0.5 * np.clip(1 - rise, 0, 1))
        body = np.minimum(1 - np.abs(grid.x - middle) / half, 1.6 * np.minimum(rise + 0.12, 1.12 - rise))
        alpha = _soft(body + 0.9 * (noise - 0.5), 0.42) * 0.92
        colour = shade * (0.75 + 0.5 * noise[..., None])
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


def fire(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """Flames: hot at the foot, licking upwards."""
    grid = _Grid(height, width, centre)
    texture = value_noise(rng, height * 2, width, cell=0.15 * height)
    speed = rng.uniform(0.035, 0.055) * height

    def frame(t: float) -> Layer:
        noise = _scrolled(texture, speed * t)[:height]
        rise = (grid.y + radius) / (2 * radius)
        half = radius * (0.15 + 0.75 * np.clip(rise, 0, 1))
        body = np.minimum(1 - np.abs(grid.x) / half, 1.8 * np.minimum(rise, 1.1 - rise))
        heat = body + 1.0 * (noise - 0.5)
        alpha = _soft(heat - 0.02, 0.22) * 0.97
        warm = np.clip(heat, 0, 1)[..., None]
        colour = np.concatenate([0.85 + 0.15 * warm, 0.20 + 0.85 * warm, 0.02 + 0.5 * warm**2], axis=-1)
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


def rain(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """A shaft of rain: a pale veil with bright streaks falling through it."""
    grid = _Grid(height, width, centre)
    rows, columns = height * 2, width
    drops = (rng.random((rows, columns)) < 0.035).astype(np.float32)
    length = max(int(0.10 * height), 3)
    streaks = cv2.blur(drops, (max(height // 90, 1), length)) * length
    streaks = np.clip(streaks * max(height // 90, 1), 0, 1)
    speed = rng.uniform(0.06, 0.09) * height
    slant = rng.uniform(-0.15, 0.15)
    tint = np.array([0.62, 0.70, 0.80]) + rng.uniform(-0.06, 0.06, 3)

    def frame(t: float) -> Layer:
        fall = _scrolled(streaks, -speed * t)[:height]
        across = 1 - np.abs(grid.x - slant * grid.y) / (0.72 * radius)
        along = 1.25 - np.abs(grid.y) / radius
        veil = _soft(np.minimum(across, along) * 1.2 - 0.12, 0.3)
        alpha = veil * np.clip(0.62 + 0.34 * fall, 0, 1)
        colour = tint + (1 - tint) * (0.75 * fall[..., None])
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


def ripples(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """Rings that spread over a patch of water seen at a slant."""
    grid = _Grid(height, width, centre)
    squash = rng.uniform(0.55, 0.8)
    wave = rng.uniform(0.10, 0.14)
    speed = rng.uniform(0.012, 0.02)
    deep = np.array([0.10, 0.30, 0.42]) + rng.uniform(-0.06, 0.06, 3)
    distance = np.sqrt(grid.x**2 + (grid.y / squash) ** 2)
    start = rng.uniform(0.75, 0.95)

    def frame(t: float) -> Layer:
        reach = radius * min(start + 0.02 * t, 1.15)
        crest = 0.5 + 0.5 * np.cos(2 * np.pi * (distance - speed * t) / wave)
        alpha = _soft((reach - distance) / radius * 2.0, 0.35) * (0.68 + 0.28 * crest)
        colour = deep + (0.85 - deep) * (crest**2)[..., None]
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


def sparks(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """Glowing particles thrown from a point, falling under gravity, renewed as they die."""
    grid = _Grid(height, width, centre)
    count, life = 70, 14
    angle = rng.normal(-np.pi / 2, 0.9, count)
    speed = rng.uniform(0.02, 0.105, count) * radius
    born = rng.uniform(0, life, count)
    glow = rng.uniform(0.020, 0.032, count)
    gravity = 0.005 * radius

    def frame(t: float) -> Layer:
        age = (t + born) % life
        x = np.cos(angle) * speed * age
        y = np.sin(angle) * speed * age + 0.5 * gravity * age**2
        light = np.zeros((height, width), np.float32)
        for px, py, g, a in zip(x, y + 0.3 * radius, glow, age):
            light += np.exp(-((grid.x - px) ** 2 + (grid.y - py) ** 2) / (2 * g * g)) * (1.5 - a / life)
        alpha = 1 - np.exp(-1.6 * light)
        warm = np.clip(light, 0, 1)[..., None]
        colour = np.concatenate([0.98 + 0 * warm, 0.55 + 0.42 * warm, 0.12 + 0.65 * warm**2], axis=-1)
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


def glass(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """A pane that breaks into shards, which turn, spread and drop."""
    corners = np.array([[-0.8, -0.95], [0.8, -0.95], [0.8, 0.95], [-0.8, 0.95]])
    hit = rng.uniform(-0.3, 0.3, 2)
    rim = []
    for a, b in zip(corners, np.roll(corners, -1, 0)):
        rim += [a + (b - a) * f for f in (0.0, *np.sort(rng.uniform(0.2, 0.8, 2)))]
    rim_array = np.array(rim)
    inner = hit + (rim_array - hit) * rng.uniform(0.35, 0.6, (len(rim), 1))
    shards: list[np.ndarray] = []
    for i in range(len(rim)):
        j = (i + 1) % len(rim)
        shards.append(np.array([hit, inner[i], inner[j]]))
        shards.append(np.array([inner[i], rim_array[i], rim_array[j], inner[j]]))
    middles = np.array([s.mean(0) for s in shards])
    push = (middles - hit) * rng.uniform(0.02, 0.055, (len(shards), 1))
    spin = rng.normal(0, 0.045, len(shards))
    tint = np.array([0.70, 0.88, 0.92]) + rng.uniform(-0.05, 0.05, 3)
    sheen = rng.uniform(0.72, 1.12, len(shards))
    breaks_at = rng.uniform(0, 2.5)

    def frame(t: float) -> Layer:
        since = max(t - breaks_at, 0.0)
        settled = 12 * (1 - np.exp(-since / 12))  # air slows the shards, so that long shots keep them in frame
        alpha = np.zeros((height, width), np.float32)
        colour = np.zeros((height, width, 3), np.float32)
        for shard, middle, velocity, turn, gleam in zip(shards, middles, push, spin, sheen):
            cos, sin = np.cos(turn * settled), np.sin(turn * settled)
            moved = (shard - middle) @ np.array([[cos, sin], [-sin, cos]]) * 0.96
            moved = moved + middle + velocity * settled + np.array([0, 0.0018]) * settled**2
            pixels = (moved * radius + np.asarray(centre)) * height
            cover = coverage([pixels], height, width)
            colour += cover[..., None] * (tint * gleam).astype(np.float32)
            alpha += cover
        colour /= np.maximum(alpha, 1e-3)[..., None]
        return np.clip(colour, 0, 1), np.clip(alpha, 0, 1) * 0.85

    return frame


def steam(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """White wisps that rise fast from a narrow foot and dissolve."""
    grid = _Grid(height, width, centre)
    texture = value_noise(rng, height * 2, width, cell=0.11 * height)
    speed = rng.uniform(0.025, 0.04) * height
    shade = rng.uniform(0.93, 1.0)
    phase = rng.uniform(0, 6.28)

    def frame(t: float) -> Layer:
        noise = _scrolled(texture, speed * t)[:height]
        rise = (grid.y + radius) / (2 * radius)
        middle = 0.14 * radius * (1.2 - rise) * np.sin(0.45 * t + phase + 7 * rise)
        half = radius * (0.16 + 0.38 * np.clip(1 - rise, 0, 1))
        body = np.minimum(1.15 - np.abs(grid.x - middle) / half, 1.8 * np.minimum(rise + 0.02, 1.06 - rise))
        alpha = _soft(body + 1.1 * (noise - 0.5), 0.45) * 0.88
        colour = np.repeat(shade * (0.94 + 0.08 * noise[..., None]), 3, axis=-1)
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


def bubbles(rng: np.random.Generator, height: int, width: int, centre: tuple[float, float], radius: float) -> Drawer:
    """Bubbles that rise side by side, swaying, and begin anew at the foot."""
    grid = _Grid(height, width, centre)
    count = 16
    reach = rng.uniform(0.13, 0.24, count) * radius
    across = rng.uniform(-0.75, 0.75, count) * radius
    start, speed = rng.random(count), rng.uniform(0.012, 0.03, count)
    phase = rng.uniform(0, 6.28, count)
    tint = np.array([0.62, 0.82, 0.95]) + rng.uniform(-0.05, 0.05, 3)

    def frame(t: float) -> Layer:
        alpha = np.zeros((height, width), np.float32)
        light = np.zeros((height, width), np.float32)
        for r, x, s, v, p in zip(reach, across, start, speed, phase):
            risen = (s + v * t) % 1.0
            x = x + 0.12 * radius * np.sin(0.5 * t + p)
            y = radius * (1 - 2 * risen)
            swell = r * min(1.0, 6 * risen, 6 * (1 - risen))  # no bubble appears or bursts at full size
            distance = np.hypot(grid.x - x, grid.y - y)
            inside = _soft((swell - distance) / radius, 0.025)
            shine = np.exp(-((grid.x - x + 0.4 * swell) ** 2 + (grid.y - y + 0.4 * swell) ** 2) / (0.12 * r * r))
            rim = np.exp(-(((distance - 0.88 * swell) / (0.16 * r)) ** 2))
            alpha = np.maximum(alpha, inside * 0.8)
            light = np.maximum(light, np.clip(shine + 0.7 * rim, 0, 1) * inside)
        colour = tint * (0.72 + 0 * light[..., None]) + (1 - 0.72 * tint) * light[..., None]
        return np.clip(colour, 0, 1).astype(np.float32), alpha.astype(np.float32)

    return frame


RENDERERS = {
    "smoke": smoke,
    "fire": fire,
    "rain": rain,
    "ripples": ripples,
    "sparks": sparks,
    "glass": glass,
    "steam": steam,
    "bubbles": bubbles,
}
"""Name of a process -> its maker; centre (x, y) and radius are in frame heights."""

"""Rendering of the richer world: every thing as a layer of colour and exact coverage, composited back to front."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from ..processes import RENDERERS, Drawer, Layer
from ..scene import Plates, RenderedShot, composite, progress_at
from ..shapes import shading
from .outlines import cover, rich_outline
from .patterns import fill
from .thing import RichThing, Setting
from .vocabulary import COLOURS, ROUND_KINDS

SUB_FRAMES = 4
SHUTTER = 0.5
"""Motion blur: moments averaged over the share of a frame's time in which the shutter is open."""
RIPPLE_CLARITY = 0.82
"""Share of their opacity that ripples have over things, which they refract."""
RIPPLE_BEND = 0.02
"""How far ripples bend what is under them, in frame heights for a crest's full slope."""
SHADOW_SOFTNESS = 0.012
"""Deviation of a shadow's edge in frame heights."""
PLAINLY_OVER, SLIGHTLY_OVER = 0.15, 0.02
"""Of the smaller of two things, the share where both are, from which on one is plainly, or slightly, over the other."""
SHOWN_AREA, SHOWN_SHARE, SHOWN_FRAMES = 0.0012, 0.4, 0.65
"""What makes a thing clear: its least area in so large a share of the frames, and the least share of it uncovered."""


def render(
    things: list[RichThing],
    setting: Setting,
    plates: Plates,
    rng: np.random.Generator,
    frames: int,
    height: int,
    width: int,
    span: int | None = None,
) -> RenderedShot:
    """Render a shot.

    Args:
        things: back to front.
        setting: what the whole shot is subject to.
        plates: makes the background.
        rng: of the background, the light and the grain.
        frames, height, width: size of the shot.
        span: in how many frames things run through their paths and turn once as far as they turn, and the camera pans;
            None for those of the shot. In a longer shot all goes on at the same pace.

    Returns:
        The shot, without expressions; its things know what they are over and whether they are clear.
    """
    span = span or frames
    pictures = _background(setting, plates, rng, frames, height, width, span)
    drawers = _drawers(things, setting, span, height, width)
    mattes = np.zeros((len(things), frames, height, width), np.float32)
    whole = np.zeros_like(mattes)
    for t in range(frames):
        for index, draw in enumerate(drawers):
            colour, alpha = draw(t)
            if things[index].kind == "ripples":
                alpha = alpha * RIPPLE_CLARITY
                for under in (pictures[t], *mattes[:index, t]):
                    under[:] = _refracted(under, colour, alpha)
            composite(pictures[t], mattes[:, t], index, (colour, alpha))
            whole[index, t] = alpha
    if setting.flicker:
        pictures *= 1 + setting.flicker * rng.standard_normal((frames, 1, 1, 1)).clip(-2, 2).astype(np.float32)
    if setting.grain:
        pictures += setting.grain * rng.standard_normal(pictures.shape, dtype=np.float32)
    return RenderedShot(pictures.clip(0, 1), mattes, _informed(things, mattes, whole))


def _background(
    setting: Setting, plates: Plates, rng: np.random.Generator, frames: int, height: int, width: int, span: int
) -> np.ndarray:
    if setting.pans:
        margin = height // 8
        still = plates(rng, 1, height + 2 * margin, width + 2 * margin)[0]
        shifts = [np.asarray(setting.camera) * progress_at(t, span) * height - margin for t in range(frames)]
        return np.stack([_shifted(still, shift, height, width) for shift in shifts])
    pictures = plates(rng, frames, height, width).copy()
    if setting.waterline is not None:
        tint, deep = np.array([0.72, 0.84, 0.92], np.float32), np.array([0.10, 0.20, 0.28], np.float32)
        for t in range(frames):
            mirrored, below = _mirrored(pictures[t], setting.waterline, t)
            water = 0.7 * mirrored * tint + 0.3 * deep
            pictures[t] += (water - pictures[t]) * below[:, None, None]
    return pictures


def _shifted(picture: np.ndarray, shift: np.ndarray, height: int, width: int) -> np.ndarray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR)


def _mirrored(picture: np.ndarray, waterline: float, t: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture as water shows it, and the share of each row [H] that is water."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    line = waterline * height - 0.5
    depth = np.maximum(y - line, 0) / height
    sway = height * (0.004 + 0.02 * depth) * np.sin(2 * np.pi * depth / (0.05 + 0.1 * depth) + 0.6 * t)
    mirrored = cv2.remap(picture, x + sway, 2 * line - y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return mirrored, np.clip(np.arange(height) - line, 0, 1).astype(np.float32)


def _refracted(picture: np.ndarray, water: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What is seen through rippled water: moved along the slope of its crests, which are its light parts."""
    height, width = alpha.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    crests = cv2.GaussianBlur(water[..., 0], (0, 0), 0.008 * height)
    slope_y, slope_x = np.gradient(crests)
    bend = RIPPLE_BEND * height * alpha * height / 16
    columns, rows = x + bend * slope_x, y + bend * slope_y
    return cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _drawers(things: list[RichThing], setting: Setting, span: int, height: int, width: int) -> list[Drawer]:
    size = (span, height, width)
    # an owner is drawn once a frame, for itself and for what it throws
    owners: dict[int | None, Drawer] = {
        thing.owner: lru_cache(maxsize=1)(_drawer(things[thing.owner], None, setting, *size))
        for thing in things
        if thing.owner is not None
    }
    return [
        owners.get(index) or _drawer(thing, owners.get(thing.owner), setting, *size)
        for index, thing in enumerate(things)
    ]


def _drawer(thing: RichThing, owner: Drawer | None, setting: Setting, span: int, height: int, width: int) -> Drawer:
    if thing.is_process:
        return _process(thing, setting, span, height, width)
    if thing.colour is not None:
        return _blurred(thing, _object(thing, thing.colour, setting, span, height, width))
    if owner is not None and thing.kind == "shadow" and setting.shadow is not None:
        return _shadow(thing, owner, setting.shadow, height)
    if owner is not None and thing.kind == "reflection" and setting.waterline is not None:
        return _reflection(thing, owner, setting.waterline)
    raise ValueError(f"nothing in this setting throws the {thing.kind} of a thing")


def _process(thing: RichThing, setting: Setting, span: int, height: int, width: int) -> Drawer:
    rng = np.random.default_rng(thing.seed)
    margin = height // 8 if setting.pans else 0
    tall, wide = height + 2 * margin, width + 2 * margin
    centre = ((thing.centre[0] * width + margin) / tall, (thing.centre[1] * height + margin) / tall)
    draw = RENDERERS[thing.kind](rng, tall, wide, centre, thing.radius * height / tall)
    if not margin:
        return draw

    def draw_panned(t: float) -> Layer:
        shift = np.asarray(setting.camera) * progress_at(t, span) * height - margin
        colour, alpha = draw(t)
        return _shifted(colour, shift, height, width), _shifted(alpha, shift, height, width)

    return draw_panned


def _object(thing: RichThing, colour: str, setting: Setting, span: int, height: int, width: int) -> Drawer:
    rng = np.random.default_rng(thing.seed)
    first, second = (
        np.clip(np.array(COLOURS[name]) + rng.uniform(-0.06, 0.06, 3), 0, 1).astype(np.float32)
        for name in (colour, thing.second or colour)
    )
    light, turn = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.6) * rng.choice((-1, 1))
    angle = rng.uniform(0, 2 * np.pi) if thing.kind in ("arrow", "moon", "wire") else rng.uniform(-0.25, 0.25)
    outlines = rich_outline(thing.kind, thing.thin, rng)
    pattern = fill(thing.pattern, rng, 1 / (thing.radius * height)) if thing.pattern else None
    growth = {"growing": 0.9, "shrinking": -0.9}.get(thing.motion or "", 0.0)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5

    def draw(t: float) -> Layer:
        progress = progress_at(t, span)
        at = thing.centre_at(progress)
        centre = (
            at[0] * width + setting.camera[0] * progress * height,
            (at[1] + setting.camera[1] * progress) * height,
        )
        radius = thing.radius * height * (1 + growth * progress)
        turned = angle + (turn * progress if thing.motion == "rotating" else 0.0)
        alpha = cover(outlines, centre, radius, turned, height, width)
        surface = shading(first, height, width, centre, radius, light)
        if pattern is not None:
            cos, sin = np.float32(np.cos(turned) / radius), np.float32(np.sin(turned) / radius)
            dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
            share = pattern(dx * cos + dy * sin, dy * cos - dx * sin)[..., None]
            surface = surface * (1 - share) + shading(second, height, width, centre, radius, light) * share
        return surface, alpha

    return draw


def _blurred(thing: RichThing, draw: Drawer) -> Drawer:
    if thing.motion in (None, "still") or (thing.motion == "rotating" and thing.kind in ROUND_KINDS):
        return draw

    def draw_blurred(t: float) -> Layer:
        layers = [draw(t + SHUTTER * (each / SUB_FRAMES - 0.5)) for each in range(SUB_FRAMES)]
        alpha = np.sum([a for _, a in layers], axis=0) / SUB_FRAMES
        colour = np.sum([c * a[..., None] for c, a in layers], axis=0) / (
            SUB_FRAMES * np.maximum(alpha, 1e-4)[..., None]
        )
        return colour, alpha

    return draw_blurred


def _shadow(thing: RichThing, owner: Drawer, falls: tuple[float, float], height: int) -> Drawer:
    opacity = np.random.default_rng(thing.seed).uniform(0.66, 0.8)

    def draw(t: float) -> Layer:
        alpha = owner(t)[1]
        shape = alpha.shape
        alpha = _shifted(alpha, np.asarray(falls) * height, *shape)
        alpha = cv2.GaussianBlur(alpha, (0, 0), SHADOW_SOFTNESS * height) * opacity
        return np.full((*shape, 3), (0.02, 0.02, 0.04), np.float32), alpha

    return draw


def _reflection(thing: RichThing, owner: Drawer, waterline: float) -> Drawer:
    opacity = np.random.default_rng(thing.seed).uniform(0.68, 0.82)

    def draw(t: float) -> Layer:
        colour, alpha = owner(t)
        premultiplied = np.concatenate([colour * alpha[..., None], alpha[..., None]], axis=-1)
        mirrored, below = _mirrored(premultiplied, waterline, t)
        alpha = mirrored[..., 3]
        colour = mirrored[..., :3] / np.maximum(alpha, 1e-4)[..., None] * np.array([0.85, 0.92, 0.96], np.float32)
        return colour, alpha * below[:, None] * opacity

    return draw


def _informed(things: list[RichThing], mattes: np.ndarray, whole: np.ndarray) -> list[RichThing]:
    areas = whole.sum(axis=(1, 2, 3))
    visible = mattes.sum(axis=(1, 2, 3)) / np.maximum(areas, 1e-6)
    informed = []
    for i, thing in enumerate(things):
        shares = {j: float(np.minimum(whole[i], whole[j]).sum() / max(min(areas[i], areas[j]), 1e-6)) for j in range(i)}
        shown = ((mattes[i] > 0.5).mean(axis=(1, 2)) >= SHOWN_AREA).mean()
        informed.append(
            replace(
                thing,
                over=tuple(j for j, share in shares.items() if share >= PLAINLY_OVER),
                touching=tuple(j for j, share in shares.items() if SLIGHTLY_OVER <= share < PLAINLY_OVER),
                is_clear=bool(visible[i] >= SHOWN_SHARE and shown >= SHOWN_FRAMES),
            )
        )
    return informed

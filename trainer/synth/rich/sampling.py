"""Sampling of what a shot of the richer world shows."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from ..scene import clear_place, sample_process
from .thing import RichThing, Setting
from .vocabulary import (
    COLOURS,
    HEADINGS,
    HELD_OUT_MOTION,
    KINDS,
    MAY_BE_THIN,
    MOTIONS,
    PATTERNS,
    PROCESSES,
    ROUND_KINDS,
    SIZES,
    STAYING,
    THIN_KINDS,
    held_out,
)

SETTINGS = {"plain": 0.46, "crowded": 0.2, "camera": 0.14, "shadows": 0.1, "water": 0.1}
"""Kinds of shots and their shares; in crowded ones things overlap, and what moves may leave the frame."""
THIN_SIZES = ("medium", "large")
"""Sizes of thin things, which would else be no wider than a pixel or two."""
ATTRACTION = 0.35
"""Share of objects that take kind or colour of one that is there already, so that a sentence must tell them apart."""
TRIES = 80


def sample_scene(rng: np.random.Generator, unseen: bool = False) -> tuple[list[RichThing], Setting]:
    """Two to four things, back to front, with their shadows or reflections, and the setting they stand in.

    Args:
        rng: source of chance.
        unseen: whether one thing is of a combination or motion held out of training; the others never are.
    """
    kind = str(rng.choice(list(SETTINGS), p=list(SETTINGS.values())))
    if unseen and kind in ("shadows", "water"):
        kind = "plain"
    flicker = float(rng.uniform(0.03, 0.1)) if rng.random() < 0.15 else 0.0
    grain = float(rng.uniform(0.005, 0.025)) if rng.random() < 0.5 else 0.0
    setting = Setting(flicker=flicker, grain=grain)
    if kind == "camera":
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.2)
        setting = replace(setting, camera=(float(reach * np.cos(angle)), float(reach * np.sin(angle))))
    elif kind == "shadows":
        side = float(rng.choice((-1, 1)))
        setting = replace(setting, shadow=(side * float(rng.uniform(0.1, 0.16)), float(rng.uniform(0.1, 0.16))))
    elif kind == "water":
        setting = replace(setting, waterline=float(rng.uniform(0.52, 0.62)))
    return _things(rng, kind, setting, unseen), setting


def _things(rng: np.random.Generator, kind: str, setting: Setting, unseen: bool) -> list[RichThing]:
    wanted = 2 if kind in ("shadows", "water") else int(rng.integers(2, 5))
    things: list[RichThing] = []
    for _ in range(TRIES):
        processes = [thing.kind for thing in things if thing.is_process]
        if rng.random() < 0.4 and len(processes) < 2 and kind not in ("shadows", "water"):
            thing = RichThing(**asdict(sample_process(rng, unseen and not things, PROCESSES, held_out)))
            if thing.kind in processes:
                continue
        else:
            thing = _object(rng, things, kind, unseen and not things)
        if setting.pans:
            thing = _under_camera(thing)
        if setting.waterline is not None:
            thing = _above_water(rng, thing, setting.waterline)
        if _is_twin(thing, things) or any(_crowded(thing, other, kind == "crowded") for other in things):
            continue
        things.append(thing)
        if len(things) == wanted:
            break
    things = [things[i] for i in rng.permutation(len(things))]
    if kind in ("shadows", "water"):
        return _attached("shadow" if kind == "shadows" else "reflection", things, rng)
    return things


def _object(rng: np.random.Generator, things: list[RichThing], setting: str, unseen: bool) -> RichThing:
    by_motion = unseen and rng.random() < 0.25
    while True:
        kind, colour = str(rng.choice(KINDS)), str(rng.choice(list(COLOURS)))
        objects = [thing for thing in things if thing.is_object]
        if objects and rng.random() < ATTRACTION:
            other = objects[rng.integers(len(objects))]
            kind, colour = (other.kind, colour) if rng.random() < 0.6 else (kind, other.colour or colour)
        if held_out(kind, colour) == (unseen and not by_motion):
            break
    thin = kind in MAY_BE_THIN and rng.random() < 0.5
    pattern, second = None, None
    if rng.random() < 0.25 and not thin and kind not in (*THIN_KINDS, "cross") and not unseen:
        pattern = str(rng.choice(PATTERNS))
        second = str(rng.choice([c for c in COLOURS if c != colour and not held_out(kind, c)]))
    size = str(rng.choice(THIN_SIZES if thin or kind in THIN_KINDS else list(SIZES)))
    motion = HELD_OUT_MOTION if by_motion else _motion(rng, kind, pattern)
    centre = (float(rng.uniform(0.18, 0.82)), float(rng.uniform(0.2, 0.8)))
    path = (0.0, 0.0)
    if motion in HEADINGS:
        heading = np.asarray(HEADINGS[motion], float)
        leaves = setting == "crowded" and rng.random() < 0.3
        reach = rng.uniform(0.45, 0.6) if leaves else rng.uniform(0.22, 0.38)
        heading *= reach / np.hypot(*heading)
        if leaves:  # ends with its centre beyond the edge it makes for
            x, y = (float(0.5 + np.sign(h) * rng.uniform(0.28, 0.36)) if h else c for h, c in zip(heading, centre))
            centre = (x, y)
        path = (float(heading[0]), float(heading[1]))
    place = clear_place(centre) if motion in STAYING else None
    radius, seed = float(rng.uniform(*SIZES[size])), int(rng.integers(2**31))
    return RichThing(kind, place, centre, radius, seed, colour, size, motion, second, pattern, thin, path)


def _motion(rng: np.random.Generator, kind: str, pattern: str | None) -> str:
    motion = str(rng.choice([each for each in MOTIONS if each != HELD_OUT_MOTION]))
    if motion == "rotating" and kind in ROUND_KINDS and pattern is None:
        return "still"
    return motion


def _under_camera(thing: RichThing) -> RichThing:
    """A thing of which nothing is said that a moving camera makes unclear."""
    if thing.is_process:
        return thing
    motion = thing.motion if thing.motion in ("rotating", "growing", "shrinking") else None
    return replace(thing, motion=motion, path=(0.0, 0.0), place=None)


def _above_water(rng: np.random.Generator, thing: RichThing, waterline: float) -> RichThing:
    """The thing where all of it, and most of its reflection, is in the frame: at rest, small, above the line."""
    size = "medium" if thing.is_thin else str(rng.choice(("small", "medium")))
    radius = float(rng.uniform(*SIZES[size]))
    y = waterline - radius * 1.25 - float(rng.uniform(0, 0.08))
    motion = thing.motion if thing.motion in ("left", "right", "rotating") else "still"
    x = thing.centre[0] if motion == thing.motion else float(rng.uniform(0.2, 0.8))
    path = (thing.path[0], 0.0) if motion == thing.motion else (0.0, 0.0)
    place = clear_place((x, y)) if motion in STAYING else None
    return replace(thing, centre=(x, y), radius=radius, size=size, motion=motion, path=path, place=place)


def _is_twin(thing: RichThing, things: list[RichThing]) -> bool:
    """Whether a thing looks like another one and does the same."""
    looks = [(t.kind, t.colours, t.pattern, t.thin, t.size, t.motion) for t in (thing, *things) if t.is_object]
    return thing.is_object and looks[0] in looks[1:]


def _crowded(a: RichThing, b: RichThing, may_overlap: bool) -> bool:
    """Whether two things are closer than a shot of their kind lets them come, at any time."""
    nearest = min(
        np.hypot(*np.subtract(a.centre_at(progress), b.centre_at(progress))) for progress in (-0.5, -0.25, 0, 0.25, 0.5)
    )
    return bool(nearest < (0.35 if may_overlap else 0.75) * (a.radius + b.radius))


def _attached(kind: str, things: list[RichThing], rng: np.random.Generator) -> list[RichThing]:
    """Every object's shadow or reflection behind all objects."""
    count = len(things)
    extra = [
        RichThing(kind, None, thing.centre, thing.radius, int(rng.integers(2**31)), owner=count + index)
        for index, thing in enumerate(things)
    ]
    return extra + things

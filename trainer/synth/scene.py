"""Sampling and rendering of synthetic shots: things, exact mattes, and sentences that name exactly one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .processes import RENDERERS, Drawer, Layer
from .shapes import coverage, outline, placed, shading
from .vocabulary import (
    COLOURS,
    KINDS,
    MOTION_PHRASES,
    MOTIONS,
    PLACE_PHRASES,
    PLACES,
    PROCESS_NAMES,
    PROCESSES,
    SIZES,
    held_out,
)

Plates = Callable[[np.random.Generator, int, int, int], np.ndarray]
"""(generator, frames, height, width) -> background float32 [T,H,W,3] in 0..1."""


@dataclass(frozen=True)
class Thing:
    """One object or process of a shot.

    Attributes:
        kind: one of `KINDS` or `PROCESSES`.
        place: one of `PLACES`, or None where an object stands at no clear place.
        centre: (x in frame widths, y in frame heights) at the middle of the shot.
        radius: in frame heights, at the middle of the shot.
        seed: of everything random in its look.
        colour, size, motion: of an object; None for a process.
    """

    kind: str
    place: str | None
    centre: tuple[float, float]
    radius: float
    seed: int
    colour: str | None = None
    size: str | None = None
    motion: str | None = None

    @property
    def is_process(self) -> bool:
        return self.kind in PROCESSES

    @property
    def is_thin(self) -> bool:
        """Whether its parts are a few hundredths of a frame wide, as no plain thing's are."""
        return False

    @property
    def is_unseen(self) -> bool:
        """Whether its combination is held out of training."""
        attribute = self.place if self.is_process else self.colour
        return attribute is not None and held_out(self.kind, attribute)


@dataclass(frozen=True)
class Expression:
    """A sentence and the index of the thing it names, or several; None for a thing that is not in the shot."""

    text: str
    target: int | tuple[int, ...] | None

    @property
    def targets(self) -> tuple[int, ...]:
        """The indices of all it names."""
        if self.target is None:
            return ()
        return self.target if isinstance(self.target, tuple) else (self.target,)


@dataclass
class RenderedShot:
    """A rendered shot.

    Attributes:
        frames: float32 [T,H,W,3] in 0..1, display-referred.
        mattes: float32 [N,T,H,W] in 0..1: how much of each pixel a thing shows, occlusion counted.
        things: the N things, back to front, of their world's own type.
        expressions: what can be asked of the shot.
    """

    frames: np.ndarray
    mattes: np.ndarray
    things: list[Any]
    expressions: list[Expression] = field(default_factory=list)


def clear_place(centre: tuple[float, float]) -> str | None:
    """The place a centre plainly belongs to, None where two places could be meant."""
    x, y = centre
    aside, above = x - 0.5, y - 0.5
    if max(abs(aside), abs(above)) < 0.1:
        return "middle"
    if abs(aside) > 0.17 and abs(above) < 0.13:
        return "left" if aside < 0 else "right"
    if abs(above) > 0.17 and abs(aside) < 0.13:
        return "top" if above < 0 else "bottom"
    return None


def _sample_object(rng: np.random.Generator, unseen: bool) -> Thing:
    while True:
        kind = str(rng.choice(KINDS))
        colour = str(rng.choice(list(COLOURS)))
        if held_out(kind, colour) == unseen:
            break
    size = str(rng.choice(list(SIZES)))
    motion = str(rng.choice(MOTIONS))
    if motion == "rotating" and kind in ("circle", "ring"):
        motion = "still"
    centre = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.22, 0.78)))
    place = clear_place(centre) if motion in ("rotating", "growing", "still") else None
    radius = float(rng.uniform(*SIZES[size]))
    return Thing(kind, place, centre, radius, int(rng.integers(2**31)), colour, size, motion)


def sample_process(
    rng: np.random.Generator,
    unseen: bool,
    kinds: tuple[str, ...] = PROCESSES,
    is_held_out: Callable[[str, str], bool] = held_out,
) -> Thing:
    """A process at one of `PLACES`.

    Args:
        rng: source of chance.
        unseen: whether its combination is one that is held out of training.
        kinds, is_held_out: a world's processes, and what it holds out; see `held_out`.
    """
    while True:
        kind = str(rng.choice(kinds))
        place = str(rng.choice(list(PLACES)))
        if is_held_out(kind, place) == unseen:
            break
    x, y = PLACES[place]
    centre = (x + float(rng.uniform(-0.06, 0.06)), y + float(rng.uniform(-0.06, 0.06)))
    return Thing(kind, place, centre, float(rng.uniform(0.2, 0.32)), int(rng.integers(2**31)))


def sample_things(rng: np.random.Generator, unseen: bool = False) -> list[Thing]:
    """Two to four things with little overlap, at most two of them processes, no two processes of a kind.

    Args:
        rng: source of chance.
        unseen: whether the first thing is of a combination held out of training; the others are always of seen ones.
    """
    wanted = int(rng.integers(2, 5))
    things: list[Thing] = []
    for _ in range(60):
        first_unseen = unseen and not things
        processes = [t.kind for t in things if t.is_process]
        make = sample_process if rng.random() < 0.45 and len(processes) < 2 else _sample_object
        thing = make(rng, first_unseen)
        if thing.kind in processes or any(_crowded(thing, other) for other in things):
            continue
        twins = [t for t in things if (t.kind, t.colour, t.size) == (thing.kind, thing.colour, thing.size)]
        if twins and not thing.is_process:
            continue
        things.append(thing)
        if len(things) == wanted:
            break
    order = rng.permutation(len(things))
    return [things[i] for i in order]


def _crowded(a: Thing, b: Thing) -> bool:
    distance = np.hypot(a.centre[0] - b.centre[0], a.centre[1] - b.centre[1])
    return bool(distance < 0.8 * (a.radius + b.radius))


def render(things: list[Thing], background: np.ndarray) -> RenderedShot:
    """Composite things over a background, back to front.

    Args:
        things: what to draw; a path spans the whole shot, however long it is.
        background: float32 [T,H,W,3] in 0..1.

    Returns:
        The shot, without expressions.
    """
    frames = background.copy()
    count, height, width = frames.shape[:3]
    mattes = np.zeros((len(things), count, height, width), np.float32)
    drawers = [_drawer(thing, count, height, width) for thing in things]
    for t in range(count):
        for index, draw in enumerate(drawers):
            composite(frames[t], mattes[:, t], index, draw(t))
    return RenderedShot(frames, mattes, things)


def composite(frame: np.ndarray, mattes: np.ndarray, index: int, layer: Layer) -> None:
    """Lay the thing `index` over a frame [H,W,3] and over the mattes [N,H,W] of those behind it, in place."""
    colour, alpha = layer
    frame[:] = frame * (1 - alpha[..., None]) + colour * alpha[..., None]
    mattes[:index] *= 1 - alpha
    mattes[index] = alpha


def progress_at(t: float, frames: int) -> float:
    """How far a shot has come: from -0.5, at its first frame, to 0.5, at its last; 0 in a shot of one frame."""
    return t / (frames - 1) - 0.5 if frames > 1 else 0.0


def _drawer(thing: Thing, count: int, height: int, width: int) -> Drawer:
    rng = np.random.default_rng(thing.seed)
    if thing.colour is None:  # a process
        centre = (thing.centre[0] * width / height, thing.centre[1])
        return RENDERERS[thing.kind](rng, height, width, centre, thing.radius)

    plain: np.ndarray = np.asarray(COLOURS[thing.colour])
    colour = tuple(np.clip(plain + rng.uniform(-0.06, 0.06, 3), 0, 1))
    outlines = outline(thing.kind)
    light, angle = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25)
    path = rng.uniform(0.22, 0.38)
    turn = rng.uniform(0.9, 1.6) * rng.choice((-1, 1))
    heading = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}.get(thing.motion or "", (0, 0))

    def draw(t: float) -> Layer:
        progress = progress_at(t, count)
        radius = thing.radius * height * (1 + 0.9 * progress if thing.motion == "growing" else 1.0)
        turned = angle + (turn * progress if thing.motion == "rotating" else 0.0)
        x = thing.centre[0] * width + heading[0] * path * progress * height
        y = (thing.centre[1] + heading[1] * path * progress) * height
        alpha = coverage(placed(outlines, (x, y), radius, turned), height, width)
        return shading(colour, height, width, (x, y), radius, light), alpha

    return draw


def one_of(rng: np.random.Generator, phrases: Sequence[str]) -> str:
    """One of the phrases, each as likely as any other."""
    return phrases[int(rng.integers(len(phrases)))]


def _matches(
    thing: Thing, kind: str, colour: str | None, size: str | None, place: str | None, motion: str | None
) -> bool:
    """Whether a description could be taken to mean a thing; vague places count as a match."""
    if thing.kind != kind or (colour and thing.colour != colour) or (motion and thing.motion != motion):
        return False
    if size and thing.size not in (size, "medium"):
        return False
    return not place or thing.place in (place, None)


def describe(rng: np.random.Generator, things: list[Thing], index: int) -> str | None:
    """A sentence that names exactly one thing of a shot, or None where no sampled wording is unambiguous.

    The wording always names what is held out (colour and kind, process and place) where the thing is of an unseen
    combination.
    """
    thing = things[index]
    others = things[:index] + things[index + 1 :]
    for _ in range(8):
        colour = thing.colour if thing.is_unseen or rng.random() < 0.75 else None
        size = thing.size if thing.size != "medium" and rng.random() < 0.35 else None
        place = thing.place if thing.place and rng.random() < 0.35 else None
        motion = thing.motion if thing.motion and rng.random() < 0.4 else None
        if thing.is_process:
            place = thing.place if thing.is_unseen or rng.random() < 0.5 else None
            if any(other.kind == thing.kind for other in others):
                return None
        elif any(_matches(other, thing.kind, colour, size, place, motion) for other in others):
            continue
        name = one_of(rng, PROCESS_NAMES[thing.kind]) if thing.is_process else thing.kind
        words = ["the", size, colour, name]
        words.append(one_of(rng, PLACE_PHRASES[place]) if place else None)
        words.append(one_of(rng, MOTION_PHRASES[motion]) if motion else None)
        return " ".join(w for w in words if w)
    return None


def describe_absent(rng: np.random.Generator, things: list[Thing]) -> str:
    """A sentence of a seen combination that names nothing in the shot, often by one word only."""
    while True:
        if rng.random() < 0.3:
            kind = str(rng.choice(PROCESSES))
            if any(t.kind == kind for t in things):
                continue
            return f"the {one_of(rng, PROCESS_NAMES[kind])}"
        kind, colour = str(rng.choice(KINDS)), str(rng.choice(list(COLOURS)))
        objects = [t for t in things if not t.is_process]
        if objects and rng.random() < 0.6:
            near = objects[rng.integers(len(objects))]
            kind, colour = (near.kind, colour) if rng.random() < 0.5 else (kind, near.colour or colour)
        if held_out(kind, colour) or any(t.kind == kind and t.colour == colour for t in things):
            continue
        return f"the {colour} {kind}"


def sample_shot(
    rng: np.random.Generator, plates: Plates, frames: int, height: int, width: int, unseen: bool = False
) -> RenderedShot:
    """A random shot, and what can be said of the things in it.

    Args:
        rng: source of chance.
        plates: makes the background.
        frames, height, width: size of the shot.
        unseen: whether it holds a thing of a combination held out of training; only such things are then asked for.
    """
    things = sample_things(rng, unseen)
    shot = render(things, plates(rng, frames, height, width))
    for index, thing in enumerate(things):
        hidden = float(shot.mattes[index].max(axis=(1, 2)).min()) < 0.5
        if hidden or thing.is_unseen != unseen:
            continue
        text = describe(rng, things, index)
        if text is not None:
            shot.expressions.append(Expression(text, index))
    return shot


def caption(rng: np.random.Generator, things: list[Thing]) -> str:
    """A sentence that lists a shot's things, for text-to-video training."""
    parts = []
    for thing in rng.permutation(np.array(things, dtype=object)):
        name = one_of(rng, PROCESS_NAMES[thing.kind]) if thing.is_process else thing.kind
        size = thing.size if thing.size != "medium" else None
        place = one_of(rng, PLACE_PHRASES[thing.place]) if thing.place else None
        motion = one_of(rng, MOTION_PHRASES[thing.motion]) if thing.motion else None
        words = ("" if thing.is_process else "a", size, thing.colour, name, place, motion)
        parts.append(" ".join(w for w in words if w))
    return ", ".join(parts)

"""What a description means: whether it is true of a thing, could be taken to be, or is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from .thing import ATTACHED, RichThing
from .vocabulary import DEPTH_RELATIONS, DIAGONALS, HEADINGS, RELATIONS, THIN_KINDS

_APART, _HARDLY_APART = 0.12, 0.03
"""Distances along an axis, in frame widths or heights, from which on, and up to which, a direction is plain."""
_STEEP = 0.5
"""How far off an axis a direction may point and still be called by the axis, as a slope."""

_AXES = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
_DIRECTIONS = {
    relation: tuple(sum(axis) for axis in zip(*(_AXES[word] for word in relation.split()))) for relation in RELATIONS
}


class Match(IntEnum):
    """Whether a description is true of a thing; the least of its parts decides."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True)
class Query:
    """A description; what is None or empty is left open.

    Attributes:
        kind: of a thing, a process, or of `ATTACHED`; None for any object.
        colours: one of a plain object, or both of a two-coloured one.
        pattern, size, place, motion: see `RichThing`.
        thin: whether it is said to be thin.
        relation, anchor: one of the vocabulary's relations, and the index of the thing that it is to.
        owner: of a shadow or reflection, the index of its object.
    """

    kind: str | None = None
    colours: tuple[str, ...] = ()
    pattern: str | None = None
    size: str | None = None
    thin: bool = False
    place: str | None = None
    motion: str | None = None
    relation: str | None = None
    anchor: int | None = None
    owner: int | None = None


def match(things: Sequence[RichThing], query: Query, index: int) -> Match:
    """Whether a description is true of the thing `index`."""
    thing = things[index]
    parts = [_kind(thing, query)]
    owner = None if thing.owner is None else things[thing.owner]
    if thing.kind == "shadow" and "black" in query.colours and owner is not None and owner.kind == query.kind:
        return Match.MAYBE
    if query.colours and thing.is_object:
        parts.append(_colours(thing, query.colours))
    if query.pattern and thing.is_object:
        parts.append(_sure(thing.pattern == query.pattern))
    if query.size and thing.is_object:
        parts.append(Match.MAYBE if thing.size == "medium" else _sure(thing.size == query.size))
    if query.thin and thing.is_object:
        parts.append(Match.MAYBE if thing.kind in THIN_KINDS else _sure(thing.thin))
    if query.place and thing.kind not in ATTACHED:
        parts.append(Match.MAYBE if thing.place is None else _sure(thing.place == query.place))
    if query.motion and thing.is_object:
        parts.append(_motion(thing.motion, query.motion))
    if query.relation is not None and query.anchor is not None:
        parts.append(Match.NO if index == query.anchor else related(things, index, query.relation, query.anchor))
    if query.owner is not None:
        parts.append(_sure(thing.owner == query.owner))
    return min(parts)


def matches(things: Sequence[RichThing], query: Query) -> tuple[int, ...] | None:
    """Indices of the things that a description is true of, or None where it could be taken to mean others as well."""
    found = [match(things, query, index) for index in range(len(things))]
    if Match.MAYBE in found:
        return None
    return tuple(index for index, each in enumerate(found) if each is Match.YES)


def names_nothing(things: Sequence[RichThing], query: Query) -> bool:
    """Whether a description is plainly false of every thing."""
    return all(match(things, query, index) is Match.NO for index in range(len(things)))


def related(things: Sequence[RichThing], index: int, relation: str, anchor: int) -> Match:
    """Whether the thing `index` stands in a relation to the thing `anchor`, all shot long."""
    if relation in DEPTH_RELATIONS:
        front, back = (anchor, index) if relation == "behind" else (index, anchor)
        if back in things[front].over:
            return Match.YES
        return Match.MAYBE if back in things[front].touching else Match.NO
    x, y = _DIRECTIONS[relation]
    moments = [_between(things[anchor], things[index], progress) for progress in (-0.5, -0.25, 0.0, 0.25, 0.5)]
    if x and y:
        found = [_diagonal(x * dx, y * dy) for dx, dy in moments]
    else:
        found = [_straight(x * dx + y * dy, abs(x * dy) + abs(y * dx)) for dx, dy in moments]
    return found[0] if len(set(found)) == 1 else Match.MAYBE


def _straight(ahead: float, aside: float) -> Match:
    """Whether a thing so far ahead, and so far off the axis, lies in the axis's direction."""
    if ahead <= _HARDLY_APART or aside >= 2 * ahead:
        return Match.NO
    return Match.YES if ahead >= _APART and aside <= _STEEP * ahead else Match.MAYBE


def _diagonal(ahead: float, aside: float) -> Match:
    """Whether a thing so far along both axes lies in the direction between them."""
    near, far = sorted((ahead, aside))
    if near <= _HARDLY_APART:
        return Match.NO
    return Match.YES if near >= _APART and near > _STEEP * far else Match.MAYBE


def _between(origin: RichThing, thing: RichThing, progress: float) -> tuple[float, float]:
    (x0, y0), (x1, y1) = origin.centre_at(progress), thing.centre_at(progress)
    return x1 - x0, y1 - y0


def _sure(is_true: bool) -> Match:
    return Match.YES if is_true else Match.NO


def _kind(thing: RichThing, query: Query) -> Match:
    if query.kind is not None:
        return _sure(thing.kind == query.kind)
    if thing.is_object:
        return Match.YES
    if thing.kind in ATTACHED or query.motion is None:
        return Match.MAYBE
    # smoke rises, rain falls, ripples spread: nobody would say that one of them turns, or goes to one side
    return Match.NO if query.motion in ("left", "right", "rotating", "still") else Match.MAYBE


def _colours(thing: RichThing, colours: tuple[str, ...]) -> Match:
    if len(colours) == 2 or thing.second is None:
        return _sure(set(thing.colours) == set(colours))
    return Match.MAYBE if colours[0] in thing.colours else Match.NO


def _motion(motion: str | None, said: str) -> Match:
    if motion == said:
        return Match.YES
    if motion is None:  # under a moving camera
        return Match.NO if said in ("rotating", "growing", "shrinking") else Match.MAYBE
    if said == "still" or motion == "still":
        return Match.NO if {said, motion} & HEADINGS.keys() else Match.MAYBE
    parts = set(said.split()) & set(motion.split())
    return Match.MAYBE if parts and (said in DIAGONALS or motion in DIAGONALS) else Match.NO

"""Sentences that name exactly one thing of a shot, several, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..scene import one_of
from .meaning import Match, Query, matches, names_nothing, related
from .thing import ATTACHED, RichThing
from .vocabulary import (
    ALL,
    ANYTHING,
    BOTH,
    COLOUR_NAMES,
    COLOURS,
    DEPTH_RELATIONS,
    HELD_OUT_MOTION,
    HELD_OUT_RELATION,
    KIND_NAMES,
    KINDS,
    MOTION_PHRASES,
    MOTIONS,
    PATTERN_NAMES,
    PATTERNS,
    PLACE_PHRASES,
    PROCESS_NAMES,
    PROCESSES,
    RELATION_PHRASES,
    RELATIONS,
    SIZE_NAMES,
    STAYING,
    THINGS,
    held_out,
    plural,
)

TRIES = 10
SAID_RELATIONS = tuple(r for r in (*RELATIONS, *DEPTH_RELATIONS) if r != HELD_OUT_RELATION)
SAID_MOTIONS = tuple(m for m in MOTIONS if m != HELD_OUT_MOTION)


def targets(things: Sequence[RichThing]) -> list[tuple[int, ...]]:
    """Everything of a shot that a sentence may ask for: clear things, then groups of them."""
    single = [(index,) for index, thing in enumerate(things) if thing.is_clear]
    groups = {group: None for query in _group_queries(things) if (group := _group(things, query)) is not None}
    return single + list(groups)


def describe(
    rng: np.random.Generator, things: Sequence[RichThing], target: tuple[int, ...], relation: str | None = None
) -> str | None:
    """A sentence that names exactly the things of a target, or None where no sampled wording is unambiguous.

    It names what is held out, a combination or a motion, where a thing is of an unseen one.

    Args:
        rng: source of chance.
        things: of the shot.
        target: see `targets`.
        relation: what a single thing is to be named by, None for any of the seen ones or none.
    """
    if len(target) > 1:
        fitting = [query for query in _group_queries(things) if _group(things, query) == target]
        return _say_all(rng, fitting[rng.integers(len(fitting))], len(target)) if fitting else None
    for _ in range(TRIES):
        query = _query(rng, things, target[0], relation)
        if query is not None and matches(things, query) == target:
            sentence = say(rng, things, query)
            if sentence is not None:
                return sentence
    return None


def describe_absent(rng: np.random.Generator, things: Sequence[RichThing]) -> str:
    """A sentence of seen words that names nothing in the shot, often by one word only."""
    while True:
        query = _absent_query(rng, things)
        if names_nothing(things, query):
            sentence = say(rng, things, query)
            if sentence is not None:
                return sentence


def caption(rng: np.random.Generator, things: Sequence[RichThing]) -> str:
    """A sentence that lists a shot's things, for text-to-video training.

    A thing is left out where it would be named by another one, its owner or anchor, that has no name of its own.
    """
    parts = []
    for index in rng.permutation(len(things)):
        thing = things[index]
        size = thing.size if thing.size != "medium" else None
        query = Query(thing.kind, thing.colours, thing.pattern, size, thing.thin, owner=thing.owner)
        by_relation = thing.kind not in ATTACHED and rng.random() < 0.3
        related_query = _with_relation(rng, things, query, int(index), None) if by_relation else None
        sentence = say(rng, things, related_query or replace(query, place=thing.place, motion=thing.motion))
        if sentence is not None:
            named = sentence.removeprefix("the ")
            parts.append(f"{'an' if named[0] in 'aeiou' else 'a'} {named}" if thing.is_object else named)
    return ", ".join(parts)


def say(rng: np.random.Generator, things: Sequence[RichThing], query: Query) -> str | None:
    """A query of one thing in words, or None where its anchor or its owner cannot be named."""
    words = ["the"]
    words += [one_of(rng, SIZE_NAMES[query.size])] if query.size else []
    words += ["thin"] if query.thin else []
    words += _look(rng, query)
    words.append(_name(rng, query.kind))
    if query.owner is not None:
        owner = _short(rng, things, query.owner)
        if owner is None:
            return None
        words += ["of", owner]
    words += [one_of(rng, PLACE_PHRASES[query.place])] if query.place else []
    words += [one_of(rng, MOTION_PHRASES[query.motion])] if query.motion else []
    if query.relation is not None and query.anchor is not None:
        anchor = _short(rng, things, query.anchor)
        if anchor is None:
            return None
        words += [one_of(rng, RELATION_PHRASES[query.relation]), anchor]
    return " ".join(words)


def _look(rng: np.random.Generator, query: Query) -> list[str]:
    colours = [one_of(rng, COLOUR_NAMES[query.colours[i]]) for i in rng.permutation(len(query.colours))]
    pattern = [one_of(rng, PATTERN_NAMES[query.pattern])] if query.pattern else []
    return [" and ".join(colours), *pattern] if colours else pattern


def _name(rng: np.random.Generator, kind: str | None) -> str:
    if kind is None:
        return one_of(rng, ANYTHING)
    if kind in ATTACHED:
        return kind
    return one_of(rng, (PROCESS_NAMES if kind in PROCESSES else KIND_NAMES)[kind])


def _short(rng: np.random.Generator, things: Sequence[RichThing], index: int) -> str | None:
    """A name of a thing by kind and look alone, as short as it may be."""
    thing = things[index]
    if thing.kind in ATTACHED or not thing.is_clear:
        return None
    kind, motion = Query(thing.kind), thing.motion if thing.motion in STAYING else None
    looks = (
        kind,
        replace(kind, colours=thing.colours),
        replace(kind, pattern=thing.pattern),
        replace(kind, size=thing.size),
        replace(kind, thin=thing.thin),
        replace(kind, motion=motion),
    )
    for query in looks:
        if query.size != "medium" and matches(things, query) == (index,):
            return say(rng, things, query)
    return None


def _query(rng: np.random.Generator, things: Sequence[RichThing], index: int, relation: str | None) -> Query | None:
    thing = things[index]
    if thing.kind in ATTACHED:
        if relation is not None:
            return None
        alone = sum(other.kind == thing.kind for other in things) == 1
        return Query(thing.kind, owner=None if alone and rng.random() < 0.5 else thing.owner)
    looks_unseen = thing.is_unseen and thing.motion != HELD_OUT_MOTION
    moves_unseen = thing.is_unseen and not looks_unseen
    if thing.is_process:
        query = Query(thing.kind, place=thing.place if looks_unseen or rng.random() < 0.4 else None)
        if relation is None and (looks_unseen or rng.random() < 0.8):
            return query
        return _with_relation(rng, things, replace(query, place=None), index, relation)
    if thing.motion and not looks_unseen and relation is None and rng.random() < (0.3 if moves_unseen else 0.07):
        return Query(motion=thing.motion)
    has_sibling = sum(other.kind == thing.kind for other in things) > 1
    query = Query(
        thing.kind,
        thing.colours if looks_unseen or rng.random() < (0.45 if has_sibling else 0.65) else (),
        thing.pattern if thing.pattern and rng.random() < 0.7 else None,
        thing.size if thing.size != "medium" and rng.random() < 0.3 else None,
        thing.thin and rng.random() < 0.6,
    )
    if relation is not None or (not thing.is_unseen and rng.random() < (0.5 if has_sibling else 0.2)):
        return _with_relation(rng, things, query, index, relation)
    return replace(
        query,
        place=thing.place if thing.place and rng.random() < 0.3 else None,
        motion=thing.motion if thing.motion and (moves_unseen or rng.random() < 0.4) else None,
    )


def _with_relation(
    rng: np.random.Generator, things: Sequence[RichThing], query: Query, index: int, relation: str | None
) -> Query | None:
    """The query with a relation that is true of the thing, drawn among those that are said, or None."""
    relations = SAID_RELATIONS if relation is None else (relation,)
    true = [
        (name, anchor)
        for anchor, other in enumerate(things)
        for name in relations
        if anchor != index and other.kind not in ATTACHED and related(things, index, name, anchor) is Match.YES
    ]
    # overlaps are rarer than directions, and say more
    by_depth = [each for each in true if each[0] in DEPTH_RELATIONS]
    true = by_depth if by_depth and rng.random() < 0.5 else true
    if not true:
        return None
    name, anchor = true[rng.integers(len(true))]
    return replace(query, relation=name, anchor=anchor)


def _group_queries(things: Sequence[RichThing]) -> list[Query]:
    """Descriptions that could name several objects of a shot."""
    objects = [thing for thing in things if thing.is_object]
    queries = [Query(kind=thing.kind) for thing in objects]
    queries += [Query(kind=thing.kind, colours=thing.colours) for thing in objects]
    queries += [Query(colours=thing.colours) for thing in objects if thing.second is None]
    queries += [Query(pattern=thing.pattern) for thing in objects if thing.pattern]
    queries += [Query(motion=thing.motion) for thing in objects if thing.motion]
    return list(dict.fromkeys(queries))


def _group(things: Sequence[RichThing], query: Query) -> tuple[int, ...] | None:
    """The two or more clear things, none of them of an unseen combination or motion, that a query names."""
    found = matches(things, query)
    if found is None or len(found) < 2 or query.motion == HELD_OUT_MOTION:
        return None
    return found if all(things[i].is_clear and not things[i].is_unseen for i in found) else None


def _say_all(rng: np.random.Generator, query: Query, count: int) -> str:
    name = plural(_name(rng, query.kind)) if query.kind else one_of(rng, THINGS)
    words = [*_look(rng, query), name]
    words += [one_of(rng, [p for p in MOTION_PHRASES[query.motion] if "that" not in p])] if query.motion else []
    forms = ALL + BOTH if count == 2 else ALL
    return one_of(rng, forms).format(" ".join(words))


def _absent_query(rng: np.random.Generator, things: Sequence[RichThing]) -> Query:
    """A description of seen words: of something else altogether, or of a thing with one word changed."""
    if rng.random() < 0.25:
        return Query(str(rng.choice(PROCESSES)))
    objects = [index for index, thing in enumerate(things) if thing.is_object]
    if rng.random() < 0.05 and objects:
        return Query(str(rng.choice(ATTACHED)), owner=objects[rng.integers(len(objects))])
    while True:
        query = _changed(rng, things, objects) if objects and rng.random() < 0.65 else _random_look(rng)
        if query.kind is None or not any(held_out(query.kind, colour) for colour in query.colours):
            return query


def _random_look(rng: np.random.Generator) -> Query:
    kind, colour = str(rng.choice(KINDS)), str(rng.choice(list(COLOURS)))
    return Query(kind, (colour,), motion=str(rng.choice(SAID_MOTIONS)) if rng.random() < 0.2 else None)


def _changed(rng: np.random.Generator, things: Sequence[RichThing], objects: Sequence[int]) -> Query:
    index = objects[int(rng.integers(len(objects)))]
    thing = things[index]
    query = Query(thing.kind, thing.colours, thing.pattern)
    change = rng.random()
    if change < 0.35:
        return Query(thing.kind, (str(rng.choice(list(COLOURS))),))
    if change < 0.65:
        return replace(query, kind=str(rng.choice(KINDS)))
    if change < 0.75:
        return Query(thing.kind, (), str(rng.choice(PATTERNS)))
    if change < 0.9 and thing.motion:
        return replace(query, motion=str(rng.choice(SAID_MOTIONS)))
    related_to = [other for other in range(len(things)) if other != index and things[other].kind not in ATTACHED]
    if not related_to:
        return replace(query, size=str(rng.choice(("small", "large"))))
    relation = str(rng.choice([r for r in SAID_RELATIONS if r not in DEPTH_RELATIONS]))
    return replace(query, relation=relation, anchor=related_to[rng.integers(len(related_to))])

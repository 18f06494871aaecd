"""The words of the richer world. It says and holds out all that the plain one does, and more."""

from __future__ import annotations

from .. import vocabulary as plain

KINDS = (*plain.KINDS, "arrow", "moon", "wire", "grid")
"""Shapes of rendered objects."""

THIN_KINDS = ("wire", "grid")
"""Kinds that are thin by nature; "thin" is not said of them."""
MAY_BE_THIN = ("ring", "cross")
"""Kinds of which there is a thin make, which "thin" tells from the other."""

ROUND_KINDS = ("circle", "ring")
"""Kinds that look the same however they are turned, unless a pattern shows it."""

COLOURS = {**plain.COLOURS, "pink": (0.98, 0.55, 0.72), "black": (0.06, 0.06, 0.07)}
"""Display-referred sRGB, 0..1, before the jitter of a shot."""

PATTERNS = ("striped", "spotted", "checked", "marbled")
"""Two-colour fills that move, turn and grow with their object."""

DIAGONALS = {
    "up left": (-1, -1),
    "up right": (1, -1),
    "down left": (-1, 1),
    "down right": (1, 1),
}
HEADINGS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), **DIAGONALS}
"""Motion -> direction, x right and y down."""
STAYING = ("rotating", "growing", "shrinking", "still")
"""Motions during which an object stays at its place."""
MOTIONS = (*HEADINGS, *STAYING)
HELD_OUT_MOTION = "up left"
"""Never seen in training, though both of its words are."""

RELATIONS = ("left", "right", "above", "below", "above left", "above right", "below left", "below right")
DEPTH_RELATIONS = ("behind", "in front")
HELD_OUT_RELATION = "above left"
"""Never said in training, though both of its words are."""

PROCESSES = (*plain.PROCESSES, "steam", "bubbles")
PLACES = plain.PLACES
SIZES = plain.SIZES

KIND_NAMES: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "circle", "circle", "disc"),
    "square": ("square", "square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "ring": ("ring", "ring", "ring", "hoop"),
    "cross": ("cross", "cross", "cross", "plus sign"),
    "heart": ("heart",),
    "diamond": ("diamond", "diamond", "diamond", "rhombus"),
    "arrow": ("arrow",),
    "moon": ("moon", "moon", "crescent"),
    "wire": ("wire", "wire", "cord"),
    "grid": ("grid", "grid", "mesh"),
}
"""What an object is called; a name listed twice is said twice as often, here and below."""

PLURALS: dict[str, str] = {
    "cross": "crosses",
    "plus sign": "plus signs",
    "box": "boxes",
    "rhombus": "rhombuses",
    "mesh": "meshes",
}
"""Plurals of names that take more than an "s"."""

COLOUR_NAMES: dict[str, tuple[str, ...]] = {
    **{colour: (colour,) for colour in COLOURS},
    "purple": ("purple", "purple", "violet"),
    "cyan": ("cyan", "cyan", "turquoise"),
}
PATTERN_NAMES: dict[str, tuple[str, ...]] = {
    "striped": ("striped",),
    "spotted": ("spotted", "dotted"),
    "checked": ("checked", "chequered"),
    "marbled": ("marbled",),
}
SIZE_NAMES: dict[str, tuple[str, ...]] = {"small": ("small", "small", "little"), "large": ("large", "large", "big")}

PROCESS_NAMES: dict[str, tuple[str, ...]] = {
    **plain.PROCESS_NAMES,
    "steam": ("steam", "steam", "rising steam", "white steam"),
    "bubbles": ("bubbles", "bubbles", "rising bubbles"),
}

PLACE_PHRASES = plain.PLACE_PHRASES


def _going(where: str) -> tuple[str, ...]:
    return (f"moving {where}", f"moving {where}", f"going {where}", f"that moves {where}", f"drifting {where}")


MOTION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": (*_going("left"), "moving to the left"),
    "right": (*_going("right"), "moving to the right"),
    "up": _going("up"),
    "down": _going("down"),
    "up left": _going("up and to the left"),
    "up right": _going("up and to the right"),
    "down left": _going("down and to the left"),
    "down right": _going("down and to the right"),
    "rotating": ("rotating", "turning", "spinning", "that turns", "that rotates"),
    "growing": ("growing", "growing", "getting bigger", "that grows"),
    "shrinking": ("shrinking", "shrinking", "getting smaller", "that shrinks"),
    "still": ("standing still", "not moving", "that stands still"),
}

RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below", "under"),
    "above left": ("above and to the left of",),
    "above right": ("above and to the right of",),
    "below left": ("below and to the left of",),
    "below right": ("below and to the right of",),
    "behind": ("behind",),
    "in front": ("in front of",),
}

ANYTHING = ("one", "thing", "object")
"""What an object is called where its motion alone tells it from the others."""
ALL = ("all {}", "all {}", "the {}", "all the {}")
BOTH = ("both {}", "the two {}")
"""Plurals, and those of two."""
THINGS = ("things", "objects", "shapes")


def plural(name: str) -> str:
    """The plural of a name of `KIND_NAMES`."""
    return PLURALS.get(name, name + "s")


def held_out(kind: str, attribute: str) -> bool:
    """Whether a combination belongs to the `unseen` split and never appears in training; as the plain world's.

    Args:
        kind: one of `KINDS` or `PROCESSES`.
        attribute: a colour for an object, a place for a process.
    """
    if kind in KINDS:
        added = tuple(COLOURS)[len(plain.COLOURS) :]
        if attribute in added:
            return KINDS.index(kind) % 4 == added.index(attribute)
        return (tuple(plain.COLOURS).index(attribute) + 3 * KINDS.index(kind)) % len(plain.COLOURS) == 0
    return (tuple(PLACES).index(attribute) + 2 * PROCESSES.index(kind)) % len(PLACES) == 0

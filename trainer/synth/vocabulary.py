"""The words of the synthetic shots, and which combinations are held out of training."""

from __future__ import annotations

KINDS = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond")
"""Shapes of rendered objects."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.12),
    "orange": (0.95, 0.50, 0.08),
    "yellow": (0.95, 0.88, 0.15),
    "green": (0.15, 0.65, 0.20),
    "cyan": (0.15, 0.80, 0.85),
    "blue": (0.15, 0.25, 0.85),
    "purple": (0.55, 0.18, 0.70),
    "white": (0.95, 0.95, 0.95),
}
"""Display-referred sRGB, 0..1, before the jitter of a shot."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.10, 0.13), "medium": (0.15, 0.19), "large": (0.22, 0.28)}
"""Radius of an object in frame heights; "medium" is never said."""

MOTIONS = ("left", "right", "up", "down", "rotating", "growing", "still")

PROCESSES = ("smoke", "fire", "rain", "ripples", "sparks", "glass")
"""Things without a fixed outline, rendered with soft mattes; "glass" is a pane that shatters."""

PLACES: dict[str, tuple[float, float]] = {
    "left": (0.24, 0.5),
    "right": (0.76, 0.5),
    "top": (0.5, 0.25),
    "bottom": (0.5, 0.75),
    "middle": (0.5, 0.5),
}
"""Centres (x in frame widths, y in frame heights) round which things of that place are put."""

PROCESS_NAMES: dict[str, tuple[str, ...]] = {
    "smoke": ("smoke", "smoke", "rising smoke", "cloud of smoke"),
    "fire": ("fire", "fire", "flames", "burning fire"),
    "rain": ("rain", "rain", "falling rain"),
    "ripples": ("ripples", "ripples", "water ripples"),
    "sparks": ("sparks", "sparks", "flying sparks"),
    "glass": ("shattering glass", "shattering glass", "breaking glass"),
}
"""What a process is called; a name listed twice is said twice as often."""

PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "at the left"),
    "right": ("on the right", "at the right"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "middle": ("in the middle", "in the centre"),
}

MOTION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("moving left", "moving to the left"),
    "right": ("moving right", "moving to the right"),
    "up": ("moving up",),
    "down": ("moving down",),
    "rotating": ("rotating", "turning"),
    "growing": ("growing",),
    "still": ("standing still", "not moving"),
}


def held_out(kind: str, attribute: str) -> bool:
    """Whether a combination belongs to the `unseen` split and never appears in training.

    One colour of every kind and one place of every process is held out, spread so that no colour or place is lost.

    Args:
        kind: one of `KINDS` or `PROCESSES`.
        attribute: a colour for an object, a place for a process.
    """
    if kind in KINDS:
        return (tuple(COLOURS).index(attribute) + 3 * KINDS.index(kind)) % len(COLOURS) == 0
    return (tuple(PLACES).index(attribute) + 2 * PROCESSES.index(kind)) % len(PLACES) == 0

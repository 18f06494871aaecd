"""Whole shots of the richer world: sampled, rendered, and asked for."""

from __future__ import annotations

import numpy as np

from ..backgrounds import procedural
from ..scene import Expression, Plates, RenderedShot
from .draw import render
from .sampling import sample_scene
from .sentences import describe, targets
from .thing import RichThing
from .vocabulary import HELD_OUT_RELATION

SPOKEN_OF = (3, 24, 24)
"""Frames, height and width of shots that are only spoken of; what covers what decides some sentences."""

UNSEEN_RELATIONS = 0.2
"""Share of unseen shots that ask for the relation held out of training."""


def render_shot(
    rng: np.random.Generator, plates: Plates, frames: int, height: int, width: int, unseen: bool = False
) -> RenderedShot:
    """A random shot without expressions; see `sample_shot`."""
    things, setting = sample_scene(rng, unseen)
    return render(things, setting, plates, rng, frames, height, width)


def sample_things(rng: np.random.Generator) -> list[RichThing]:
    """The things of a random shot of seen combinations, which know what they are over and whether they are clear."""
    return render_shot(rng, procedural, *SPOKEN_OF).things


def sample_shot(
    rng: np.random.Generator, plates: Plates, frames: int, height: int, width: int, unseen: bool = False
) -> RenderedShot:
    """As the plain world's `sample_shot`, but there is always something to be said.

    Where `unseen`, all that is asked for is of a combination, a motion or a relation held out of training.
    """
    relation = HELD_OUT_RELATION if unseen and rng.random() < UNSEEN_RELATIONS else None
    while True:
        shot = render_shot(rng, plates, frames, height, width, unseen and relation is None)
        shot.expressions = _expressions(rng, shot, unseen, relation)
        if shot.expressions:
            return shot


def _expressions(rng: np.random.Generator, shot: RenderedShot, unseen: bool, relation: str | None) -> list[Expression]:
    expressions: list[Expression] = []
    for target in targets(shot.things):
        is_group = len(target) > 1
        if is_group and (unseen or (expressions and len(expressions[-1].targets) > 1)):
            continue  # one group is enough
        if unseen and relation is None and not shot.things[target[0]].is_unseen:
            continue
        text = describe(rng, shot.things, target, relation)
        if text is not None:
            expressions.append(Expression(text, target if is_group else target[0]))
    return expressions

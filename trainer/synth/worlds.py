"""The worlds that shots can be rendered of: the plain one, and the richer one that holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import scene
from .rich import sentences, shots
from .rich.thing import RichThing
from .scene import Plates, RenderedShot, Thing


@dataclass(frozen=True)
class World:
    """What is rendered, and what is said of it. `things` are a shot's, of the world's own type.

    Attributes:
        thing_type: of its things.
        sample_shot: a random shot, and what can be said of the things in it; see `scene.sample_shot`.
        sample_things: (rng) -> the things of a random shot of seen combinations, as sentences need to know them.
        render_shot: (rng, plates, frames, height, width) -> a random shot of seen combinations, without expressions.
        targets: things -> everything that may be asked for, as indices of one or more things.
        describe: (rng, things, target) -> a sentence for one of `targets`, or None where none is unambiguous.
        describe_absent: (rng, things) -> a sentence that names nothing in the shot.
        caption: (rng, things) -> a sentence that lists the things.
    """

    thing_type: type[Thing]
    sample_shot: Callable[..., RenderedShot]
    sample_things: Callable[[np.random.Generator], list[Any]]
    render_shot: Callable[[np.random.Generator, Plates, int, int, int], RenderedShot]
    targets: Callable[[list[Any]], list[tuple[int, ...]]]
    describe: Callable[[np.random.Generator, list[Any], tuple[int, ...]], str | None]
    describe_absent: Callable[[np.random.Generator, list[Any]], str]
    caption: Callable[[np.random.Generator, list[Any]], str]

    def thing(self, entry: Any) -> Thing:
        """A thing from its fields as JSON gives them back.

        Raises:
            ValueError: they are not a thing's.
        """
        from pydantic import TypeAdapter

        return TypeAdapter(self.thing_type).validate_python(entry)


def _plain_shot(rng: np.random.Generator, plates: Plates, frames: int, height: int, width: int) -> RenderedShot:
    return scene.render(scene.sample_things(rng), plates(rng, frames, height, width))


PLAIN = "plain"
WORLDS: dict[str, World] = {
    PLAIN: World(
        Thing,
        scene.sample_shot,
        scene.sample_things,
        _plain_shot,
        lambda things: [(index,) for index in range(len(things))],
        lambda rng, things, target: scene.describe(rng, things, target[0]),
        scene.describe_absent,
        scene.caption,
    ),
    "rich": World(
        RichThing,
        shots.sample_shot,
        shots.sample_things,
        shots.render_shot,
        sentences.targets,
        sentences.describe,
        sentences.describe_absent,
        sentences.caption,
    ),
}
"""Name -> world."""

"""What roto shapes are like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..setting import About, check_values, setting

ShapeEdges = Literal["auto", "hard", "soft"]
ShapeKeys = Literal["fitted", "every"]


@dataclass(frozen=True)
class ShapeSettings:
    """What roto shapes are like.

    Attributes:
        shape_tolerance: pixels by which an outline may miss the matte's: 19 of 20 points of it lie as near in every
            frame, and none lies farther away than three times that, as far as the vertices allow.
        shape_vertices: vertices that a shape has at most.
        shape_area: regions of fewer pixels get no shape, nor do holes.
        shape_keys: "fitted" sets as few keys as the tolerance allows, "every" one at each frame.
        shape_edges: "hard" has one shape a region, at the half of the matte; "soft" has several within each other, at
            levels of it; "auto" tells which by the first frames that show anything.

    Raises:
        ValueError: a value out of range.
    """

    shape_tolerance: float = setting(
        1.0,
        About(
            "How far a shape's outline may be from the matte's, in pixels: more has fewer vertices and keys.",
            noun="tolerance of shapes",
            unit="pixels",
            minimum=0.05,
            maximum=100.0,
            soft=(0.25, 8.0),
            step=0.25,
            round=0.01,
        ),
    )
    shape_vertices: int = setting(
        40,
        About("Vertices that a shape has at most.", noun="number of a shape's vertices", minimum=4, maximum=400),
    )
    shape_area: int = setting(
        64,
        About(
            "Regions and holes of fewer pixels get no shape.",
            noun="least area of a shape",
            unit="pixels",
            minimum=1,
            maximum=100_000_000,
            soft=(1, 10_000),
            rare=True,
        ),
    )
    shape_keys: ShapeKeys = setting(
        "fitted",
        About(
            "fitted: as few keys as the tolerance allows, linear in time between them. every: a key at each frame.",
            noun="way of setting a shape's keys",
            rare=True,
        ),
    )
    shape_edges: ShapeEdges = setting(
        "auto",
        About(
            "hard: one outline a region, with a feather. soft: outlines at three levels within each other, for smoke, "
            "fire and the like, which have no edge. auto: told by the matte.",
            noun="kind of a shape's edges",
            rare=True,
        ),
    )

    def __post_init__(self) -> None:
        check_values(ShapeSettings, **vars(self))

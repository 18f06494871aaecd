"""From where on something about a matte is a defect."""

from __future__ import annotations

from dataclasses import dataclass

from ..setting import About, check_values, setting


@dataclass(frozen=True)
class QcSettings:
    """Limits, above which (for `softness`: below) a frame is listed.

    All but `unsure` were chosen so that exact mattes of rendered shots, things and processes, stay well within;
    `unsure` by masks that were wrong (docs/qc.md).

    Raises:
        ValueError: a limit out of range.
    """

    flicker: float = setting(
        0.5,
        About(
            "How far a matte's outline may be from where the frames before and after have it, along the motion of the "
            "plate, in pixels of the plate at up to 640 across.",
            unit="pixels",
            minimum=0.0,
            maximum=100.0,
        ),
    )
    jump: float = setting(
        0.5,
        About(
            "How far the area may be off the line from the frame before to the one after, as a share of the layer's "
            "area. Where a matte touches the frame's border, through which things come and go, twice as far.",
            minimum=0.0,
            maximum=100.0,
        ),
    )
    holes: float = setting(
        0.025,
        About(
            "Holes that the frame before or after does not have, as a share of the layer's area.",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    islands: float = setting(
        0.01,
        About(
            "Islands that the frame before or after does not have, as a share of the layer's area.",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    softness: float = setting(
        0.5,
        About(
            "How much of their usual width edges have to keep: a matte that was clipped has lost it.",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    unsure: float = setting(
        0.35,
        About(
            "How far two overlapping windows of the model may disagree about a frame, 0 to 1: the part of what either "
            "found that the other did not.",
            noun="disagreement",
            minimum=0.0,
            maximum=1.0,
        ),
    )

    def __post_init__(self) -> None:
        check_values(QcSettings, **vars(self))

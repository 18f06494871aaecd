"""What the matte stage does to a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..setting import About, check_values, setting

# Work and memory grow with the lengths below, so that each has an end: wide enough for plates of 16k, four times as
# wide as what a plate of 4k takes (an edge of 256 pixels, a refinement of 128, a hole of a tenth of the picture).
_WIDEST_EDGE = 1024
_LARGEST_AREA = 10_000_000


EdgeKind = Literal["auto", "solid", "soft"]
"""What a layer's edges are: found out, those of a solid thing, or those of a process, of motion blur or defocus."""

EDGE_FRAMES = 11
"""How many frames before it of its take decide with a frame whether its edges are solid."""


@dataclass(frozen=True)
class MatteSettings:
    """How soft masks become mattes. Every field at its neutral value (`NEUTRAL`) leaves the mask as it is, to the bit.

    The defaults solve the edges of solid things, where the masks are known to have been scaled up, and keep soft
    processes soft.

    Attributes:
        black, white: levels: mask values that become 0 and 1; `black` lies below `white`.
        gamma: bends the half-transparent part.
        threshold: the mask value at which the edge is put; None keeps the mask's own softness.
        knee: half the width of the ramp around the threshold, in mask values; 0 cuts hard.
        fill_holes: area in pixels below which holes are filled; 0 is off.
        remove_islands: area in pixels below which islands are removed; 0 is off.
        grow: by how many pixels the edge moves outwards, inwards below 0; 0 is off.
        feather: over how many pixels to either side the edge is softened; 0 is off.
        refine: None to solve edges from the means of the model's cells; a radius in pixels to bring them to those of
            the plate with a guided filter, within that; 0 is off.
        refine_detail: contrast of the plate, in display values 0..1, below which it is grain and no edge.
        smooth: frames to either side that smoothing along the motion looks at; 0 is off.
        decontaminate: estimate the colour the foreground has without the ground that shows through.
        invert: keep the rest of the picture instead.
        edge_blur: over how many pixels of a plate of 1920 the edge alone is softened; 0 is off.
        edge_mattes: over how many of these pixels to either side of the edge cores and edges are made; 0 is off.
        edges: whether solved edges are those of a solid thing or stay as soft as the mask, or that is to be found out.
        model_size: pixels to either side at which the model made the masks, before they were scaled up to the plate's
            size; 0 where frames, or the masks themselves, tell.

    Raises:
        ValueError: a value out of range.
    """

    black: float = setting(
        0.0, About("Values up to this become transparent.", noun="black level", soft=(0.0, 1.0), step=0.01)
    )
    white: float = setting(
        1.0, About("Values from this on become opaque.", noun="white level", soft=(0.0, 1.0), step=0.01)
    )
    gamma: float = setting(
        1.0,
        About(
            "Above 1 makes the half-transparent part more opaque, below 1 more transparent.",
            minimum=0.0,
            exclusive=True,
            soft=(0.05, 20.0),
            step=0.05,
        ),
    )
    threshold: float | None = setting(
        None,
        About(
            "Puts an edge at this value, for solid things; without it the mask keeps its own softness, as smoke, fire "
            "and hair want it.",
            minimum=0.0,
            maximum=1.0,
            exclusive=True,
            soft=(0.0, 0.99),
            step=0.01,
            none="off",
        ),
    )
    knee: float = setting(
        0.1,
        About(
            "Softness of the threshold: half the width of its ramp, in mask values. 0 cuts hard.",
            minimum=0.0,
            maximum=1.0,
            step=0.01,
            rare=True,
        ),
    )
    fill_holes: int = setting(
        0,
        About(
            "Fills holes of fewer pixels than this. 0: none.",
            noun="filled area",
            unit="pixels",
            minimum=0,
            maximum=_LARGEST_AREA,
            rare=True,
        ),
    )
    remove_islands: int = setting(
        0,
        About(
            "Removes specks of fewer pixels than this. 0: none.",
            noun="removed area",
            unit="pixels",
            minimum=0,
            maximum=_LARGEST_AREA,
            rare=True,
        ),
    )
    grow: int = setting(
        0,
        About(
            "Moves the edge outwards by that many pixels; below 0, inwards.",
            noun="growth",
            unit="pixels",
            minimum=-_WIDEST_EDGE,
            maximum=_WIDEST_EDGE,
        ),
    )
    feather: float = setting(
        0.0,
        About(
            "Softens the edge over about that many pixels to either side.",
            unit="pixels",
            minimum=0.0,
            maximum=float(_WIDEST_EDGE),
            step=0.5,
        ),
    )
    refine: int | None = setting(
        None,
        About(
            "Brings edges to those of the picture, at its own resolution. auto solves them from what the model said of "
            "each of its pixels (closed-form matting), and leaves soft what the picture shows to be soft; a radius in "
            "pixels takes a guided filter within that instead; 0 is off.",
            noun="refinement radius",
            unit="pixels",
            minimum=0,
            maximum=512,
            none="auto",
            none_widget=-1,
        ),
    )
    refine_detail: float = setting(
        0.03,
        About(
            "What refine takes for an edge: contrast of the picture, 0..1. Larger passes over grain.",
            noun="refinement detail",
            minimum=0.0,
            exclusive=True,
            soft=(0.001, 1.0),
            step=0.005,
            round=0.001,
            rare=True,
        ),
    )
    smooth: int = setting(
        0,
        About(
            "Quiets flicker: averages over that many frames to either side, along the motion of the picture and never "
            "across a cut. 0 is off; 2 is a good start.",
            noun="smoothing radius",
            unit="frames",
            minimum=0,
            maximum=32,
        ),
    )
    decontaminate: bool = setting(
        False,
        About(
            "Gives edges and haze the colour they have without the ground behind them. Takes a fifth of a second "
            "a frame at most at 1920x1080."
        ),
    )
    invert: bool = setting(False, About("Keeps the rest of the picture instead."))
    edge_blur: float = setting(
        0.0,
        About(
            "Softens the edge alone, over about that many pixels to either side; the body of smoke and hair keeps its "
            "texture. In pixels of a plate 1920 wide, and in proportion on others. 0 is off.",
            unit="pixels",
            minimum=0.0,
            maximum=128.0,
            step=0.5,
        ),
    )
    edge_mattes: float = setting(
        0.0,
        About(
            "Makes two further mattes of each layer: its core, which lies that many pixels inside the edge, and its "
            "edge, as many to either side. In pixels of a plate 1920 wide, and in proportion on others. 0: none.",
            noun="width of edge mattes",
            unit="pixels",
            minimum=0.0,
            maximum=128.0,
            step=0.5,
            rare=True,
        ),
    )

    edges: EdgeKind = setting(
        "auto",
        About(
            "What edges refine auto solves for: solid, those of a thing, as sharp as the picture's; soft, those "
            "of smoke, fire, motion blur and defocus, as the mask has them; auto finds out."
        ),
    )
    model_size: int = setting(
        0,
        About(
            "Width and height at which a model made the masks before they were scaled up: 512 for REM. 0: as run.json "
            "or the masks themselves say.",
            noun="model size",
            unit="pixels",
            minimum=0,
            maximum=4096,
            rare=True,
        ),
    )

    def __post_init__(self) -> None:
        check_values(MatteSettings, **vars(self))
        check_levels(self.black, self.white)

    @property
    def needs_plate(self) -> bool:
        """Whether masks must come with the frames they were made of."""
        return bool(self.smooth or self.refine != 0 or self.decontaminate)

    @property
    def frames_before(self) -> int:
        """How many frames before it a frame's matte depends on."""
        return self.smooth + (EDGE_FRAMES if self.refine is None else 0)


def check_levels(black: float, white: float) -> None:
    """Raise ValueError for levels that do not go together."""
    if not white > black:
        raise ValueError(f"The white level ({white:g}) must lie above the black level ({black:g}).")


NEUTRAL = MatteSettings(refine=0)
"""Leaves a mask as it is."""

"""How a plate is read."""

from __future__ import annotations

from dataclasses import dataclass

from ..setting import About, check_values, setting
from .numbering import Gaps

AUTO = "auto"


@dataclass(frozen=True)
class PlateSettings:
    """How a plate is read.

    Attributes:
        layer: of an EXR that holds several pictures, the one to read: a part's or a layer's name; "" where there is no
            choice.
        view: of an EXR of several views ("left", "right"), the one to read; "": the file's first.
        frames: numbers of the frames to read, as fileseq writes ranges ("1001-1050", "1001-1050x2", "1001,1010-1020"),
            by the plate's own numbers; a video counts from 1001. "": all.
        gaps: frames that a sequence lacks are refused, or filled with the frame before ("hold") or with black.
        plate_space: the colour space of its values: "auto" for what the file says, or a name: see
            `plate_space.SHORT_NAMES`, and the OpenColorIO configuration.
        exposure: stops by which the picture is brightened for the model's view, and for nothing that is delivered.

    Raises:
        ValueError: another choice.
    """

    layer: str = setting(
        "",
        About("Of an EXR that holds several pictures, the part or layer to read: beauty, for example.", rare=True),
    )
    view: str = setting(
        "", About("Of an EXR of several views, the one to read; its first if none is named.", rare=True)
    )
    frames: str = setting(
        "",
        About(
            "Reads only these frames, by the plate's own numbers: 1001-1050, 1001-1050x2, or several with commas. "
            "A video counts from 1001.",
            rare=True,
        ),
    )
    gaps: Gaps = setting(
        "refuse",
        About(
            "What becomes of frames that a sequence lacks: refuse names them; hold shows the frame before again; black "
            "delivers black with an empty matte.",
            rare=True,
        ),
    )
    plate_space: str = setting(
        AUTO,
        About(
            "Colour space of the plate's values. auto: what the file says. Or srgb, rec709, linear, acescg, aces, "
            "logc3, logc4, slog3, vlog, redlog, applelog, cineon, pq, hlg, or any name of the OpenColorIO "
            "configuration (of $OCIO, else the ACES studio one)."
        ),
    )
    exposure: float = setting(
        0.0,
        About(
            "Brightens the picture that the model sees; nothing that is delivered changes.",
            unit="stops",
            minimum=-20.0,
            maximum=20.0,
            soft=(-10.0, 10.0),
            step=0.1,
            round=0.01,
        ),
    )

    def __post_init__(self) -> None:
        check_values(PlateSettings, **vars(self))

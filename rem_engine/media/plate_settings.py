"""How a plate is read."""

from __future__ import annotations

from dataclasses import dataclass

from ..setting import About, check_values, setting


@dataclass(frozen=True)
class PlateSettings:
    """How a plate is read.

    Attributes:
        layer: of an EXR that holds several pictures, the one to read: a part's or a layer's name; "" where there is no
            choice.
        view: of an EXR of several views ("left", "right"), the one to read; "": the file's first.
    """

    layer: str = setting(
        "",
        About("Of an EXR that holds several pictures, the one to read, as parts and layers are named.", rare=True),
    )
    view: str = setting("", About("Of an EXR of several views, the one to read: left, right, ...", rare=True))

    def __post_init__(self) -> None:
        check_values(PlateSettings, **vars(self))

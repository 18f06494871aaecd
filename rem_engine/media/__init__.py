"""Shots and pictures: reading them (`open_shot`), drawing masks over them, writing masks, overlays and deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lazy import attribute_of

if TYPE_CHECKING:
    from .overlay import draw_overlay, preview_strip
    from .reading import open_shot
    from .shot import Shot

__all__ = ["Shot", "draw_overlay", "open_shot", "preview_strip"]

_HOMES = {"Shot": ".shot", "draw_overlay": ".overlay", "open_shot": ".reading", "preview_strip": ".overlay"}


def __getattr__(name: str) -> Any:
    # Lazy, so that a command line that asks for the settings of a plate waits for no reader of pictures.
    return attribute_of(__name__, _HOMES, name)

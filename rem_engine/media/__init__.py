"""Shots and pictures: reading them (`open_shot`), drawing masks over them, writing masks, overlays and deliveries."""

from __future__ import annotations

from .overlay import draw_overlay, preview_strip
from .reading import open_shot
from .shot import Shot

__all__ = ["Shot", "draw_overlay", "open_shot", "preview_strip"]

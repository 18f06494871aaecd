"""Kinds of values that several commands take."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number of at least 1, as a type for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def frame_size(text: str) -> tuple[int, int]:
    """HxW in pixels, such as 96x96, as a type for argparse: (height, width), both at least 16."""
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 96x96") from None
    if min(height, width) < 16:
        raise argparse.ArgumentTypeError(f"{text} is too small; both sides need 16 pixels")
    return height, width

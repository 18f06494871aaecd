"""Kinds of values that several commands take; each has an end, so that no slip of the hand asks for endless work."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rem_engine.backbones.base import LARGEST_SIDE
from rem_engine.commands.command_line import a_path
from rem_engine.segment.settings import MAX_SEED

_SIDES = (16, LARGEST_SIDE)  # pixels


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: whole numbers from `least` to `most`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not possible; give {least} to {most}")
        return value

    return number


positive = whole_number(1, 1_000_000_000)
seed = whole_number(0, MAX_SEED)


def frame_size(text: str) -> tuple[int, int]:
    """HxW in pixels, such as 96x96, as a type for argparse: (height, width)."""
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 96x96") from None
    least, most = _SIDES
    if not (least <= height <= most and least <= width <= most):
        raise argparse.ArgumentTypeError(f"{text} is not possible; both sides need {least} to {most} pixels")
    return height, width


def add_checkpoints(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --checkpoint, of weights that are laid over a model in their order.

    Args:
        what: they are, which begins the help.
    """
    parser.add_argument(
        "--checkpoint",
        type=a_path,
        metavar="FILE",
        action="append",
        default=[],
        help=f"{what}: whole ones, a delta or a LoRA; several times for several",
    )


def add_overrides(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --set, of settings in place of a preset's: their dotted names and values.

    Args:
        what: can be set, with an example, which ends the help.
    """
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=_override,
        dest="overrides",
        metavar="NAME=VALUE",
        help=f"settings in place of the preset's{what}",
    )


def _override(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as optim.lr=2e-5")
    return name, value

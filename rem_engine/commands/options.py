"""Options that `segment` and `matte` share: the matte stage, and what is delivered."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from ..matte import MatteSettings

if TYPE_CHECKING:
    from ..run.delivery import DeliverySettings

_MATTE_HELP = {
    "black": ("X", "mask values up to this become transparent"),
    "white": ("X", "mask values from this on become opaque"),
    "gamma": ("X", "above 1 makes the half-transparent part more opaque, below 1 more transparent"),
    "threshold": ("X", "puts an edge at this mask value, for solid things; without it softness stays"),
    "knee": ("X", "half the width of the threshold's ramp, in mask values; 0 cuts hard"),
    "fill_holes": ("N", "fills holes of fewer pixels than this"),
    "remove_islands": ("N", "removes specks of fewer pixels than this"),
    "grow": ("PX", "moves the edge outwards, below 0 inwards"),
    "feather": ("PX", "softens the edge over about that much to either side"),
    "refine": ("PX", "radius within which edges are brought to the shot's own; 0 is off"),
    "refine_detail": ("X", "contrast of the shot, 0 to 1, below which it is grain and no edge"),
    "smooth": ("N", "frames to either side to smooth over, along the motion and never across a cut"),
    "decontaminate": (None, "gives edges and haze the colour they have without the ground behind them"),
    "invert": (None, "keeps the rest of the picture instead"),
}


def add_matte_options(parser: argparse.ArgumentParser, threshold: Sequence[str] = ("--matte-threshold",)) -> None:
    """Add an option for every field of `MatteSettings`; `threshold` are the names of the one for its threshold."""
    group = parser.add_argument_group(
        "matte options", "What happens to masks on the way to alpha, exr, prores, webm and png16. Lengths in pixels."
    )
    for field in fields(MatteSettings):
        metavar, text = _MATTE_HELP[field.name]
        names = threshold if field.name == "threshold" else [f"--{field.name.replace('_', '-')}"]
        if metavar is None:
            group.add_argument(*names, dest=_dest(field.name), action="store_true", help=text)
            continue
        group.add_argument(
            *names,
            dest=_dest(field.name),
            metavar=metavar,
            type=int if field.type == "int" else float,
            default=field.default,
            help=f"{text} ({'off' if field.default is None else format(field.default, 'g')})",
        )


def matte_settings(options: argparse.Namespace) -> MatteSettings:
    """The settings that were asked for.

    Raises:
        ValueError: a value out of range.
    """
    return MatteSettings(**{field.name: getattr(options, _dest(field.name)) for field in fields(MatteSettings)})


def add_delivery_options(parser: argparse.ArgumentParser) -> None:
    """Add the form of deliveries. The defaults are those of `DeliverySettings`, whose module brings FFmpeg along and
    would make help wait."""
    group = parser.add_argument_group("delivery options", "The form of alpha, exr, prores, webm and png16.")
    add = group.add_argument
    add("--start", metavar="N", type=int, default=1001, help="number of the first frame in file names (1001)")
    add("--padding", metavar="N", type=int, default=4, help="digits of a frame's number at least (4)")
    add(
        "--premultiplied",
        action="store_true",
        help="colour in exr and prores is multiplied by the alpha, otherwise straight; webm and png16 are straight",
    )
    add("--exr-type", choices=("half", "float"), default="half", help="16- or 32-bit floats (half)")
    add(
        "--exr-compression",
        choices=("zip", "zips", "piz", "dwaa", "none"),
        default="zip",
        help="all but dwaa keep every bit; dwaa keeps those of the alphas (zip)",
    )
    add(
        "--exr-display",
        action="store_true",
        help="exr holds display sRGB values, otherwise scene-linear light; its header says which",
    )


def delivery_settings(options: argparse.Namespace, kinds: tuple[str, ...]) -> DeliverySettings:
    """The form of deliveries that was asked for.

    Raises:
        ValueError: a value out of range.
    """
    from ..run.delivery import DeliverySettings

    return DeliverySettings(
        kinds,
        options.start,
        options.padding,
        options.premultiplied,
        options.exr_type,
        options.exr_compression,
        not options.exr_display,
    )


def kinds_among(choices: Sequence[str], text: str) -> tuple[str, ...]:
    """Kinds of files joined by commas, in the order of `choices`; for argparse.

    Raises:
        argparse.ArgumentTypeError: another kind.
    """
    chosen = [kind.strip() for kind in text.split(",")]
    unknown = [kind for kind in chosen if kind not in choices]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} cannot be written: choose from {','.join(choices)}")
    return tuple(kind for kind in choices if kind in chosen)


def cut_list(text: str) -> str | tuple[int, ...]:
    """`auto`, `none`, or frames joined by commas; for argparse.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if text == "auto":
        return text
    frames = [] if text == "none" else text.split(",")
    if not all(frame.strip().isdecimal() for frame in frames):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cuts: give auto, none, or frames such as 120,305")
    return tuple(int(frame) for frame in frames)


def _dest(name: str) -> str:
    return f"matte_{name}"

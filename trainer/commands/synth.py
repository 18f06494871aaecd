"""`python -m trainer synth`."""

from __future__ import annotations

import argparse

from rem_engine.backbones.base import LONGEST_WINDOW, WAN
from rem_engine.commands.command_line import a_path

from .arguments import frame_size, seed, whole_number


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `synth` to the command line."""
    synth = commands.add_parser(
        "synth",
        help="render captioned shots with exact mattes",
        description="Render captioned shots with exact mattes, in the layout of Refer-YouTube-VOS plus alpha/.",
    )
    synth.add_argument("--out", type=a_path, required=True, help="folder to write; it must not exist yet")
    synth.add_argument("--count", type=whole_number(1, 1_000_000), required=True, help="number of shots")
    synth.add_argument("--seed", type=seed, required=True, help="the same seed gives the same shots; training uses 1")
    synth.add_argument(
        "--split",
        choices=("seen", "unseen"),
        default="seen",
        help="'unseen': ask for combinations (colour and kind, process and place) never used in training; of the rich "
        "world also for a motion and a relation",
    )
    synth.add_argument(
        "--world",
        choices=("plain", "rich"),
        default="plain",
        help="'rich': thin, two-coloured and overlapping things, shadows and reflections, relations, groups",
    )
    synth.add_argument(
        "--size",
        type=frame_size,
        metavar="HxW",
        help="frame size (default: REM-mini's, as its rem.json says)",
    )
    synth.add_argument("--frames", type=whole_number(1, LONGEST_WINDOW), default=9, help="frames a shot (default 9)")
    synth.add_argument("--clips", type=a_path, help="folder of video files for half of the backgrounds")
    synth.set_defaults(run=run, operation="rendering shots")


def run(arguments: argparse.Namespace) -> None:
    """Render the shots."""
    from rem_engine.backbones.configuration import read_defaults
    from rem_engine.backbones.load import MINI_FOLDER

    from ..mini.pool import mixed_plates
    from ..synth.backgrounds import RealClips
    from ..synth.write import write_split

    real = None if arguments.clips is None else RealClips(arguments.clips)
    height, width = arguments.size or read_defaults(MINI_FOLDER, WAN)["default_size"]
    write_split(
        arguments.out,
        arguments.count,
        arguments.seed,
        mixed_plates(real, 0.5),
        frames=arguments.frames,
        height=height,
        width=width,
        unseen=arguments.split == "unseen",
        world=arguments.world,
    )

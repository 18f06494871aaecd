"""The trainer's command line: `python -m trainer --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets `run`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Train and score REM models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    synth = commands.add_parser(
        "synth",
        help="render captioned shots with exact mattes",
        description="Render captioned shots with exact mattes, in the layout of Refer-YouTube-VOS plus alpha/.",
    )
    synth.add_argument("--out", type=Path, required=True, help="folder to write; it must not exist yet")
    synth.add_argument("--count", type=_positive, required=True, help="number of shots")
    synth.add_argument("--seed", type=int, required=True, help="the same seed gives the same shots; training uses 1")
    synth.add_argument(
        "--split",
        choices=("seen", "unseen"),
        default="seen",
        help="'unseen': ask for combinations (colour and kind, process and place) never used in training",
    )
    synth.add_argument("--size", type=_size, default=(96, 96), metavar="HxW", help="frame size (REM-mini's, 96x96)")
    synth.add_argument("--frames", type=_positive, default=9, help="frames a shot (default 9)")
    synth.add_argument("--clips", type=Path, help="folder of video files for half of the backgrounds")
    synth.set_defaults(run=_synth)

    score = commands.add_parser(
        "score",
        help="score a model on shots of 'synth'",
        description="Print J, referring accuracy and the area predicted for absent things, as JSON.",
    )
    score.add_argument("--model", default="mini", help="'mini' or a model folder (default mini)")
    score.add_argument("--checkpoint", type=Path, help="REM weights laid over the model folder")
    score.add_argument("--data", type=Path, required=True, help="folder that 'synth' wrote")
    score.set_defaults(run=_score)

    sample = commands.add_parser(
        "sample",
        help="make the shot the pack ships",
        description="Composite rendered things over a clip (Big Buck Bunny in the shipped one) and encode it.",
    )
    sample.add_argument("--clip", type=Path, required=True, help="video of at least 112 frames, 16:9")
    sample.add_argument("--out", type=Path, required=True, help="file to write, such as assets/sample_shot.mp4")
    sample.set_defaults(run=_sample)

    mini = commands.add_parser(
        "mini",
        help="train REM-mini from nothing",
        description="Train REM-mini from nothing: shots, VAE, text-to-video, REM. Run it again to go on after a stop.",
    )
    mini.add_argument(
        "--work", type=Path, required=True, help="working folder: shots, latents, states, TensorBoard logs"
    )
    mini.add_argument("--out", type=Path, required=True, help="model folder to write")
    mini.add_argument("--clips", type=Path, help="folder of video files for half of the backgrounds")
    mini.add_argument(
        "--no-compile", action="store_true", help="do not compile the VAE's step (it needs a C++ compiler)"
    )
    mini.set_defaults(run=_mini)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 96x96") from None
    if min(height, width) < 16:
        raise argparse.ArgumentTypeError(f"{text} is too small; both sides need 16 pixels")
    return height, width


def _synth(arguments: argparse.Namespace) -> None:
    from .mini.pool import mixed_plates
    from .synth.backgrounds import RealClips
    from .synth.write import write_split

    real = None if arguments.clips is None else RealClips(arguments.clips)
    height, width = arguments.size
    write_split(
        arguments.out,
        arguments.count,
        arguments.seed,
        mixed_plates(real, 0.5),
        frames=arguments.frames,
        height=height,
        width=width,
        unseen=arguments.split == "unseen",
    )


def _score(arguments: argparse.Namespace) -> None:
    import json

    from rem_engine import load_segmenter

    from .score import score

    segmenter = load_segmenter(arguments.model, checkpoint=arguments.checkpoint)
    print(json.dumps({name: round(value, 4) for name, value in score(segmenter, arguments.data).items()}, indent=2))


def _sample(arguments: argparse.Namespace) -> None:
    from .synth.sample import write_sample

    write_sample(arguments.clip, arguments.out)


def _mini(arguments: argparse.Namespace) -> None:
    from .mini.settings import MiniSettings
    from .mini.train import train_mini

    train_mini(arguments.work, arguments.out, MiniSettings(), arguments.clips, not arguments.no_compile)


def main() -> int:
    """Run a command; 0 when done, 2 on bad input, 130 when stopped by Ctrl-C."""
    arguments = build_parser().parse_args()
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

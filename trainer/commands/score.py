"""`python -m trainer score`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `score` to the command line."""
    score = commands.add_parser(
        "score",
        help="score a model on shots of 'synth', or masks of the shipped shot",
        description="Print J, referring accuracy and the area predicted for absent things, or J of each prompt of a "
        "run over the shipped shot, as JSON.",
    )
    score.add_argument("--model", default="mini", help="'mini' or a model folder (default mini)")
    score.add_argument(
        "--checkpoint",
        type=a_path,
        action="append",
        help="REM weights laid over the model folder; several times for more",
    )
    score.add_argument(
        "--decoder", choices=("vae", "mask"), default="vae", help="what draws the masks; see rem-segment (default vae)"
    )
    what = score.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=a_path, help="folder that 'synth' wrote, whose shots are segmented")
    what.add_argument(
        "--run",
        type=a_path,
        dest="folder",
        metavar="OUT",
        help="folder of a rem-segment run over assets/sample_shot.mp4, whose masks are compared with the exact mattes",
    )
    score.set_defaults(run=run, operation="scoring the model")


def run(arguments: argparse.Namespace) -> None:
    """Score the model and print what was measured."""
    import json

    from rem_engine import load_segmenter

    from ..synth.sample_score import score_run
    from ..synth.score import score

    if arguments.folder is not None:
        print(json.dumps({prompt: round(value, 3) for prompt, value in score_run(arguments.folder).items()}, indent=2))
        return
    segmenter = load_segmenter(arguments.model, checkpoint=arguments.checkpoint, decoder=arguments.decoder)
    print(json.dumps({name: round(value, 4) for name, value in score(segmenter, arguments.data).items()}, indent=2))

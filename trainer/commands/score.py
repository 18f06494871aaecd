"""`python -m trainer score`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `score` to the command line."""
    score = commands.add_parser(
        "score",
        help="score a model on shots of 'synth'",
        description="Print J, referring accuracy and the area predicted for absent things, as JSON.",
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
    score.add_argument("--data", type=a_path, required=True, help="folder that 'synth' wrote")
    score.set_defaults(run=run, operation="scoring the model")


def run(arguments: argparse.Namespace) -> None:
    """Score the model and print what was measured."""
    import json

    from rem_engine import load_segmenter

    from ..synth.score import score

    segmenter = load_segmenter(arguments.model, checkpoint=arguments.checkpoint, decoder=arguments.decoder)
    print(json.dumps({name: round(value, 4) for name, value in score(segmenter, arguments.data).items()}, indent=2))

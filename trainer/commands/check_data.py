"""`python -m trainer check-data`."""

from __future__ import annotations

import argparse
from typing import get_args

from rem_engine.commands.command_line import a_path, in_one_line

from ..data.kinds import DatasetKind

_EVALUATED_ON = ("burst", "vspw", "ref_vps")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `check-data` to the command line."""
    check = commands.add_parser(
        "check-data",
        help="read a dataset from end to end and report what is broken",
        description="Read every frame and mask of a dataset, report each file that is bad, and say what there is: "
        "lengths, sizes, areas of masks, lengths of sentences.",
    )
    check.add_argument("root", type=a_path, help="folder of the dataset")
    check.add_argument(
        "--kind",
        choices=(*get_args(DatasetKind), *_EVALUATED_ON),
        default="folder",
        help="its layout (default folder: your own shots)",
    )
    check.add_argument("--name", help="of kind refcoco: refcoco, refcoco+ or refcocog")
    check.add_argument("--split", default="train", help="train (default), valid, valid_u, ...")
    check.add_argument(
        "--model", metavar="mini|DIR", help="count the tokens of sentences with this model's tokenizer, not their words"
    )
    check.set_defaults(run=run, operation="checking the dataset", wants_weights=False)


def run(arguments: argparse.Namespace) -> None:
    """Print what is broken, and how much there is."""
    from ..benchmarks.check import benchmark_of, check_benchmark
    from ..data.check import check_dataset
    from ..data.statistics import token_counter
    from ..settings import SourceSettings
    from .progress import progress_bar

    tokens = None if arguments.model is None else token_counter(arguments.model)
    benchmark = benchmark_of(arguments.kind, arguments.split)
    with progress_bar() as bar:
        if benchmark is not None:
            split = None if arguments.kind in _EVALUATED_ON else arguments.split
            report = check_benchmark(benchmark, arguments.root, split, bar, tokens)
        else:
            kind, root = arguments.kind, arguments.root
            report = check_dataset(
                SourceSettings(kind=kind, root=root, name=arguments.name, split=arguments.split), bar, tokens
            )
    for broken in report.broken:
        print(in_one_line(str(broken)))
    print(f"{report.name}: {report.sentences} sentences, {report.sentences - report.unusable} fit to {report.use}")
    for line in report.statistics.lines():
        print(line)
    if report.broken:
        skip = "train with on_broken: skip" if benchmark is None else "evaluate with --on-broken skip"
        raise ValueError(f"{_things(len(report.broken))} wrong with {arguments.root}; mend that, or {skip}.")


def _things(count: int) -> str:
    return "One thing is" if count == 1 else f"{count} things are"

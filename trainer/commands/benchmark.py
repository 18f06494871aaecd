"""`python -m trainer benchmark`."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from rem_engine.backbones.base import LONGEST_WINDOW
from rem_engine.commands.command_line import a_path

from .arguments import add_checkpoints, frame_size, positive, seed, whole_number

NAMES = ("ref-davis17", "ref-ytvos", "mevis", "burst", "vspw", "ref-vps")

_EXAMPLES = """\
examples:
  the published weights on Ref-DAVIS17, as the authors evaluate
    python -m trainer benchmark ref-davis17 --root ref-davis --model Wan2.1-T2V-14B-Diffusers --checkpoint rem.pth

  masks for the server of Refer-YouTube-VOS, going on after a stop
    python -m trainer benchmark ref-ytvos --root ref-youtube-vos --model Wan2.1-T2V-14B-Diffusers \\
        --checkpoint rem.pth --out ytvos --resume

  a local score on videos held out from its train split
    python -m trainer benchmark ref-ytvos --split train --videos held_out.txt --root ref-youtube-vos --model mini

  on all GPUs of a machine
    accelerate launch --multi_gpu -m trainer benchmark mevis --root MeViS --model Wan2.1-T2V-14B-Diffusers \\
        --checkpoint rem.pth --out mevis

  masks made elsewhere, in the benchmark's layout
    python -m trainer benchmark mevis --root MeViS --score-only results

docs/benchmarks.md tells how each dataset is laid out and what is scored.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `benchmark` to the command line."""
    benchmark = commands.add_parser(
        "benchmark",
        help="predict and score a published benchmark",
        description="Predict a benchmark's masks and score them by the authors' protocol; write JSON, CSV, a table "
        "beside published figures, and a page of the best and worst shots.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = benchmark.add_argument
    add("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    add("--root", type=a_path, required=True, metavar="DIR", help="folder of the dataset")
    add("--model", default="mini", metavar="mini|DIR", help="REM-mini, or a model folder (mini)")
    add_checkpoints(benchmark, "REM weights laid over the model folder")
    add("--out", type=a_path, metavar="DIR", help="folder for predictions and reports (benchmark-NAME)")
    add(
        "--protocol",
        choices=("paper", "shot"),
        default="paper",
        help="paper: as the authors evaluate; shot: overlapping windows, cross-faded (paper)",
    )
    add("--split", metavar="NAME", help="ref-ytvos: valid or train; mevis: valid_u or valid (the first that is there)")
    add("--videos", type=a_path, metavar="FILE", help="take the videos that this file lists, one a line")
    add("--limit", type=positive, metavar="N", help="take the first N videos")
    add("--resume", action="store_true", help="go on with the predictions in the output folder")
    add(
        "--on-broken",
        choices=("refuse", "skip"),
        default="refuse",
        help="what is done about a video of which a file is bad: end the run, or leave it out and say so (refuse)",
    )
    add("--score-only", type=a_path, metavar="DIR", help="predict nothing: score the masks in this folder")
    add("--size", type=frame_size, metavar="HxW", help="size the model sees (the model's own)")
    add(
        "--window",
        type=whole_number(1, LONGEST_WINDOW),
        metavar="N",
        help="frames that go through the model together, at most",
    )
    add("--seed", type=seed, default=0, metavar="N", help="of the noise ModelScope takes (0)")
    add("--device", metavar="NAME", default="auto", help="where to compute: cpu, cuda, cuda:1, mps, ... (auto)")
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto", help="of the model (auto)")
    benchmark.set_defaults(run=run, operation="running the benchmark")


def run(arguments: argparse.Namespace) -> None:
    """Run the benchmark and print what came out."""
    import json

    from rem_engine.progress import SILENT

    from ..benchmarks.run import BenchmarkRun, run_benchmark
    from ..benchmarks.sharing import is_first
    from ..data.files import read_names
    from .progress import progress_bar

    known = {field.name for field in fields(BenchmarkRun)}
    settings = {name: value for name, value in vars(arguments).items() if name in known}
    settings["checkpoint"] = tuple(arguments.checkpoint)
    settings["out"] = arguments.out or Path(f"benchmark-{arguments.name}")
    if arguments.videos is not None:
        if not arguments.videos.is_file():
            raise FileNotFoundError(f"{arguments.videos} does not exist; name a text file of videos, one a line.")
        settings["videos"] = tuple(read_names(arguments.videos))
    with progress_bar(beside="steps") as bar:
        report = run_benchmark(BenchmarkRun(**settings), bar if is_first() else SILENT)
    if report is not None:
        print(json.dumps(report, indent=2))

"""What the checks of a run cost: whether values are finite, whether the plate is the same, whether layers are empty.

    python -m benchmarks.checks --pairs 5
    python -m benchmarks.checks --pairs 5 --operations convert --gigabytes 4

Runs every operation in turn with its checks and without, after one run that is not counted. Printed as a Markdown
table: medians of the processor seconds of both, what the clock on the wall says within the checks of a run as shares of
the whole, for finite values alone and for all checks, and the median of the pairs' differences, which other work on the
machine disturbs more. Runs are REM-mini's, the quickest model there is, so that no other model's checks weigh more;
Segment Shot in ComfyUI runs what `segment` does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from rem_engine import MatteSettings, SegmentJob, SegmentSettings, parse_layers
from rem_engine.checkpoints.convert import Conversion, convert
from rem_engine.run.coverage import Coverage
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.run.matte_job import MatteJob, matte_to_files
from rem_engine.run.segment_file import segment_file

from .convert import write_model
from .memory import write_shot

_MODULES = ("checkpoints.check", "matte.checks", "pixels", "segment.model_frames", "segment.segmenter")
FINITE = (
    *((sys.modules[f"rem_engine.{name}"], "all_finite", True) for name in _MODULES),
    (sys.modules["rem_engine.checkpoints.convert"], "are_finite", True),
)
"""Whose attribute it is, its name, and what it answers where nothing is wrong."""
OTHERS = (
    *((sys.modules[f"rem_engine.run.{name}"], "content_hash", "0" * 64) for name in ("segment_file", "matte_job")),
    (Coverage, "add", None),
)
MODEL = {
    "model": "mini", "checkpoint": None, "strength": 1.0, **asdict(SegmentSettings()), "device": "cpu", "dtype": "auto",
}  # fmt: skip


@dataclass
class Timed:
    """Seconds by the wall within checks, and of processor and wall of whole runs."""

    finite: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="runs with and without checks (default 5)")
    parser.add_argument("--frames", type=int, default=40, help="frames of the shot (default 40)")
    parser.add_argument("--picture", default="720x1280", metavar="HxW", help="even sides, pixels (default 720x1280)")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of the file to convert (default 1)")
    parser.add_argument("--folder", type=Path, help="where to put three times as much (a temporary folder)")
    names = ("segment", "matte", "convert", "convert to bfloat16")
    parser.add_argument("--operations", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args()
    height, width = map(int, arguments.picture.split("x"))
    print("| operation | without, CPU s | with, CPU s | finite values | all checks | difference |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        shot, weights, masks = folder / "shot.mp4", folder / "weights.safetensors", folder / "masks"
        write_shot(shot, arguments.frames, height, width)
        if any(operation.startswith("convert") for operation in arguments.operations):
            write_model(weights, arguments.gigabytes * 1e9)
        if "matte" in arguments.operations:
            segment(shot, masks)
        runs: dict[str, Callable[[], Any]] = {
            "segment": lambda: segment(shot, folder / "out"),
            "matte": lambda: matte(shot, masks, folder / "mattes"),
            "convert": lambda: convert(Conversion(weights, folder / "copy.safetensors", overwrite=True)),
            "convert to bfloat16": lambda: convert(
                Conversion(weights, folder / "copy.safetensors", dtype=torch.bfloat16, overwrite=True)
            ),
        }
        for operation in arguments.operations:
            print(row(operation, *compare(runs[operation], arguments.pairs)), flush=True)


def segment(shot: Path, out: Path) -> None:
    job = SegmentJob(out, parse_layers(["disc: the red circle"]), write=("masks", "soft", "overlay"), again=True)
    segment_file(shot, ("disc: the red circle",), job, MODEL)


def matte(shot: Path, masks: Path, out: Path) -> None:
    delivery = DeliverySettings(kinds=("alpha", "exr"))
    matte_to_files(MatteJob(shot, (str(masks),), out, matte=MatteSettings(), delivery=delivery, again=True))


def compare(run: Callable[[], Any], pairs: int) -> tuple[Timed, Timed]:
    """Runs without and with checks in turn, each time the other one first."""
    without, checked = Timed(), Timed()
    run()
    for pair in range(pairs):
        both = [(without, answered), (checked, watched)]
        for timed, changed in both if pair % 2 else reversed(both):
            os.sync()  # the writes before are not to be waited for
            with changed(timed):
                wall, processor = time.perf_counter(), time.process_time()
                run()
                timed.wall.append(time.perf_counter() - wall)
                timed.processor.append(time.process_time() - processor)
    return without, checked


@contextmanager
def answered(_: Timed) -> Iterator[None]:
    """Nothing is looked at."""
    with ExitStack() as patches:
        for owner, name, answer in (*FINITE, *OTHERS):
            patches.enter_context(mock.patch.object(owner, name, lambda *_, answer=answer, **__: answer))
        yield


@contextmanager
def watched(timed: Timed) -> Iterator[None]:
    """The time within checks is counted."""
    spent = {"finite": 0.0, "others": 0.0}

    def counting(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[kind] += time.perf_counter() - start

        return counted

    with ExitStack() as patches:
        for kind, checks in (("finite", FINITE), ("others", OTHERS)):
            for owner, name, _ in checks:
                patches.enter_context(mock.patch.object(owner, name, counting(getattr(owner, name), kind)))
        yield
    timed.finite.append(spent["finite"])
    timed.all.append(spent["finite"] + spent["others"])


def row(operation: str, without: Timed, checked: Timed) -> str:
    difference = statistics.median(with_ / bare - 1.0 for bare, with_ in zip(without.processor, checked.processor))
    finite, everything = (
        statistics.median(part / whole for part, whole in zip(parts, checked.wall))
        for parts in (checked.finite, checked.all)
    )
    seconds = (statistics.median(timed.processor) for timed in (without, checked))
    return "| {} | {:.2f} | {:.2f} | {:.2%} | {:.2%} | {:+.1%} |".format(
        operation, *seconds, finite, everything, difference
    )


if __name__ == "__main__":
    main()

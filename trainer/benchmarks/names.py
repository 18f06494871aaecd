"""The benchmarks there are, by name."""

from __future__ import annotations

from pathlib import Path

from .benchmark import Benchmark
from .burst import BurstBenchmark
from .mevis import MevisBenchmark
from .ref_davis17 import RefDavis17Benchmark
from .ref_vps import RefVpsBenchmark
from .ref_ytvos import RefYtvosBenchmark
from .vspw import VspwBenchmark

BENCHMARKS: tuple[type[Benchmark], ...] = (
    RefDavis17Benchmark,
    RefYtvosBenchmark,
    MevisBenchmark,
    BurstBenchmark,
    VspwBenchmark,
    RefVpsBenchmark,
)


def open_benchmark(name: str, root: Path, split: str | None = None) -> Benchmark:
    """Open a benchmark on disk.

    Args:
        name: ref-davis17, ref-ytvos, mevis, burst, vspw or ref-vps.
        root: its folder.
        split: one of its splits; None for the first that is there.

    Raises:
        ValueError: no such benchmark, or no such split of it, or files not of the benchmark's form.
        FileNotFoundError: the folder, or a part of it, is missing.
    """
    kinds = {kind.name: kind for kind in BENCHMARKS}
    if name not in kinds:
        raise ValueError(f"There is no benchmark {name!r}; use one of {', '.join(kinds)}.")
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder; name the dataset's as --root.")
    kind = kinds[name]
    if split is not None and split not in kind.splits:
        choice = f"use {' or '.join(kind.splits)}" if kind.splits else "leave the split out"
        raise ValueError(f"{kind.title} has no split {split!r} here; {choice}.")
    return kind(root, split)

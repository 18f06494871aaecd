"""The raw results of an ablation, as one JSON file that all figures are drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rem_engine.whole_files import written_whole

from ..run.records import read_record
from .cell import Cell, Mark, Record
from .plan import DATA_SEEDS, SCORED, Ablation
from .questions import Question, ask
from .sweep import Sweep, SweepTask, read_sweep
from .variants import VARIANTS


@dataclass(frozen=True)
class Protocol:
    """By what the runs were trained and scored.

    Attributes:
        preset: that the settings are of.
        size: (height, width), pixels.
        frames, batch: of the clips of a step.
        shots: rendered of each split.
        seeds: runs of a variant that were asked for.
        first, seconds: processor seconds of training after which they were to be scored first, and to end.
        rates, sweep_seconds: that were tried, and how far.
    """

    preset: str
    size: tuple[int, int]
    frames: int
    batch: int
    shots: dict[str, int]
    seeds: int
    first: float
    seconds: float
    rates: list[float]
    sweep_seconds: float


@dataclass(frozen=True)
class Results:
    """All there is.

    Attributes:
        protocol: see there.
        questions: by split of `SCORED`, in the order of each mark's scores.
        sweeps: of the variants whose rates have all been tried.
        records: of the cells that have been begun.
    """

    protocol: Protocol
    questions: dict[str, list[Question]]
    sweeps: list[Sweep]
    records: list[Record]

    @property
    def variants(self) -> list[str]:
        """Those with a run or a rate, in the order of `VARIANTS`."""
        known = {record.variant for record in self.records} | {sweep.variant for sweep in self.sweeps}
        return [name for name in VARIANTS if name in known]

    @property
    def all_marks(self) -> list[float]:
        """All that any run has."""
        return sorted({mark.mark for record in self.records for mark in record.marks})

    def sweep(self, variant: str) -> Sweep | None:
        """Of a variant, where there is one."""
        return next((each for each in self.sweeps if each.variant == variant), None)

    def of(self, variant: str) -> list[Record]:
        """The records of a variant, by seed."""
        return sorted((each for each in self.records if each.variant == variant), key=lambda each: each.seed)

    def marks(self, variant: str, mark: float) -> dict[int, Mark]:
        """By seed, what runs of a variant were like at a mark."""
        return {each.seed: found for each in self.of(variant) for found in each.marks if found.mark == mark}


def gather(ablation: Ablation) -> Results:
    """What is done so far in an ablation's folder, of all variants and seeds that were ever asked for there."""
    settings = ablation.settings(ablation.variants[0], 1)
    stream = settings.streams[0]
    protocol = Protocol(
        ablation.preset,
        settings.size,
        stream.frames,
        stream.batch,
        {name: ablation.shots[name] for name in DATA_SEEDS},
        ablation.seeds,
        ablation.first,
        ablation.seconds,
        list(ablation.rates),
        ablation.sweep_seconds,
    )
    questions = {name: list(ask(ablation.out / "data" / name).values()) for name in SCORED}
    sweeps = [read_sweep(ablation, variant) for variant in VARIANTS if SweepTask(ablation, variant).is_done()]
    records = [record for cell in _begun(ablation) if (record := cell.record()) is not None]
    return Results(protocol, questions, sweeps, records)


def _begun(ablation: Ablation) -> Iterator[Cell]:
    for variant in VARIANTS:
        seeds = (folder.name.removeprefix("seed") for folder in (ablation.out / variant).glob("seed*"))
        yield from (Cell(ablation, variant, int(seed)) for seed in sorted(seeds, key=int))


def write_results(path: Path, results: Results) -> None:
    """Write them, a line for each question and each mark, so that what is added shows."""
    with written_whole(path) as temporary:
        temporary.write_text(_as_text(asdict(results)) + "\n", encoding="utf-8")


def _as_text(value: Any, indent: str = "") -> str:
    """JSON, of which lists and objects that hold numbers and sentences alone, or lists of those, take a line."""
    line = json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict) and ("mark" in value or "text" in value or "rate" in value and "marks" not in value):
        return line
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(name)}: {_as_text(each, inner)}" for name, each in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(inner + _as_text(each, inner) for each in value) + f"\n{indent}]"
    return line


def read_results(path: Path) -> Results:
    """What `write_results` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    return read_record(path, Results, "write it anew from the folder of the runs")

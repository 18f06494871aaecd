"""What `python -m trainer ablate` leaves in its folder: raw results, a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rem_engine.whole_files import written_whole

from ..reports import RESULTS_FILE, check_replaceable
from .evidence import MEASURES, Measure, j_of
from .results import Results, write_results
from .variants import VARIANTS

NOT_RUN = "not run"
_KINDS = {"protocol", "questions", "sweeps", "records"}


@dataclass(frozen=True)
class Figure:
    """A measure over seeds: its mean, and its sample standard deviation, which one seed does not have (None)."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


def figure(results: Results, variant: str, mark: float, measure: Measure) -> str:
    """A cell of a table: a measure at a mark over the seeds that have it."""
    values = [j_of(results, each, measure) for each in results.marks(variant, mark).values()]
    return str(Figure.of(values)) if values else NOT_RUN


def table(results: Results) -> str:
    """A Markdown table: each variant at the latest mark of its runs, mean and standard deviation over seeds."""
    head = ["variant", "rate", "training, processor s", "steps", "seeds", *(measure.title for measure in MEASURES)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for variant in results.variants:
        marks = [mark.mark for record in results.of(variant) for mark in record.marks]
        sweep = results.sweep(variant)
        rate = NOT_RUN if sweep is None else f"{sweep.rate:g}"
        if not marks:
            cells = [rate, *[NOT_RUN] * (len(head) - 2)]
        else:
            last = max(marks)
            steps = next(iter(results.marks(variant, last).values())).step
            figures = [figure(results, variant, last, measure) for measure in MEASURES]
            cells = [rate, f"{last:g}", str(steps), str(len(results.marks(variant, last))), *figures]
        lines.append(f"| {VARIANTS[variant].title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def check_reports(folder: Path) -> None:
    """Raise ValueError where files stand in the places of reports that no ablation has written."""
    check_replaceable(folder, (RESULTS_FILE, "results.md", "results.png"), _is_ours)


def _is_ours(results: Any) -> bool:
    return isinstance(results, dict) and results.keys() == _KINDS


def write_report(folder: Path, results: Results) -> str:
    """Write results.json, results.md and results.png.

    Returns:
        the table.
    """
    from .plots import draw_curves

    text = table(results)
    write_results(folder / RESULTS_FILE, results)
    with written_whole(folder / "results.md") as path:
        path.write_text(text, encoding="utf-8")
    draw_curves(folder / "results.png", results)
    return text

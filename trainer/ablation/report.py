"""The results of an ablation as JSON, as a Markdown table and as a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from rem_engine.whole_files import written_whole

from ..reports import RESULTS_FILE, check_replaceable
from .variants import VARIANTS

MEASURES: Mapping[str, tuple[str, str]] = {
    "J, seen": ("seen", "J"),
    "J, unseen": ("unseen", "J"),
    "J, processes": ("seen", "J_processes"),
    "referring accuracy": ("seen", "referring_accuracy"),
    "J, seen, best threshold": ("seen", "J_best"),
    "J, processes, best threshold": ("seen", "J_processes_best"),
}
"""Columns of the table: the split, and the name in `trainer.synth.score`."""
_DRAWN = {
    "J, seen": "#1f5fa8",
    "J, seen, best threshold": "#8fb4dd",
    "J, unseen": "#e08a1e",
    "J, processes": "#4b9b57",
}


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


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Figure]]:
    """Results as `trainer.ablation.runs.ablate` gives them -> figures by variant, in their order, and measure."""
    by_variant: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_variant.setdefault(result["variant"], []).append(result)
    return {
        variant: {
            measure: Figure.of([run["scores"][split][name] for run in runs])
            for measure, (split, name) in MEASURES.items()
            if all(name in run["scores"][split] for run in runs)  # a few shots may show no process
        }
        for variant, runs in by_variant.items()
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: mean and standard deviation over seeds."""
    lines = [f"| variant | {' | '.join(MEASURES)} | training, s |", "|" + "---|" * (len(MEASURES) + 2)]
    for variant, figures in summarise(results).items():
        cells = [str(figures.get(measure, "")) for measure in MEASURES]
        seconds = fmean(result["train_seconds"] for result in results if result["variant"] == variant)
        lines.append(f"| {VARIANTS[variant].title} | {' | '.join(cells)} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def check_reports(folder: Path) -> None:
    """Raise ValueError where files stand in the places of reports that no ablation has written."""
    names = (RESULTS_FILE, "results.md", "results.png")
    check_replaceable(folder, names, _is_ours)


def _is_ours(results: Any) -> bool:
    return isinstance(results, list) and all(isinstance(run, dict) and "variant" in run for run in results)


def write_report(folder: Path, results: Sequence[Mapping[str, Any]]) -> str:
    """Write results.json, results.md and results.png.

    Returns:
        the table.
    """
    text = table(results)
    with written_whole(folder / RESULTS_FILE) as path:
        path.write_text(json.dumps(list(results), indent=2) + "\n", encoding="utf-8")
    with written_whole(folder / "results.md") as path:
        path.write_text(text, encoding="utf-8")
    with written_whole(folder / "results.png") as path:
        draw(results).save(path, format="png", optimize=True)
    return text


def draw(results: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Bars of J for every variant; the whiskers are the standard deviation over seeds, the dots its runs."""
    summary = summarise(results)
    scale = 2  # drawn larger, so that lines come out smooth
    left, right, top, bar, gap = 390, 60, 40, 13, 14
    group = bar * len(_DRAWN) + gap
    width, height = 900, top + group * len(summary) + 34
    image = Image.new("RGB", (width * scale, height * scale), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13 * scale)
    values = [result["scores"][split][name] for result in results for split, name in _drawn_in(result)]
    highest = max([0.1, *values]) * 1.1

    def x_of(value: float) -> float:
        return left + value / highest * (width - left - right)

    def line(points: Sequence[tuple[float, float]], colour: str, thick: float = 1.0) -> None:
        pen.line([(x * scale, y * scale) for x, y in points], fill=colour, width=round(thick * scale))

    def text(x: float, y: float, words: str, anchor: str, colour: str = "#444444") -> None:
        pen.text((x * scale, y * scale), words, fill=colour, font=font, anchor=anchor)

    bottom = top + group * len(summary)
    for tenth in range(int(highest * 10) + 1):
        x = x_of(tenth / 10)
        line([(x, top - 6), (x, bottom)], "#e3e3e3")
        text(x, bottom + 8, f"{tenth / 10:.1f}", "mt")
    legend = float(left)
    for measure, colour in _DRAWN.items():
        text(legend, 12, measure, "lt", colour)
        legend += font.getlength(measure) / scale + 24
    for number, (variant, figures) in enumerate(summary.items()):
        upper = top + group * number
        text(left - 12, upper + (group - gap) / 2, VARIANTS[variant].title, "rm")
        for column, (measure, colour) in enumerate(_DRAWN.items()):
            if measure not in figures:
                continue
            figure, middle = figures[measure], upper + bar * (column + 0.5)
            box = (left, middle - bar / 2 + 1, x_of(figure.mean), middle + bar / 2 - 1)
            pen.rectangle([side * scale for side in box], fill=colour)
            if figure.deviation is not None:
                ends = [max(0.0, figure.mean - figure.deviation), figure.mean + figure.deviation]
                line([(x_of(end), middle) for end in ends], "#222222", 1.5)
                for end in ends:
                    line([(x_of(end), middle - 4), (x_of(end), middle + 4)], "#222222", 1.5)
            split, name = MEASURES[measure]
            for x in (x_of(run["scores"][split][name]) for run in results if run["variant"] == variant):
                corners = (x - 2.5, middle - 2.5, x + 2.5, middle + 2.5)
                pen.ellipse([side * scale for side in corners], fill="white", outline="#222222", width=scale)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _drawn_in(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    places = (MEASURES[measure] for measure in _DRAWN)
    return [(split, name) for split, name in places if name in result["scores"][split]]

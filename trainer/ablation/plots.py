"""Plots of an ablation's results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rem_engine.whole_files import written_whole

from .evidence import MEASURES, Measure, difference, j_of, last_common_mark
from .variants import VARIANTS

if TYPE_CHECKING:
    from .results import Results

_COLOURS: Mapping[str, str] = {
    "rem": "#1f5fa8",
    "rgb": "#c23b3b",
    "rgb_tuned": "#e08a1e",
    "cnn": "#4b9b57",
    "mlp": "#7a55a6",
    "features": "#8a8a8a",
    "scratch": "#3aa6a6",
    "timestep": "#b07a4a",
    "flow": "#d257a0",
}
_SHOWN = MEASURES[1], MEASURES[0]
_FORM: dict[str, Any] = {"format": "png", "dpi": 110, "metadata": {"Software": None}}


def draw_curves(path: Path, results: Results) -> None:
    """J against processor seconds of training, and against steps: a thin line a run, and the mean of all seeds."""
    figure, axes = _canvas(2, 2, (11, 8))
    for row, measure in zip(axes, _SHOWN):
        for axis, of_steps in zip(row, (False, True)):
            for variant in results.variants:
                _draw_variant(axis, results, variant, measure, of_steps)
            axis.set(
                xscale="log", ylabel=measure.title, xlabel="steps" if of_steps else "processor seconds of training"
            )
            axis.grid(alpha=0.3)
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(fontsize=8)
    _save(figure, path)


def draw_differences(path: Path, results: Results, pairs: Mapping[tuple[str, str], Any]) -> None:
    """What one variant has more than another at the last mark that both have, with intervals: a row a pair."""
    figure, axes = _canvas(1, 2, (10, 0.32 * len(pairs) + 1))
    for axis, measure in zip(axes[0], (MEASURES[1], MEASURES[3])):
        for place, (first, second) in enumerate(pairs):
            mark = last_common_mark(results, first, second)
            found = None if mark is None else difference(results, first, second, mark, measure)
            if found is None:
                middle = {"x": 0.5, "transform": axis.get_yaxis_transform(), "ha": "center", "va": "center"}
                axis.text(y=place, s="not run", fontsize=8, color="#888888", **middle)
                continue
            axis.plot([found.low, found.high], [place, place], color="#1f5fa8")
            axis.plot(found.mean, place, "o", color="#1f5fa8")
        axis.axvline(0, color="#888888", linewidth=0.8)
        axis.set(title=measure.title, ylim=(len(pairs) - 0.5, -0.5))
        axis.set_yticks(
            range(len(pairs)), [f"{first} less {second}" for first, second in pairs] if axis is axes[0, 0] else []
        )
        axis.grid(axis="x", alpha=0.3)
    _save(figure, path)


def _draw_variant(axis: Any, results: Results, variant: str, measure: Measure, of_steps: bool) -> None:
    colour = _COLOURS[variant]
    for record in results.of(variant):
        x = [mark.step if of_steps else mark.processor_seconds for mark in record.marks]
        axis.plot(x, [j_of(results, mark, measure) for mark in record.marks], color=colour, alpha=0.35, linewidth=0.8)
    means = []
    for mark in results.all_marks:
        found = list(results.marks(variant, mark).values())
        if found:
            at = fmean(each.step if of_steps else each.processor_seconds for each in found)
            means.append((at, fmean(j_of(results, each, measure) for each in found)))
    if means:
        axis.plot(*zip(*means), "o-", color=colour, markersize=3.5, linewidth=1.8, label=VARIANTS[variant].title)


def _canvas(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path) -> None:
    with written_whole(path) as temporary:
        figure.savefig(temporary, **_FORM)

"""Results for programs, spreadsheets, papers and eyes: JSON, CSV, Markdown, one HTML page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rem_engine.backbones.checkpoint import checkpoint_paths
from rem_engine.media.writing import write_bytes

from ..reports import RESULTS_FILE
from .benchmark import Benchmark
from .contact_sheet import contact_sheet
from .scoring import average
from .video import SequenceScores

REPORTS = (RESULTS_FILE, "results.csv", "results.md", "contact_sheet.html")
"""Files of a report."""

_PUBLISHED = Path(__file__).with_name("published.json")


def write_report(
    out: Path, benchmark: Benchmark, rows: Sequence[SequenceScores], results: Path, described: dict[str, Any]
) -> dict[str, Any]:
    """Write results.json, results.csv, results.md and contact_sheet.html.

    Args:
        out: folder to write to.
        benchmark: what was scored.
        rows: the scores.
        results: the folder the masks are in.
        described: what else is to be said of the run.

    Returns:
        what results.json says: `described`, `scores` (0..1), and these by group where there are several.
    """
    scores, groups = average(rows)
    summary = {**described, "queries": len(rows), "scores": scores}
    if benchmark.groups:
        summary[f"per_{benchmark.groups}"] = groups
    write_bytes(out / RESULTS_FILE, json.dumps(summary, indent=2).encode())
    write_bytes(out / "results.csv", table_csv(rows).encode())
    write_bytes(out / "results.md", table_markdown(benchmark, summary).encode())
    write_bytes(out / "contact_sheet.html", contact_sheet(benchmark, rows, results, summary).encode())
    return summary


def table_csv(rows: Sequence[SequenceScores]) -> str:
    """A line for each sequence of masks: video, name, group, sentence, frames that count, and its measures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = list(rows[0].measures)
    writer.writerow(["video", "name", "group", "sentence", "frames", *measures])
    for row in rows:
        values = (row.measures[measure] for measure in measures)
        writer.writerow([row.video, row.query.name, row.query.group, row.query.text, len(row.frames), *values])
    return text.getvalue()


def table_markdown(benchmark: Benchmark, summary: dict[str, Any]) -> str:
    """The run beside published figures, in percent."""
    headline, scores = benchmark.headline, summary["scores"]
    published = json.loads(_PUBLISHED.read_text(encoding="utf-8"))
    lines = [f"# {benchmark.title}", "", f"| method | {headline} | trained on | source |", "|---|---|---|---|"]
    for row in published["rows"]:
        if benchmark.name in row:
            source = published["sources"][row["source"]]
            trained_on = row.get("trained_on", {}).get(benchmark.name, "its paper says")
            lines.append(f"| {row['method']} | {row[benchmark.name]:.1f} | {trained_on} | {source} |")
    lines.append(f"| **{_name(summary)}** | **{100 * scores[f'{headline}-Mean']:.1f}** | | this run |")
    lines += [
        "",
        published["note"],
        f"Split of the published figures: {published['splits'][benchmark.name]}.",
        "",
        *(f"{sentence}  " for sentence in reservations(summary)),
        "",
    ]
    lines += ["| " + " | ".join(scores) + " |", "|" + "---|" * len(scores)]
    lines += ["| " + " | ".join(f"{100 * value:.1f}" for value in scores.values()) + " |"]
    return "\n".join(lines) + "\n"


def reservations(summary: dict[str, Any]) -> list[str]:
    """What must be known before a run is compared with published figures; and how large it is."""
    videos, there, published = summary["videos"], summary["videos_in_dataset"], summary["videos_published"]
    split = f" of the split {summary['split']}" if summary["split"] else ""
    sentences = [f"{videos} videos{split}, {summary['queries']} sequences of masks."]
    if videos < there:
        sentences.append(f"Not comparable with published figures: only {videos} of {there} videos were taken.")
    elif published is not None and published != videos:
        sentences.append(f"Not comparable with published figures: they are over {published} videos.")
    if summary["left_out"]:
        sentences.append(f"Left out, since a file of each is bad: {', '.join(summary['left_out'])}.")
    if summary.get("protocol") == "shot":
        sentences.append("Predicted by the protocol `shot`; the authors' evaluation is `paper`.")
    return sentences


def _name(summary: dict[str, Any]) -> str:
    if "results" in summary:
        return f"masks in {summary['results']}"
    checkpoint = "".join(f" + {path.name}" for path in checkpoint_paths(summary["checkpoint"]))
    return f"{summary['model']}{checkpoint}, {summary['protocol']}"

"""One HTML page, with its pictures inside, of what went best and worst."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from rem_engine.media.images import read_image
from rem_engine.media.overlay import draw_overlay, preview_strip
from rem_engine.pixels import to_uint8

from .benchmark import Benchmark
from .scoring import measures_of, read_prediction
from .video import SequenceScores

SHOWN = 6
"""Sequences at either end."""
_FRAMES, _HEIGHT = 4, 160

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #222; }
h2 { margin-top: 2.5rem; } figure { margin: 0 0 1.8rem; } figcaption { margin-bottom: .4rem; }
img { display: block; max-width: 100%; margin-bottom: 4px; } table { border-collapse: collapse; }
td, th { border: 1px solid #ccc; padding: .25rem .6rem; text-align: right; } .what { color: #777; }
"""


def contact_sheet(benchmark: Benchmark, rows: Sequence[SequenceScores], results: Path, summary: dict[str, Any]) -> str:
    """The page.

    Of each sequence it shows annotated frames, evenly spread, with the truth above and the prediction below.

    Args:
        benchmark: what was scored.
        rows: the scores.
        results: the folder the masks are in.
        summary: what results.json says.
    """
    headline, scores = benchmark.headline, summary["scores"]
    ranked = sorted(rows, key=lambda row: -_figure(row, headline))
    best = ranked[: min(SHOWN, (len(ranked) + 1) // 2)]
    worst = ranked[len(best) :][-SHOWN:][::-1]
    title = html.escape(f"{benchmark.title}: {headline} {100 * scores[f'{headline}-Mean']:.1f}")
    parts = [
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>',
        f"<h1>{title}</h1>",
        "<table><tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in scores) + "</tr>",
        "<tr>" + "".join(f"<td>{100 * value:.1f}</td>" for value in scores.values()) + "</tr></table>",
    ]
    for name, some in (("Best", best), ("Worst", worst)):
        if some:
            parts.append(f"<h2>{name}</h2>")
            parts += [_figure_html(benchmark, row, results) for row in some]
    return "\n".join(parts) + "\n</html>\n"


def _figure(row: SequenceScores, headline: str) -> float:
    return sum(row.measures[f"{measure}-Mean"] for measure in measures_of(headline))


def _figure_html(benchmark: Benchmark, row: SequenceScores, results: Path) -> str:
    names = ("J-Mean", "F-Mean")
    figures = ", ".join(f"{name[0]} {100 * row.measures[name]:.1f}" for name in names if name in row.measures)
    where = " / ".join(part for part in (row.video, row.query.group, row.query.name) if part)
    text = html.escape(row.query.text) or "(nothing was predicted)"
    true, predicted = _strips(benchmark, row, results)
    images = "".join(
        f'<img alt="{label}" src="{_data_uri(strip)}">' for label, strip in (("true", true), ("predicted", predicted))
    )
    return (
        f'<figure><figcaption>{text}<br><span class="what">{html.escape(where)}: {figures}, {len(row.frames)} frames'
        f"</span></figcaption>{images}</figure>"
    )


def _strips(benchmark: Benchmark, row: SequenceScores, results: Path) -> tuple[np.ndarray, np.ndarray]:
    video = benchmark.video(row.video)
    true, predicted = [], []
    for place in np.unique(np.linspace(0, len(row.frames) - 1, _FRAMES).round().astype(int)):
        frame = row.frames[place]
        picture, truth, name = read_image(video.frames[frame]), benchmark.truth(video, frame), video.masks[frame]
        if truth is None or name is None:
            raise ValueError(f"Frame {frame} of {video.name} was scored and has no annotation any more; score it anew.")
        here = (results / row.query.folder).is_dir()  # an empty proposal, added for the matching, has no files
        mask = read_prediction(results, row.query, name, truth) if here else np.zeros_like(truth.masks[0])
        true.append(_overlaid(picture, truth.masks[row.truth], "true"))
        predicted.append(_overlaid(picture, mask, "predicted"))
    return _strip(true), _strip(predicted)


def _strip(pictures: list[np.ndarray]) -> np.ndarray:
    return preview_strip(np.stack(pictures), count=_FRAMES, height=_HEIGHT)


def _overlaid(picture: np.ndarray, mask: np.ndarray, label: str) -> np.ndarray:
    """A picture with its mask, no larger than it is shown: contours keep their width then."""
    scale = _HEIGHT / picture.shape[0]
    size = (max(1, round(picture.shape[1] * scale)), _HEIGHT)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(to_uint8(picture), size, interpolation=how)
    soft = cv2.resize(mask.astype(np.float32), size, interpolation=how)
    return draw_overlay(small, soft[None], [label])


def _data_uri(picture: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()

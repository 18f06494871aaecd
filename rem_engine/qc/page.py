"""The page of a report: one file of HTML with plots and pictures inside, which asks no network for anything."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from html import escape

import cv2
import numpy as np

from ..media.numbering import frame_range
from ..pixels import to_uint8, unit_values
from .report import Report
from .written import WrittenLayer

_MOST_PICTURES = 24
"""Of a layer: those of frames with defects first, the others evenly over the shot."""
_THUMB = 200  # pixels across
_PLOT = (900, 90)
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 960px; color: #222; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid #ccc }
.clean { color: #1a7f37 } .defect { color: #b42318 }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #eee }
figure { display: inline-block; margin: 4px; text-align: center; font-size: 12px } figure img { border: 2px solid #ddd }
figure.defect img { border-color: #b42318 }
svg { display: block; margin: .4rem 0; width: 100% } svg text { font-size: 11px }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } td, th { border-color: #333 } }
"""
_PLOTS: tuple[tuple[str, str, str], ...] = (
    ("area", "area, share of the frame", ""),
    ("flicker", "flicker, pixels", "flicker"),
    ("edge", "width of edges, pixels", ""),
)


def page(report: Report) -> str:
    """The page as text."""
    written, findings = report.written, report.findings
    verdict = "clean" if report.is_clean else "defect"
    told = "Nothing was found." if report.is_clean else f"{len(findings)} findings."
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>QC {escape(written.title)}</title>',
        f"<style>{_STYLE}</style><h1>QC of {escape(written.title)}</h1>",
        f"<p>Frames {escape(frame_range(written.numbers))}. <b class={verdict}>{told}</b></p>",
    ]
    if not report.has_plate:
        parts.append("<p>The plate was not at hand: flicker, holes, islands and cuts were not looked for.</p>")
    if findings:
        rows = (
            f"<tr><td>{escape(one.layer or 'shot')}<td>{one.kind}<td>{escape(frame_range(one.numbers))}"
            f"<td>{escape(one.sentence)}"
            for one in findings
        )
        parts.append(f"<table><tr><th>layer<th>what<th>frames<th>{''.join(rows)}</table>")
    if shared := written.disagreement:
        values = [shared.get(index) for index in range(len(written.numbers))]
        parts.append("<h2>The model's windows</h2>")
        parts.append(
            _plot("disagreement where two share a frame", written.numbers, values, report.limits.unsure, set())
        )
    for layer in written.layers:
        parts.extend(_of_layer(report, layer))
    return "\n".join(parts)


def _of_layer(report: Report, layer: WrittenLayer) -> Iterator[str]:
    bad = {number for one in report.findings if one.layer in ("", layer.name) for number in one.numbers}
    measured = report.measured[layer.name]
    yield f"<h2>{escape(layer.name)}</h2><p>from {layer.kind}</p>"
    for name, label, limit in _PLOTS:
        values = [None if one is None else getattr(one, name) for one in measured]
        yield _plot(label, layer.numbers, values, getattr(report.limits, limit) if limit else None, bad)
    places = chosen([place for place, number in enumerate(layer.numbers) if number in bad], len(layer.numbers))
    for place, picture in _pictures(report, layer, places):
        number = layer.numbers[place]
        done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
        source = base64.b64encode(data.tobytes()).decode() if done else ""
        marked = ' class="defect"' if number in bad else ""
        yield (
            f'<figure{marked}><img src="data:image/jpeg;base64,{source}" width="{picture.shape[1]}" '
            f'height="{picture.shape[0]}" alt="{number}"><figcaption>{number}</figcaption></figure>'
        )


def chosen(bad: Sequence[int], count: int) -> list[int]:
    """Places of the frames that are shown: those with defects, evenly where they are many, and some of the others."""
    picked = {bad[place] for place in _evenly(len(bad), _MOST_PICTURES)}
    picked |= set(_evenly(count, max(_MOST_PICTURES - len(picked), 0) // 2))
    return sorted(picked)


def _evenly(count: int, most: int) -> list[int]:
    if not count or not most:
        return []
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _pictures(report: Report, layer: WrittenLayer, places: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """(place, uint8 [h,w,3]) of frames: the matte over the plate, in red, or alone where there is no plate."""
    plate = report.written.open_plate() if layer.numbers == report.written.numbers else None
    wanted = set(places)
    with closing(plate) if plate is not None else nullcontext():
        for place, matte in enumerate(layer.mattes()):
            if place not in wanted:
                continue
            if matte is None:
                yield place, np.zeros((_THUMB * 9 // 16, _THUMB, 3), np.uint8)
                continue
            matte = np.nan_to_num(matte).clip(0.0, 1.0)
            size = (_THUMB, max(round(_THUMB * matte.shape[0] / matte.shape[1]), 1))
            small = cv2.resize(matte, size, interpolation=cv2.INTER_AREA)[..., None]
            under = np.zeros((size[1], size[0], 3), np.float32)
            colour = np.ones(3, np.float32)
            if plate is not None:
                shown = unit_values(plate.read(place, place + 1, shared=True)[0])
                under = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
                colour, small = np.array([1.0, 0.1, 0.1], np.float32), 0.6 * small
            yield place, to_uint8(under * (1 - small) + colour * small)


def _plot(
    label: str, numbers: Sequence[int], values: Sequence[float | None], limit: float | None, bad: set[int]
) -> str:
    """A plot as SVG: a line for each stretch of values, the limit dashed, frames with defects marked below."""
    width, height = _PLOT
    highest = max([value for value in values if value is not None] + [limit or 0.0, 1e-9]) * 1.08
    step = width / max(len(values) - 1, 1)
    at: Callable[[int, float], str] = lambda place, value: f"{place * step:.1f},{height - value / highest * height:.1f}"  # noqa: E731
    lines, stretch = [], list[str]()
    for place, value in enumerate([*values, None]):
        if value is not None:
            stretch.append(at(place, value))
        elif stretch:
            lines.append(f'<polyline points="{" ".join(stretch)}" fill="none" stroke="#0969da" stroke-width="1.5"/>')
            stretch = []
    marks = "".join(
        f'<rect x="{place * step - 1.5:.1f}" y="{height + 2}" width="3" height="5" fill="#b42318"/>'
        for place, number in enumerate(numbers)
        if number in bad
    )
    dashed = ""
    if limit is not None:
        level = height - limit / highest * height
        dashed = f'<line x1="0" x2="{width}" y1="{level:.1f}" y2="{level:.1f}" stroke="#b42318" stroke-dasharray="4"/>'
    return (
        f'<svg viewBox="-4 -14 {width + 8} {height + 24}" role="img" aria-label="{escape(label)}">'
        f'<text x="0" y="-3" fill="currentColor">{escape(label)}, up to {highest / 1.08:.3g}</text>'
        f'<line x1="0" x2="{width}" y1="{height}" y2="{height}" stroke="#999"/>{dashed}{"".join(lines)}{marks}</svg>'
    )

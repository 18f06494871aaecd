"""Quality control of a run: its mattes measured in one pass, what is wrong with them, and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np

from ..folder_lock import locked
from ..matte.motion import Picture
from ..media.shot import Shot
from ..media.writing import write_bytes
from ..names import QC_FOLDER
from ..pixels import unit_values
from ..progress import SILENT, Progress
from ..segment.cuts import CutFinder
from .findings import finding, of_layer, of_shot
from .measure import Measurer, Measures
from .movie import write_movies
from .page import page
from .report import Report
from .settings import QcSettings
from .written import Written, WrittenLayer, read_written

_DEFAULTS = QcSettings()
REPORT, PAGE = "qc.json", "index.html"


def check_run(out: Path, limits: QcSettings = _DEFAULTS, *, movie: bool = False, progress: Progress = SILENT) -> Report:
    """Look at all that a run wrote, and write `out/qc`: qc.json and a page, and with `movie` a video of each layer.

    One pass over the files; memory does not grow with the shot, but for a few numbers a frame.

    Raises:
        FileNotFoundError: there is no run in `out`.
        ValueError: its account is damaged, or lists no mattes.
        RuntimeError: another run is writing to `out/qc`, or the disk is full.
    """
    report = examined(read_written(out), limits, progress)
    folder = out / QC_FOLDER
    with locked(folder, "look at it later"):
        if movie:
            write_movies(report, folder, progress)
        write_bytes(folder / PAGE, page(report).encode())
        write_bytes(folder / REPORT, (json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n").encode())
    return report


def examined(written: Written, limits: QcSettings = _DEFAULTS, progress: Progress = SILENT) -> Report:
    """What is wrong with what a run wrote; nothing is written."""
    plate = written.open_plate()
    measured: dict[str, list[Measures | None]] = {layer.name: [] for layer in written.layers}
    finder = CutFinder()
    with closing(plate) if plate is not None else nullcontext():
        for group in _groups(written):
            own = plate if group[0].numbers == written.numbers else None
            for found in _measured(
                group, own, written.cuts or (), finder if group[0] is written.layers[0] else None, progress
            ):
                for layer, one in zip(group, found, strict=True):
                    measured[layer.name].append(one)
    breaks = {*finder.cuts, *(written.cuts or ())}
    findings = [
        found
        for layer in written.layers
        for found in of_layer(layer.name, measured[layer.name], layer.numbers, breaks, limits)
    ]
    lost = {(kind, layer): numbers for kind, layer, numbers in written.lost}
    for layer in written.layers:
        damaged = {number for number, one in zip(layer.numbers, measured[layer.name], strict=True) if one is None}
        key = (layer.kind, layer.name if (layer.kind, layer.name) in lost else "")
        lost[key] = tuple(sorted(damaged.union(lost.get(key, ()))))
    of_files = [finding("missing", layer, numbers) for (_, layer), numbers in lost.items() if numbers]
    shared = of_shot(written.numbers, written.disagreement, written.cuts, finder.cuts, limits)
    has_plate = plate is not None
    return Report(written, limits, (*findings, *of_files, *shared), measured, has_plate, tuple(finder.cuts))


def _groups(written: Written) -> list[list[WrittenLayer]]:
    """Layers that are of the same frames, which are read together."""
    groups: dict[tuple[int, ...], list[WrittenLayer]] = {}
    for layer in written.layers:
        groups.setdefault(layer.numbers, []).append(layer)
    return [*groups.values()]


def _measured(
    layers: list[WrittenLayer], plate: Shot | None, cuts: tuple[int, ...], finder: CutFinder | None, progress: Progress
) -> Iterator[tuple[Measures | None, ...]]:
    """What is measured of layers of the same frames, a frame at a time."""
    measurer, mattes = Measurer(), [layer.mattes() for layer in layers]
    count = len(layers[0].numbers)
    for index in range(count):
        picture = None
        if plate is not None:
            shown: np.ndarray = plate.read(index, index + 1, shared=True)[0]
            picture = Picture.of(unit_values(shown))
            if finder is not None:
                finder.add(shown)
        yield from measurer.add(index, [next(read) for read in mattes], picture, begins=index in cuts)
        progress.update("mattes", index + 1, count)
    if finder is not None:
        finder.finish()
    yield from measurer.finish()

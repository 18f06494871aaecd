"""Defects, found in what was measured of the mattes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ..media.numbering import frame_range
from .measure import Measures
from .settings import QcSettings

Kind = Literal[
    "flicker", "jump", "holes", "islands", "softness", "empty", "full", "missing", "not finite", "unsure", "cut"
]

_TOLD: dict[Kind, str] = {
    "flicker": "the outline flickers against the picture",
    "jump": "the area jumps",
    "holes": "holes that the frames around do not have",
    "islands": "islands that the frames around do not have",
    "softness": "edges are harder than in the other frames, as of a matte that was clipped",
    "empty": "nothing is in the matte",
    "full": "the matte is the whole frame",
    "missing": "frames are missing or damaged",
    "not finite": "values that are no finite numbers",
    "unsure": "the model was unsure: two of its windows disagree",
    "cut": "the plate cuts, and the run took it for one take",
}
_NOTHING = 2e-6
"""Of the frame: a matte of less is empty."""
_FAINT = 0.1
"""What no frame goes beyond is nothing: of a model's mask grain and halo remain where nothing is, as runs say, too."""
_EVERYTHING = 0.9995
_BIG = 0.25
"""Of the layer's usual area: from that on a matte does not vanish between two frames."""


@dataclass(frozen=True)
class Finding:
    """A defect of a layer, in all frames that have it.

    Attributes:
        kind: what it is.
        layer: which layer has it; "" for the shot.
        numbers: of the frames.
        worst: the largest value that was measured (the smallest of "softness"); None where nothing is measured.
        limit: beyond which it is a defect.
        sentence: what it means.
    """

    kind: Kind
    layer: str
    numbers: tuple[int, ...]
    worst: float | None
    limit: float | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Its entry in qc.json."""
        entry = asdict(self)
        entry["numbers"] = frame_range(sorted(self.numbers))
        return entry


def finding(
    kind: Kind, layer: str, numbers: Collection[int], worst: float | None = None, limit: float | None = None
) -> Finding:
    """A defect in words: `smoke, 1003-1005: the area jumps (0.41, above 0.25)`."""
    numbers = tuple(sorted(numbers))
    where = f"{layer or 'shot'}, {frame_range(numbers)}"
    side = "below" if kind == "softness" else "above"
    how = f" ({worst:.2g}, {side} {limit:g})" if worst is not None and limit is not None else ""
    return Finding(kind, layer, numbers, worst, limit, f"{where}: {_TOLD[kind]}{how}.")


def of_layer(
    layer: str, measured: Sequence[Measures | None], numbers: Sequence[int], breaks: Collection[int], limits: QcSettings
) -> list[Finding]:
    """What is wrong with a layer.

    Args:
        layer: its name.
        measured: of each frame; None where it is missing.
        numbers: of the frames.
        breaks: frames at which takes begin, over which nothing is compared.
        limits: from where on something is a defect.
    """
    there = [one for one in measured if one is not None]
    if not there:
        return []
    usual = float(np.median([one.area for one in there if one.area > _NOTHING] or [0.0]))
    found: list[Finding] = []

    def collect(kind: Kind, frames: dict[int, float], limit: float | None, worst: Callable[..., float] = max) -> None:
        if frames:
            value = worst(frames.values()) if limit is not None else None
            found.append(finding(kind, layer, [numbers[index] for index in frames], value, limit))

    collect("not finite", {one.index: 0.0 for one in there if one.bad}, None)
    flickers = {one.index: one.flicker for one in there if one.flicker is not None and one.flicker > limits.flicker}
    collect("flicker", flickers, limits.flicker)
    jumps: dict[int, float] = {}
    empty: dict[int, float] = {}
    hard: dict[int, float] = {}
    for take in takes(measured, breaks):
        jumps |= _jumps(take, usual, limits.jump)
        empty |= _vanished(take, usual)
        hard |= _hard(take, limits.softness)
    collect("jump", jumps, limits.jump)
    collect("holes", _shares({one.index: one.holes for one in there}, usual, limits.holes), limits.holes)
    collect("islands", _shares({one.index: one.islands for one in there}, usual, limits.islands), limits.islands)
    collect("softness", hard, limits.softness, min)
    if not usual or max(one.highest for one in there) <= _FAINT:
        empty = {one.index: 0.0 for one in there}
    collect("empty", empty, None)
    collect("full", {one.index: 0.0 for one in there if one.area > _EVERYTHING}, None)
    return found


def takes(measured: Sequence[Measures | None], breaks: Collection[int]) -> Iterator[list[Measures]]:
    """Measures of frames that follow one another in one take."""
    take: list[Measures] = []
    for index, one in enumerate(measured):
        if take and (one is None or index in breaks):
            yield take
            take = []
        if one is not None:
            take.append(one)
    if take:
        yield take


def _shares(areas: dict[int, float | None], usual: float, limit: float) -> dict[int, float]:
    """Areas by frame as shares of the layer's, those above the limit."""
    shares = {index: area / usual for index, area in areas.items() if area is not None and usual}
    return {index: share for index, share in shares.items() if share > limit}


def _jumps(take: Sequence[Measures], usual: float, limit: float) -> dict[int, float]:
    """Frames around a jump of the area, and how large it is: a second difference, which growth has none of."""
    found = {}
    for before, now, after in zip(take, take[1:], take[2:]):
        if not usual:
            break
        bend = abs(before.area - 2 * now.area + after.area) / usual
        allowed = limit * (2 if any(one.at_border for one in (before, now, after)) else 1)
        if bend > allowed:
            found[now.index] = bend
    return found


def _vanished(take: Sequence[Measures], usual: float) -> dict[int, float]:
    """Frames in which a matte is empty that was there, not small and not leaving, just before or is just after."""
    found: dict[int, float] = {}
    run: list[int] = []
    for place, one in enumerate([*take, None]):
        if one is not None and one.area <= _NOTHING:
            run.append(place)
            continue
        if run:
            edges = [take[edge] for edge in (run[0] - 1, run[-1] + 1) if 0 <= edge < len(take)]
            between = len(edges) == 2 and all(edge.area > _BIG * usual for edge in edges)
            if between or any(edge.area > _BIG * usual and not edge.at_border for edge in edges):
                found |= {take[place].index: 0.0 for place in run}
        run = []
    return found


def _hard(take: Sequence[Measures], limit: float) -> dict[int, float]:
    """Frames whose edges have lost their width, and what is left of it."""
    widths = {one.index: one.edge for one in take if one.edge is not None}
    usual = float(np.median([*widths.values()])) if widths else 0.0
    return {index: width / usual for index, width in widths.items() if usual and width < limit * usual}


def of_shot(
    numbers: Sequence[int],
    disagreement: dict[int, float],
    cuts: Collection[int] | None,
    found_cuts: Collection[int],
    limits: QcSettings,
) -> list[Finding]:
    """What is wrong with the shot as a whole: frames of which the model was unsure, and cuts that were overlooked."""
    found = []
    unsure = {index: value for index, value in disagreement.items() if value > limits.unsure and index < len(numbers)}
    if unsure:
        found.append(finding("unsure", "", [numbers[index] for index in unsure], max(unsure.values()), limits.unsure))
    overlooked = [cut for cut in found_cuts if cuts is not None and cut not in cuts]
    if overlooked:
        found.append(finding("cut", "", [numbers[cut] for cut in overlooked]))
    return found

"""Where an outline's vertices stand, and the Bezier segments between them."""

from __future__ import annotations

import numpy as np

# Radians of a corner, which is a vertex always: the turn of an outline on the mean of the frames.
_CORNER = 0.7
# Frames, spread over an outline's, by which its vertices are chosen.
_LOOKED_AT = 12
# How strongly handles are held to a third of their segment, where nothing else says where they are.
_HELD = 0.02
# Samples between two vertices at least.
_LEAST_SAMPLES = 6
# Samples to either side over which it is told how much an outline turns.
_REACH = 3
# Samples to either side between which the nearest place of an outline is looked for.
_NEAR = 6


class Segments:
    """An outline of M samples as Bezier segments between V of them.

    A sample's place is linear in the 3V points (handle in, vertex, handle out, one vertex after the other), since it is
    at the same part of the same segment in every frame.

    Attributes:
        chosen: the samples that are vertices, ascending.
        spacing: see below.
        basis: float64 [M,3V], by which points become samples.
    """

    def __init__(self, chosen: np.ndarray, spacing: np.ndarray) -> None:
        """Args:
        chosen: V samples, ascending.
        spacing: [M], from each sample to the next, in any unit: the mean over the frames.
        """
        self.chosen, self.spacing, count = chosen, spacing, len(spacing)
        self.basis = np.zeros((count, 3 * len(chosen)))
        held = np.zeros((2 * len(chosen), 3 * len(chosen)))
        ends = np.append(chosen[1:], chosen[0] + count)
        for place, (begin, end) in enumerate(zip(chosen, ends, strict=True)):
            samples = np.arange(begin, end)
            steps = np.maximum(spacing[samples % count], 1e-9)
            t = np.concatenate([[0.0], steps.cumsum()[:-1]]) / steps.sum()
            after = (place + 1) % len(chosen)
            columns = (3 * place + 1, 3 * place + 2, 3 * after, 3 * after + 1)
            for column, value in zip(columns, bernstein(t), strict=True):
                self.basis[samples % count, column] += value
            vertex, leaving, arriving, next_vertex = columns
            held[2 * place, [leaving, vertex, next_vertex]] = 1.0, -2.0 / 3.0, -1.0 / 3.0
            held[2 * place + 1, [arriving, next_vertex, vertex]] = 1.0, -2.0 / 3.0, -1.0 / 3.0
        weight = _HELD * np.sqrt(count / len(chosen))
        system = np.concatenate([self.basis, weight * held])
        self._solve = np.linalg.pinv(system)[:, :count]

    def fitted(self, samples: np.ndarray) -> np.ndarray:
        """Points [T,3V,2] that come nearest to samples [T,M,2]."""
        return np.einsum("pm,tmc->tpc", self._solve, samples, optimize=True)

    def drawn(self, points: np.ndarray) -> np.ndarray:
        """Samples [T,M,2] of points [T,3V,2]."""
        return np.einsum("mp,tpc->tmc", self.basis, points, optimize=True)


def bernstein(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """The four weights of a cubic Bezier segment at t."""
    return (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3


def chosen_segments(samples: np.ndarray, seen: np.ndarray, tolerance: float, most: int) -> Segments:
    """Segments of an outline: vertices at its corners, and further ones where they are needed the most.

    Args:
        samples: [T,M,2], of all frames.
        seen: bool [T,M], those within the frame.
        tolerance: pixels that segments may miss them by.
        most: vertices.
    """
    looked_at = np.unique(np.linspace(0, len(samples) - 1, _LOOKED_AT).round().astype(int))
    frames, counted = samples[looked_at], seen[looked_at]
    count = samples.shape[1]
    spacing = np.hypot(*np.moveaxis(np.roll(samples, -1, axis=1) - samples, -1, 0)).mean(axis=0)
    chosen = _corners(frames, most)
    while len(chosen) < min(4, count):
        chosen = _with_the_farthest(chosen, count)
    segments = Segments(chosen, spacing)
    while len(segments.chosen) < most:
        miss = _miss(segments, frames, counted)
        if miss.max() <= tolerance:
            break
        new = _split(segments.chosen, miss, tolerance, most - len(segments.chosen))
        if not len(new):
            break
        segments = Segments(np.sort(np.concatenate([segments.chosen, new])), spacing)
    return segments


def no_more_than(most: int, segments: Segments) -> tuple[np.ndarray, Segments]:
    """Fewer samples of an outline that has many: (those that are kept, the same segments between them).

    Vertices stay, and of each segment so many of its samples as its share of all, evenly spread.

    Args:
        most: samples, about; of an outline with as many vertices more.
        segments: of all samples.
    """
    count = len(segments.spacing)
    if count <= most:
        return np.arange(count), segments
    ends = np.append(segments.chosen[1:], segments.chosen[0] + count)
    spans = list(zip(segments.chosen, ends, strict=True))
    parts = [max(_LEAST_SAMPLES, round(most * (end - begin) / count)) for begin, end in spans]
    kept = np.concatenate(
        [
            np.unique(np.linspace(begin, end, part, endpoint=False).round().astype(int))
            for (begin, end), part in zip(spans, parts, strict=True)
        ]
    )
    along = np.concatenate([[0.0], segments.spacing.cumsum()])
    after = np.append(kept[1:], kept[0] + count)
    turns, places = np.divmod(after, count)
    spacing = along[places] + turns * along[-1] - along[kept % count] - along[-1] * (kept // count)
    order = np.argsort(kept % count)
    kept, spacing = (kept % count)[order], spacing[order]
    return kept, Segments(np.searchsorted(kept, segments.chosen), spacing)


def _miss(segments: Segments, frames: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """[M]: the most that each sample is missed by, in any of the frames."""
    targets = frames
    for _ in range(2):  # samples give way along the outline
        drawn = segments.drawn(segments.fitted(targets))
        targets = nearest(drawn, frames)
    return (seen * np.linalg.norm(drawn - targets, axis=-1)).max(axis=0)


def nearest(places: np.ndarray, outlines: np.ndarray) -> np.ndarray:
    """The nearest places [T,M,2] of closed outlines [T,M,2], not far from the sample of the same number."""
    count = outlines.shape[1]
    around = np.concatenate([outlines[:, -_NEAR:], outlines, outlines[:, :_NEAR]], axis=1)
    # One axis at a time, by steps of which each goes through memory in order: five times as fast as pairs.
    x, y = np.ascontiguousarray(around[..., 0]), np.ascontiguousarray(around[..., 1])
    along_x, along_y = np.diff(x, axis=1), np.diff(y, axis=1)
    per_length = 1.0 / np.maximum(along_x**2 + along_y**2, 1e-12)
    place_x, place_y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    least = np.full(place_x.shape, np.inf)
    least_x, least_y = np.zeros_like(place_x), np.zeros_like(place_y)
    for step in range(2 * _NEAR):
        segment = slice(step, step + count)
        away_x, away_y = place_x - x[:, segment], place_y - y[:, segment]
        share = away_x * along_x[:, segment] + away_y * along_y[:, segment]
        share = (share * per_length[:, segment]).clip(0.0, 1.0)
        away_x -= share * along_x[:, segment]
        away_y -= share * along_y[:, segment]
        far = away_x**2 + away_y**2
        nearer = far < least
        for kept, new in ((least, far), (least_x, away_x), (least_y, away_y)):
            np.copyto(kept, new, where=nearer)
    return np.stack([place_x - least_x, place_y - least_y], axis=-1)


def normals(samples: np.ndarray) -> np.ndarray:
    """Unit normals [T,M,2] of outlines."""
    ahead = np.roll(samples, -1, axis=1) - np.roll(samples, 1, axis=1)
    turned = np.stack([-ahead[..., 1], ahead[..., 0]], axis=-1)
    return turned / np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-9)


def _corners(frames: np.ndarray, most: int) -> np.ndarray:
    before = frames - np.roll(frames, _REACH, axis=1)
    after = np.roll(frames, -_REACH, axis=1) - frames
    cross = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    turn = np.abs(np.arctan2(cross, (before * after).sum(axis=-1)).mean(axis=0))
    around = np.stack([np.roll(turn, step) for step in range(-2 * _REACH, 2 * _REACH + 1)]).max(axis=0)
    found = np.flatnonzero((turn == around) & (turn > _CORNER))
    return np.sort(found[np.argsort(-turn[found])][:most])


def _with_the_farthest(chosen: np.ndarray, count: int) -> np.ndarray:
    """With the sample that is farthest from those chosen."""
    if not len(chosen):
        return np.array([0])
    gaps = np.diff(np.append(chosen, chosen[0] + count))
    widest = int(gaps.argmax())
    return np.sort(np.append(chosen, (chosen[widest] + gaps[widest] // 2) % count))


def _split(chosen: np.ndarray, miss: np.ndarray, tolerance: float, most: int) -> np.ndarray:
    """New vertices, one in each of the segments that miss the most, where they do."""
    count, found = len(miss), []
    ends = np.append(chosen[1:], chosen[0] + count)
    for begin, end in zip(chosen, ends, strict=True):
        inside = np.arange(begin + _LEAST_SAMPLES, end - _LEAST_SAMPLES + 1)
        worst = miss[np.arange(begin, end) % count].max()
        if worst > tolerance and len(inside):
            middle = 0.5 * (begin + end)
            # Of places that are missed about as much the one nearest to the middle, so that segments stay even.
            value = miss[inside % count] / worst - np.abs(inside - middle) / (end - begin)
            found.append((worst, int(inside[value.argmax()] % count)))
    found.sort(reverse=True)
    # A few at a time: each changes what its neighbours miss.
    return np.array([place for _, place in found[: max(1, min(most, len(found) // 2 + 1))]], dtype=int)

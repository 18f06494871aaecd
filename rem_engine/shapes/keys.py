"""Keys in time: outlines of all frames at once as few of them, between which points move in straight lines."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from .vertices import Segments, nearest, normals

# Rounds in which samples take the places along the outline at which the shape has them.
_ROUNDS = 6
_LAST_ROUNDS = 8
# How strongly a sample is drawn to where motion has it, against the nearest place of the outline.
_TIED = 0.1
# No sample is missed by more than so often the tolerance, where keys can help it.
_FARTHEST = 3.0
# Of the limit: what straight lines from one key to the next may miss, of which least squares over all keys leave about
# half. Each is tried, and that taken which comes out with the fewest keys.
_BENDS = (2.6, 2.0, 1.5)
# Keys to either side that are looked at when one is left out.
_NEIGHBOURS = 3


@dataclass(frozen=True)
class KeyedOutline:
    """An outline with its keys.

    Attributes:
        keys: K frames of the outline, ascending, the first and the last among them.
        points: float64 [K,3V,2].
        miss: pixels by which 19 of 20 samples of the worst frame are missed at most.
    """

    keys: tuple[int, ...]
    points: np.ndarray
    miss: float


def keyed(
    samples: np.ndarray,
    seen: np.ndarray,
    segments: Segments,
    tolerance: float,
    *,
    every: bool = False,
    given: Collection[int] = (),
    alive: Callable[[], None] = lambda: None,
) -> KeyedOutline:
    """Find keys of an outline, by least squares over all of its frames together.

    Samples are tied to the picture, but not so firmly that each pixel along the outline would take a key: how far they
    are from the outline counts in full, and how far along it they are from where motion has them a little.

    Args:
        samples: [T,M,2], of all frames.
        seen: bool [T,M], those within the frame; what is missed of others does not count.
        segments: between its vertices.
        tolerance: pixels; see `ShapeSettings`.
        every: whether each frame is a key.
        given: frames that are keys whatever comes.
        alive: called now and then; an exception from it ends the search.
    """
    frames = len(samples)
    if every or frames <= 2:
        return _result(_Fit(samples, seen, segments, np.arange(frames)).refined(_LAST_ROUNDS))
    dense = _Fit(samples, seen, segments, np.arange(frames)).refined(1)
    # What its vertices miss however many keys there are, no key mends.
    limit = np.maximum(tolerance, 1.15 * dense.errors())
    fixed = {0, frames - 1, *given}
    tried = []
    for bend in _BENDS:
        fit = dense.with_keys(_as_far_as_they_reach(dense.drawn, seen, limit * bend, fixed)).refined(_ROUNDS)
        while new := _inserted(fit, dense.points, limit):
            alive()
            fit = fit.with_keys(np.union1d(fit.keys, new)).refined(_ROUNDS)
        tried.append(_thinned(fit, limit, fixed, alive))
    return _result(min(tried, key=lambda fit: len(fit.keys)).refined(_LAST_ROUNDS))


class _Fit:
    """An outline with keys, fitted to places on the outlines of all frames.

    Attributes:
        keys, points: see `KeyedOutline`.
        drawn: [T,M,2], the samples as they are drawn.
        missed: [T,M], pixels from samples as they are drawn to the outline.
    """

    def __init__(
        self,
        samples: np.ndarray,
        seen: np.ndarray,
        segments: Segments,
        keys: np.ndarray,
        targets: np.ndarray | None = None,
    ) -> None:
        self._samples, self._seen, self._segments, self.keys = samples, seen, segments, keys
        self._targets = samples if targets is None else targets
        self.points = _least_squares(segments.fitted(self._targets), keys)
        self.drawn = segments.drawn(_between(self.points, keys, len(samples)))
        self._nearest = nearest(self.drawn, samples)
        self.missed = seen * np.linalg.norm(self.drawn - self._nearest, axis=-1)

    def with_keys(self, keys: np.ndarray) -> _Fit:
        return _Fit(self._samples, self._seen, self._segments, keys, self._targets)

    def of_frames(self, first: int, last: int, keys: np.ndarray) -> _Fit:
        """Of frames `first` to `last` alone, with these keys among them."""
        span = slice(first, last + 1)
        return _Fit(self._samples[span], self._seen[span], self._segments, keys - first, self._targets[span])

    def refined(self, rounds: int) -> _Fit:
        """With samples that give way along the outline, to where the shape has them."""
        fit = self
        for _ in range(rounds):
            targets = (1.0 - _TIED) * fit._nearest + _TIED * fit._samples
            fit = _Fit(fit._samples, fit._seen, fit._segments, fit.keys, targets)
        return fit

    def errors(self) -> np.ndarray:
        """[T]: what counts as missed in each frame; see `ShapeSettings.shape_tolerance`."""
        return np.maximum(self.most(), self.missed.max(axis=1) / _FARTHEST)

    def most(self) -> np.ndarray:
        """[T]: pixels by which 19 of 20 samples are missed at most."""
        return np.quantile(self.missed, 0.95, axis=1)


def _result(fit: _Fit) -> KeyedOutline:
    return KeyedOutline(tuple(int(key) for key in fit.keys), fit.points, float(fit.most().max()))


def _as_far_as_they_reach(drawn: np.ndarray, seen: np.ndarray, limit: np.ndarray, fixed: Collection[int]) -> np.ndarray:
    """Keys one after another, each as far from the last as straight lines between both miss no frame by more than its
    limit, across the outline.

    Args:
        drawn: [T,M,2], the outline in each frame.
        seen: [T,M], which of it count.
        limit: [T], pixels.
        fixed: frames that are keys, the first and the last among them.
    """
    across, keys = seen[..., None] * normals(drawn), list[int]()
    stops = sorted(fixed)
    for start, stop in zip(stops, stops[1:]):
        key, own = start, list[int]()
        while key < stop:
            own.append(key)
            reach, step = key + 1, 1
            while step:
                tried = min(reach + step, stop)
                if tried > reach and _is_straight(drawn, across, limit, key, tried):
                    reach, step = tried, 2 * step
                else:
                    step //= 2
            key = reach
        keys += own
    return np.array([*keys, stops[-1]])


def _is_straight(drawn: np.ndarray, across: np.ndarray, limit: np.ndarray, first: int, last: int) -> bool:
    """Whether the frames between two are within the limit of straight lines between both."""
    if last - first < 2:
        return True
    share = ((np.arange(first + 1, last) - first) / (last - first))[:, None, None]
    span = slice(first + 1, last)
    away = drawn[span] - (1.0 - share) * drawn[first] - share * drawn[last]
    bend = np.quantile(np.abs((away * across[span]).sum(axis=-1)), 0.95, axis=1)
    return bool((bend <= limit[span]).all())


def _inserted(fit: _Fit, reached: np.ndarray, limit: np.ndarray) -> list[int]:
    """A frame between each two keys between which too much is missed: the one farthest from a straight line."""
    errors, new = fit.errors(), []
    for first, last in zip(fit.keys, fit.keys[1:]):
        if last - first < 2 or (errors[first : last + 1] <= limit[first : last + 1]).all():
            continue
        share = (np.arange(first + 1, last) - first) / (last - first)
        line = (1.0 - share)[:, None, None] * reached[first] + share[:, None, None] * reached[last]
        bend = np.square(reached[first + 1 : last] - line).sum(axis=(1, 2))
        # As far as neither end is too near: what bends evenly is halved.
        new.append(first + 1 + int((bend * np.minimum(share, 1.0 - share)).argmax()))
    return new


def _thinned(fit: _Fit, limit: np.ndarray, fixed: Collection[int], alive: Callable[[], None]) -> _Fit:
    """Without the keys that can be left out, those first that matter the least."""
    keys, kept = [int(key) for key in fit.keys], set(fixed)
    while True:
        candidates = [place for place in range(1, len(keys) - 1) if keys[place] not in kept]
        if not candidates:
            break
        alive()
        place = min(candidates, key=lambda one: keys[one + 1] - keys[one - 1])
        near = keys[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS + 1]
        first, last = near[0], near[-1]
        without = np.array([key for key in near if key != keys[place]])
        tried = fit.of_frames(first, last, without).refined(_ROUNDS)
        if (tried.errors() <= limit[first : last + 1]).all():
            del keys[place]
        else:
            kept.add(keys[place])
    thin = fit.with_keys(np.array(keys)).refined(_ROUNDS)
    return thin if (thin.errors() <= 1.1 * limit).all() else fit


def _least_squares(points: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Points [K,P,2] at the keys whose straight lines come nearest to points [T,P,2] of all frames."""
    from scipy.linalg import solveh_banded

    frames = len(points)
    if len(keys) == frames:
        return points
    flat = points.reshape(frames, -1)
    before, share = _shares(keys, frames)
    count = len(keys)
    diagonal, beside = np.zeros(count), np.zeros(count)
    np.add.at(diagonal, before, np.square(1.0 - share))
    np.add.at(diagonal, np.minimum(before + 1, count - 1), np.square(share))
    np.add.at(beside, np.minimum(before + 1, count - 1), share * (1.0 - share))
    right = np.zeros((count, flat.shape[1]))
    np.add.at(right, before, (1.0 - share)[:, None] * flat)
    np.add.at(right, np.minimum(before + 1, count - 1), share[:, None] * flat)
    solved = solveh_banded(np.stack([beside, diagonal]), right)
    return solved.reshape(count, *points.shape[1:])


def _between(points: np.ndarray, keys: np.ndarray, frames: int) -> np.ndarray:
    """Points [T,P,2] of all frames by those at the keys [K,P,2]."""
    before, share = _shares(keys, frames)
    after = np.minimum(before + 1, len(keys) - 1)
    return (1.0 - share)[:, None, None] * points[before] + share[:, None, None] * points[after]


def _shares(keys: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """([T], [T]): the key before each frame, and how far it is on the way to the next."""
    places = np.arange(frames)
    before = np.searchsorted(keys, places, side="right") - 1
    before = np.minimum(before, max(len(keys) - 2, 0))
    if len(keys) == 1:
        return np.zeros(frames, int), np.zeros(frames)
    return before, (places - keys[before]) / (keys[before + 1] - keys[before])

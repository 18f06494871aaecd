"""Every frame gets its mask, from the windows the protocols promise."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rem_engine.backbones.base import WAN
from rem_engine.segment.windows import Window, paper_windows, shot_windows

LENGTHS = range(1, 201)


def pad(count: int) -> int:
    return next(length for length in range(1, 1000, 4) if length >= count)


def kept(window: Window) -> range:
    return range(window.keep, window.stop)


def test_paper_windows_cover_every_frame_once() -> None:
    for count in LENGTHS:
        frames = [frame for window in paper_windows(count, WAN.paper_windows, pad) for frame in kept(window)]
        assert frames == list(range(count)), count


def test_paper_windows_stay_in_the_shot_and_fit_the_vae() -> None:
    for count in LENGTHS:
        for window in paper_windows(count, WAN.paper_windows, pad):
            assert 0 <= window.start <= window.keep < window.stop <= count
            assert window.length % 4 == 1
            if count >= WAN.paper_windows[-1]:
                assert window.stop - window.start == window.length


@pytest.mark.parametrize(
    ("count", "longest", "expected"),
    [
        # (first frame, last frame + 1, first kept frame), worked out by hand from REM's rule
        (9, None, [(0, 9, 0)]),
        (73, None, [(0, 73, 0)]),
        (30, None, [(0, 25, 0), (5, 30, 25)]),
        (74, None, [(0, 73, 0), (1, 74, 73)]),
        (146, None, [(0, 73, 0), (73, 146, 73)]),
        (150, None, [(0, 73, 0), (73, 146, 73), (77, 150, 146)]),
        (72, None, [(0, 61, 0), (11, 72, 61)]),
        (30, 9, [(0, 9, 0), (9, 18, 9), (18, 27, 18), (21, 30, 27)]),
        (30, 17, [(0, 17, 0), (13, 30, 17)]),
        (12, 61, [(0, 9, 0), (3, 12, 9)]),
        (8, 5, [(0, 5, 0), (3, 8, 5)]),
    ],
)
def test_paper_tail_takes_the_last_frames(
    count: int, longest: int | None, expected: list[tuple[int, int, int]]
) -> None:
    windows = paper_windows(count, WAN.paper_windows, pad, longest)
    assert [(window.start, window.stop, window.keep) for window in windows] == expected


@pytest.mark.parametrize(
    ("count", "longest", "expected"),
    [
        (9, None, [(0, 9)]),
        (72, None, [(0, 72)]),
        (150, None, [(0, 72), (72, 144), (144, 150)]),
        (65, 32, [(0, 32), (32, 64), (64, 65)]),
    ],
)
def test_a_short_paper_tail_takes_the_frames_that_are_left(
    count: int, longest: int | None, expected: list[tuple[int, int]]
) -> None:
    windows = paper_windows(count, (72,), lambda frames: frames, longest, "short")
    assert windows == [Window(start, stop, stop - start, keep=start) for start, stop in expected]


@pytest.mark.parametrize(("count", "padded"), [(1, 1), (2, 5), (5, 5), (6, 9), (8, 9)])
def test_paper_window_of_a_shot_under_nine_frames_repeats_the_last(count: int, padded: int) -> None:
    assert paper_windows(count, WAN.paper_windows, pad) == [Window(0, count, padded, keep=0)]


@pytest.mark.parametrize(("length", "overlap"), [(5, 2), (9, 0), (17, 4), (17, 8), (49, 8)])
def test_shot_weights_of_every_frame_sum_to_one(length: int, overlap: int) -> None:
    for count in LENGTHS:
        windows = list(shot_windows(count, length, overlap, pad))
        for frame in range(count):
            here = [i for i, window in enumerate(windows) if frame in kept(window)]
            assert 1 <= len(here) <= 2, (count, frame)
            # The later window has its weight, the earlier one what is left.
            weight = windows[here[-1]].weight(frame)
            assert 0.0 < weight <= 1.0
            assert (weight == 1.0) == (len(here) == 1), (count, frame)


@pytest.mark.parametrize(("length", "overlap"), [(5, 2), (9, 0), (17, 4), (49, 8)])
def test_shot_windows_are_whole_and_end_with_the_shot(length: int, overlap: int) -> None:
    for count in LENGTHS:
        windows = list(shot_windows(count, length, overlap, pad))
        assert windows[0].start == 0
        assert windows[-1].stop == count
        if count <= length:
            assert windows == [Window(0, count, pad(count), keep=0)]
            continue
        assert all(window.stop - window.start == window.length == length for window in windows)
        assert all(after.keep + after.fade == before.stop for before, after in pairwise(windows))
        assert all(after.fade == max(overlap - 1, 0) for after in windows[1:])


def test_shot_cross_fade_is_gentle_and_comes_after_one_frame_of_context() -> None:
    *_, last = shot_windows(20, 13, 4, pad)
    assert last == Window(7, 20, 13, keep=10, fade=3)
    gentle = 53 / 512  # smootherstep, 6x^5 - 15x^4 + 10x^3, at a quarter of its way
    weights = [last.weight(frame) for frame in (9, 10, 11, 12, 13, 19)]
    assert weights == pytest.approx([0.0, gentle, 0.5, 1 - gentle, 1.0, 1.0])

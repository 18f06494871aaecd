"""Hard cuts are found, and nothing else is taken for one: on real footage, composed so that the cuts are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.cuts import find
from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8
from rem_engine.segment.cuts import LOOKAHEAD, CutFinder

SAMPLE = Path(__file__).parents[3] / "assets" / "sample_shot.mp4"


@pytest.fixture(scope="module")
def footage() -> np.ndarray:
    """uint8 [72,180,320,3], one take."""
    with open_shot(SAMPLE) as shot:
        frames = to_uint8(shot.read(0, shot.frame_count))
    return np.stack([cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA) for frame in frames])


@pytest.fixture(scope="module")
def takes(footage: np.ndarray) -> list[np.ndarray]:
    """Takes of different places: the corners of the footage, enlarged, some mirrored; 20 frames each."""
    corners = [footage[:20, :90, :160], footage[20:40, 90:, 160:], footage[40:60, :90, 160:], footage[50:70, 90:, :160]]
    return [
        np.stack([cv2.resize(frame[::step], (320, 180)) for frame in corner])
        for corner, step in zip(corners, (1, -1, 1, -1))
    ]


def test_footage_of_one_take_has_no_cut(footage: np.ndarray) -> None:
    assert find(footage) == []


@pytest.mark.parametrize(
    "lengths",
    [(20, 20, 20, 20), (12, 5, 9, 17), (1, 10, 10, 10), (10, 10, 10, 1), (8, 1, 8, 8), (2, 3, 4, 2)],
    ids=str,
)
def test_every_cut_is_found_and_none_invented(takes: list[np.ndarray], lengths: tuple[int, ...]) -> None:
    frames = np.concatenate([take[:length] for take, length in zip(takes, lengths)])
    assert find(frames) == list(np.cumsum(lengths)[:-1])


def flash(frames: np.ndarray) -> np.ndarray:
    frames[8:11] = 255
    return frames


def dropped_frame(frames: np.ndarray) -> np.ndarray:
    frames[9] = 0
    return frames


def lights_on(frames: np.ndarray) -> np.ndarray:
    return np.where(np.arange(20)[:, None, None, None] < 9, frames * 0.4, frames)


def flicker(frames: np.ndarray) -> np.ndarray:
    return frames * np.random.default_rng(0).uniform(0.5, 1.2, (20, 1, 1, 1))


def fade_to_black_and_back(frames: np.ndarray) -> np.ndarray:
    return frames * (np.abs(np.arange(20) - 10) / 10)[:, None, None, None]


def pan(frames: np.ndarray) -> np.ndarray:
    return np.stack([np.roll(frame, 20 * number, axis=1) for number, frame in enumerate(frames)])


def shaken_camera(frames: np.ndarray) -> np.ndarray:
    steps = np.random.default_rng(0).integers(-12, 13, (20, 2))
    return np.stack([np.roll(frame, step, axis=(0, 1)) for frame, step in zip(frames, steps)])


def grain(frames: np.ndarray) -> np.ndarray:
    return frames + np.random.default_rng(0).normal(0.0, 20.0, frames.shape)


def snow(frames: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, frames.shape)


def an_object_appears(frames: np.ndarray) -> np.ndarray:
    frames[9:, 40:110, 90:210] = (200, 40, 20)
    return frames


def held_frames(frames: np.ndarray) -> np.ndarray:
    return frames[np.arange(20) // 4 * 4]


@pytest.mark.parametrize(
    "event",
    [
        flash, dropped_frame, lights_on, flicker, fade_to_black_and_back, pan, shaken_camera, grain, snow,
        an_object_appears, held_frames,
    ],
)  # fmt: skip
def test_what_is_no_cut_is_not_taken_for_one_nor_hides_one(takes: list[np.ndarray], event: object) -> None:
    assert callable(event)
    eventful = np.clip(np.rint(event(takes[0].copy())), 0, 255).astype(np.uint8)
    assert find(np.concatenate([eventful, takes[1]])) == [20]


def test_a_slow_dissolve_is_no_hard_cut(takes: list[np.ndarray]) -> None:
    share = np.clip((np.arange(20) - 3) / 14, 0, 1)[:, None, None, None]
    assert find((takes[0] * (1 - share) + takes[1] * share).astype(np.uint8)) == []


def test_plain_pictures_are_told_apart_by_their_colour() -> None:
    frames = np.full((24, 40, 60, 3), 60, np.uint8)
    assert find(frames) == []
    frames[11:] = (60, 160, 60)
    assert find(frames) == [11]


def test_float_frames_are_read_like_8_bit_ones(takes: list[np.ndarray]) -> None:
    frames = np.concatenate([takes[0][:9], takes[1][:9]])
    assert find((frames / 255.0).astype(np.float32)) == [9]


def test_a_cut_is_known_a_few_frames_later(takes: list[np.ndarray]) -> None:
    finder = CutFinder()
    for number, frame in enumerate(np.concatenate([takes[0][:9], takes[1][:9]])):
        finder.add(frame)
        assert finder.known == max(number + 1 - LOOKAHEAD, 0)
        assert finder.cuts == ([9] if number >= 9 + LOOKAHEAD else [])

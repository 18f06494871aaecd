"""Pseudo-video: image and mask move together, by as much as published and no more."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.trainer.miniatures import write_refcoco
from trainer.data.pseudo_video import (
    PseudoVideo,
    motion_blur_kernel,
    perspective,
    recoloured,
    rotation_and_translation,
    transformed,
)
from trainer.data.refcoco import RefCoco

GREEN, MAGENTA = (40, 200, 40), (200, 40, 200)


def square(height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A green square on magenta, and its mask."""
    mask = np.zeros((height, width), bool)
    mask[25:65, 40:80] = True
    return np.where(mask[..., None], GREEN, MAGENTA).astype(np.uint8), mask


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)) > 0


def test_the_mask_covers_the_coloured_pixels_within_one_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.pseudo_video.BLUR_PROBABILITY", 0.0)
    image, mask = square()
    moved = 0
    for seed in range(60):
        picture, found = transformed(image, mask, np.random.default_rng(seed))
        assert picture.dtype == np.uint8 and found.dtype == bool and found.shape == mask.shape
        green = (picture[..., 1].astype(int) > picture[..., 0]) & (picture[..., 1] > 60)
        assert not (found & ~grown(green, 1)).any() and not (green & ~grown(found, 1)).any()
        moved += (found != mask).mean() > 0.02
    assert moved > 50


def test_masks_are_moved_by_the_nearest_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out: twice the pixel whose place is nearest. Lines of one pixel are thinned and broken by any mean."""
    monkeypatch.setattr("trainer.data.pseudo_video.BLUR_PROBABILITY", 0.0)
    height, width = 60, 80
    mask = np.zeros((height, width), bool)
    mask[::3] = True
    image = np.zeros((height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]

    def nearest(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        back = np.linalg.inv(matrix) @ np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
        column, row = np.round(back[:2] / back[2]).astype(int)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        return np.where(inside, picture[row.clip(0, height - 1), column.clip(0, width - 1)], 0).reshape(height, width)

    for seed in range(8):
        rng = np.random.default_rng(seed)
        recoloured(image, rng)
        first, turn = perspective(height, width, rng), rotation_and_translation(height, width, rng)
        expected = nearest(nearest(mask.astype(int), first), np.vstack([turn, [0, 0, 1]]))
        _, found = transformed(image, mask, np.random.default_rng(seed))
        assert (found == expected).mean() > 0.99  # OpenCV's places are rounded to a 32nd of a pixel first


def test_colours_change_within_the_limits_and_do_change() -> None:
    image, _ = square()
    brightness, hues = [], []
    for seed in range(300):
        changed = recoloured(image, np.random.default_rng(seed)).astype(int)
        difference = changed[0, 0] - MAGENTA
        # 40 of brightness; 3 steps of hue and 5 of saturation turn 200 and 40 by less than 30 more
        assert np.abs(difference).max() <= 40 + 30
        brightness.append(changed[0, 0].mean() - np.mean(MAGENTA))
        hsv = cv2.cvtColor(changed.astype(np.uint8), cv2.COLOR_RGB2HSV)[0, 0].astype(int)
        hues.append(hsv[0] - cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[0, 0, 0].astype(int))
    assert -48 <= min(brightness) < -25 and 25 < max(brightness) <= 48
    assert set(range(-3, 4)) <= set(hues) and max(np.abs(hues)) <= 4  # 5 / 255 of half a turn in steps of 2 degrees


def test_brightness_adds_the_same_to_all_channels_of_a_grey_picture() -> None:
    grey = np.full((4, 4, 3), 120, np.uint8)
    changed = np.array([recoloured(grey, np.random.default_rng(seed))[0, 0] for seed in range(800)]).astype(int)
    plain = changed[np.ptp(changed, axis=1) == 0]  # the others were given some saturation
    assert len(plain) > 200 and plain.min() == 80 and plain.max() == 160


def test_perspective_spreads_the_inside_by_half_normal_distances_of_deviation_008() -> None:
    rng = np.random.default_rng(0)
    inwards = []
    for _ in range(2000):
        back = np.linalg.inv(perspective(100, 200, rng))
        corners = cv2.perspectiveTransform(
            np.array([[[-0.5, -0.5], [199.5, -0.5], [199.5, 99.5], [-0.5, 99.5]]]), back
        )[0]
        share = (corners + 0.5) / (200, 100)
        inwards.append(np.where(share > 0.5, 1 - share, share))
    inwards = np.array(inwards)
    assert inwards.min() > -1e-3 and inwards.max() < 0.5
    assert inwards.mean() == pytest.approx(0.08 * np.sqrt(2 / np.pi), rel=0.03)  # of a half-normal number


def test_rotation_and_translation_stay_within_20_degrees_and_a_tenth() -> None:
    rng = np.random.default_rng(0)
    angles, shifts = [], []
    for _ in range(2000):
        matrix = rotation_and_translation(100, 200, rng)
        angles.append(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0])))
        assert matrix[0, 0] ** 2 + matrix[0, 1] ** 2 == pytest.approx(1.0)  # no scale
        centre = matrix @ (99.5, 49.5, 1)
        shifts.append((centre - (99.5, 49.5)) / (200, 100))
    assert np.abs(angles).max() <= 20 and np.abs(angles).max() > 19.5 and abs(np.mean(angles)) < 1
    assert np.abs(shifts).max() <= 0.1 and np.abs(shifts).max() > 0.098
    np.testing.assert_allclose(np.array(shifts)[:, 0], np.array(shifts)[:, 1], atol=1e-9)


def test_motion_blur_keeps_brightness_and_lies_on_a_line() -> None:
    for seed in range(40):
        for size in (9, 11):
            kernel = motion_blur_kernel(size, np.random.default_rng(seed))
            assert kernel.shape == (size, size) and kernel.min() >= 0
            assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
            y, x = np.nonzero(kernel > 0.15 * kernel.max())
            spread = np.linalg.svd(np.stack([y, x]) - [[size // 2], [size // 2]])[1]
            assert spread[1] < 0.35 * spread[0]


def test_a_quarter_of_the_copies_is_blurred() -> None:
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)
    mask = np.ones((60, 60), bool)
    edges = [
        cv2.Laplacian(transformed(picture, mask, np.random.default_rng(seed))[0][20:40, 20:40], cv2.CV_64F).std()
        for seed in range(400)
    ]
    assert np.mean(np.array(edges) < 0.5 * np.median(edges)) == pytest.approx(0.25, abs=0.07)


def test_a_clip_is_the_image_among_its_copies_and_depends_on_rng_alone(tmp_path: Path) -> None:
    write_refcoco(tmp_path)
    still = RefCoco(tmp_path, "refcoco")
    source = PseudoVideo(still)
    image = still.read(0, 1, np.random.default_rng(0))
    places = set()
    for seed in range(12):
        clip = source.read(0, 5, np.random.default_rng(seed))
        assert clip.frames.shape == (5, *image.frames.shape[1:]) and clip.text == image.text
        (place,) = [t for t in range(5) if (clip.frames[t] == image.frames[0]).all()]
        np.testing.assert_array_equal(clip.masks[place], image.masks[0])
        places.add(place)
        again = source.read(0, 5, np.random.default_rng(seed))
        np.testing.assert_array_equal(again.frames, clip.frames)
        np.testing.assert_array_equal(again.masks, clip.masks)
    assert len(places) > 2  # the order is random
    assert source.is_fixed(1) and not source.is_fixed(5)

"""Overlays show which mask is whose, at every size."""

from __future__ import annotations

import numpy as np
import pytest

from rem_engine.media import draw_overlay, preview_strip
from rem_engine.media.overlay import COLOURS, OverlayColours


def grey_frame(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def box_mask(height: int, width: int, value: float = 1.0) -> np.ndarray:
    """A mask in the lower right, clear of the legend."""
    mask = np.zeros((height, width), np.float32)
    mask[height * 3 // 4 : height - 4, width // 2 : width - 4] = value
    return mask


def test_a_fill_follows_the_soft_mask() -> None:
    soft = np.zeros((1, 200, 300), np.float32)
    soft[0, 150:190] = np.linspace(0, 0.5, 300)  # never above the threshold, so no contour
    drawn = draw_overlay(grey_frame(200, 300), soft, ["x"]).astype(int)
    np.testing.assert_array_equal(drawn[149, 100:], 100)
    red = drawn[170, :, 0]
    assert red[0] == 100 and np.all(np.diff(red) >= 0)
    # Half the mask gives half the tint of the whole mask.
    whole = draw_overlay(grey_frame(200, 300), box_mask(200, 300)[None], ["x"])[170, 250].astype(int)
    np.testing.assert_allclose((drawn[170, -1] - 100) * 2, whole - 100, atol=2)


def test_the_contour_is_crisp_and_runs_where_the_mask_crosses_the_threshold() -> None:
    soft = box_mask(200, 300, 0.51)[None]
    drawn = draw_overlay(grey_frame(200, 300), soft, ["x"])
    on_contour = (drawn[140:] == COLOURS[0]).all(axis=2)
    expected = np.zeros((60, 300), bool)
    expected[10:56, 150:296] = True
    expected[11:55, 151:295] = False
    np.testing.assert_array_equal(on_contour, expected)
    assert not (draw_overlay(grey_frame(200, 300), soft, ["x"], threshold=0.6)[140:] == COLOURS[0]).all(axis=2).any()


def test_every_prompt_has_a_colour_of_its_own() -> None:
    soft = np.zeros((10, 400, 600), np.float32)
    for index in range(10):
        soft[index, 340:380, 20 + 55 * index : 60 + 55 * index] = 1.0
    drawn = draw_overlay(grey_frame(400, 600), soft, [f"thing {index}" for index in range(10)])
    contours = {tuple(int(value) for value in drawn[340, 40 + 55 * index]) for index in range(10)}
    assert len(contours) == 10 and contours <= set(COLOURS)
    distances = [np.abs(np.subtract(a, b)).max() for i, a in enumerate(COLOURS) for b in COLOURS[:i]]
    assert min(distances) >= 60


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 64), (101, 139), (720, 1280), (2160, 3840)])
@pytest.mark.parametrize("count", [1, 10])
def test_it_draws_at_every_size(height: int, width: int, count: int) -> None:
    frame = grey_frame(height, width)
    soft = np.repeat(box_mask(height, width)[None], count, axis=0)
    drawn = draw_overlay(frame, soft, ["the large blue square moving left"] * count)
    assert drawn.shape == frame.shape and drawn.dtype == np.uint8
    assert (frame == 100).all()  # the frame given is left as it was
    assert (drawn[int(height * 0.6) + 3 : height * 3 // 4 - 1] == 100).all()  # the legend leaves room for the shot


def test_the_legend_shows_each_text_beside_its_colour() -> None:
    empty = np.zeros((2, 360, 640), np.float32)
    drawn = draw_overlay(grey_frame(360, 640), empty, ["the smoke", "the fire"])
    rows = [np.flatnonzero((drawn[:, :40] == colour).all(axis=2).any(axis=1)) for colour in COLOURS[:2]]
    assert len(rows[0]) >= 6 and rows[0].max() < rows[1].min()
    bright = (drawn > 230).all(axis=2)
    for swatch in rows:
        assert bright[swatch.min() : swatch.max() + 1].any()
    other = draw_overlay(grey_frame(360, 640), empty, ["the smoke", "the tree"])
    assert (drawn != other).any()


def test_masks_outside_0_to_1_are_clipped() -> None:
    frame, mask = grey_frame(64, 64), box_mask(64, 64)
    np.testing.assert_array_equal(draw_overlay(frame, mask[None] * 3, ["x"]), draw_overlay(frame, mask[None], ["x"]))
    np.testing.assert_array_equal(draw_overlay(frame, -mask[None], ["x"]), draw_overlay(frame, 0 * mask[None], ["x"]))


def test_shapes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"need soft masks \[2, 64, 64\], not \[1, 64, 64\]"):
        draw_overlay(grey_frame(64, 64), np.zeros((1, 64, 64), np.float32), ["a", "b"])
    with pytest.raises(ValueError, match=r"uint8 \[H,W,3\], not float32"):
        draw_overlay(np.zeros((64, 64, 3), np.float32), np.zeros((1, 64, 64), np.float32), ["a"])


def test_a_strip_shows_the_first_and_the_last_frame_at_their_aspect() -> None:
    frames = np.zeros((9, 50, 100, 3), np.uint8)
    frames[:] = (np.arange(9, dtype=np.uint8) * 20)[:, None, None, None]
    strip = preview_strip(frames, count=3, height=25)
    assert strip.shape == (25, 3 * 50 + 2 * 4, 3)
    assert [int(strip[12, x, 0]) for x in (10, 79, 150)] == [0, 80, 160]
    assert preview_strip(frames[:1], count=4, height=25).shape == (25, 50, 3)
    with pytest.raises(ValueError, match="at least one frame"):
        preview_strip(frames[:0])


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """CIE 1976, of sRGB under D65 (IEC 61966-2-1, CIE 15)."""

    def lab(colour: tuple[int, ...]) -> np.ndarray:
        value = np.array(colour) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        ratio = np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089]
        x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (ratio * 24389 / 27 + 16) / 116)
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return float(np.linalg.norm(lab(one) - lab(other)))


def test_a_colour_contrasts_with_what_it_covers() -> None:
    covered = [(230, 140, 40), (220, 40, 40), (110, 110, 110), (120, 170, 230), (80, 140, 60)]
    frame = np.zeros((100, 500, 3), np.uint8)
    soft = np.zeros((5, 100, 500), np.float32)
    for index, colour in enumerate(covered):
        frame[:, 100 * index : 100 * index + 100] = colour
        soft[index, 20:80, 100 * index + 20 : 100 * index + 80] = 1.0
    chosen = OverlayColours(5).at(frame, soft)
    assert len(set(chosen)) == 5
    assert min(distance(one, other) for one, other in zip(chosen, covered)) > 55


def test_a_colour_stays_to_the_end_of_the_shot() -> None:
    colours, mask = OverlayColours(2), np.stack([box_mask(200, 300), 0 * box_mask(200, 300)])
    orange, cyan = (np.full((200, 300, 3), colour, np.uint8) for colour in ((245, 130, 48), (70, 240, 240)))
    first, waiting = colours.at(orange, mask)
    assert colours.at(cyan, mask)[0] == first != waiting
    later = colours.at(cyan, mask[::-1])  # now the second layer is seen as well
    assert later[0] == first and distance(later[1], (70, 240, 240)) > 55 and later[1] != first
    assert colours.at(orange, mask[::-1]) == later


def test_a_colour_that_was_chosen_stands_above_contrast() -> None:
    mask = np.stack([box_mask(200, 300), box_mask(200, 300)])
    frame = np.full((200, 300, 3), (245, 130, 48), np.uint8)
    own = OverlayColours(2).at(frame, mask)
    assert OverlayColours(2, ["", "#f58230"]).at(frame, mask) == [own[0], (245, 130, 48)]


def test_more_layers_than_colours_take_them_again() -> None:
    given = OverlayColours(len(COLOURS) + 2).at(grey_frame(20, 20), np.zeros((len(COLOURS) + 2, 20, 20), np.float32))
    assert given == [*COLOURS, *COLOURS[:2]]

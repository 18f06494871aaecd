"""Shapes give mattes back, with few keys, and stay on what they are of."""

from __future__ import annotations

import re

import numpy as np
import pytest
from drawn_shots import (
    HEIGHT,
    STILL,
    WIDTH,
    circle,
    matte_of,
    shapes_of,
    similarity,
    star,
    turned,
    turning_star,
    unturned,
)

from rem_engine.matte.motion import Motion
from rem_engine.progress import Unit
from rem_engine.shapes import ShapeMaker, ShapeSettings, rasterised
from rem_engine.shapes.after_effects import after_effects_script
from rem_engine.shapes.blender import blender_script
from rem_engine.shapes.contours import contours_of, ramp_width
from rem_engine.shapes.json_file import shapes_json
from rem_engine.shapes.model import outline
from rem_engine.shapes.nuke import nuke_script
from rem_engine.shapes.rasterise import coverage
from rem_engine.shapes.silhouette import silhouette_file
from rem_engine.shapes.tracking import LevelTracker
from rem_engine.shapes.vertices import Segments, nearest, no_more_than
from tests.rem_engine.progress_log import ProgressLog


def test_a_contour_lies_between_pixels() -> None:
    (found,) = contours_of(matte_of(circle((61.3, 54.7), 30.0)), 0.5, 10)
    radii = np.hypot(*(found.places - [61.3, 54.7]).T)
    assert abs(radii - 30.0).max() < 0.2
    assert abs(found.length - 2.0 * np.pi * 30.0) < 1.0


def test_what_the_frame_cuts_off_is_closed_along_its_border() -> None:
    (found,) = contours_of(matte_of(np.array([[-20.0, 30.0], [50.0, 30.0], [50.0, 70.0], [-20.0, 70.0]])), 0.5, 10)
    assert np.abs(found.places.min(axis=0) - [0.0, 30.0]).max() < 0.1
    assert np.abs(found.places.max(axis=0) - [50.0, 70.0]).max() < 0.1


def test_a_ramp_has_its_width() -> None:
    radii = np.hypot(*np.meshgrid(np.arange(WIDTH) + 0.5 - 80.0, np.arange(HEIGHT) + 0.5 - 60.0))
    matte = np.clip((30.0 - radii) / 12.0 + 0.5, 0.0, 1.0).astype(np.float32)
    (found,) = contours_of(matte, 0.5, 10)
    assert ramp_width(matte, found, 0.5, 1.0) == pytest.approx(12.0, abs=0.3)


def test_coverage_is_the_area_of_each_pixel_within() -> None:
    box = np.array([[2.25, 1.5], [4.75, 1.5], [4.75, 3.0], [2.25, 3.0]])
    expected = np.zeros((5, 7))
    expected[1, 2:5] = [0.375, 0.5, 0.375]
    expected[2, 2:5] = [0.75, 1.0, 0.75]
    assert np.abs(coverage(box, (5, 7)) - expected).max() < 1e-6
    # A pentagram's middle is gone around twice, and is inside all the same; what lies outside the frame does no harm.
    pentagram = star(5, 40.0, 40.0)[[0, 4, 8, 2, 6]] + [10.0, 50.0]
    assert coverage(pentagram, (100, 60))[50, 10] == 1.0


def test_a_star_that_turns_takes_few_keys_and_its_vertices_stay_on_it() -> None:
    mattes, shapes = turning_star()
    (shape,) = shapes.shapes
    assert (shape.first, shape.last, shape.operation) == (0, 23, "add")
    assert len(shape.keys) <= 6
    assert shape.vertices <= 30
    found = [similarity(rasterised(shapes, index), matte) for index, matte in enumerate(mattes)]
    assert np.mean(found) > 0.97
    # Where the ten corners of the star are, a vertex is, in every frame.
    for t in range(24):
        corners, vertices = turned(star(), t), shape.at(t)[:, 1]
        assert np.linalg.norm(corners[:, None] - vertices[None], axis=-1).min(axis=1).max() < 2.5
    own = np.stack([unturned(shape.at(t)[:, 1], t) for t in range(24)])
    assert np.linalg.norm(own - own[0], axis=-1).mean() < 1.0


def test_a_key_at_each_frame_gives_the_mattes_back_closely() -> None:
    mattes, shapes = turning_star(8, shape_keys="every")
    (shape,) = shapes.shapes
    assert shape.keys == tuple(range(8))
    assert np.mean([similarity(rasterised(shapes, index), matte) for index, matte in enumerate(mattes)]) > 0.985


def test_what_stands_still_has_two_keys() -> None:
    shapes = shapes_of([matte_of(circle((80, 60), 30))] * 9)
    assert [shape.keys for shape in shapes.shapes] == [(0, 8)]
    assert shapes.shapes[0].vertices <= 6
    assert abs(np.hypot(*(outline(shapes.shapes[0].points[0]) - [80, 60]).T) - 30).max() < 0.6


def test_a_smaller_tolerance_is_kept() -> None:
    _, loose = turning_star(16, shape_tolerance=2.0)
    mattes, close = turning_star(16, shape_tolerance=0.25)
    assert close.key_count > loose.key_count
    assert close.shapes[0].miss < loose.shapes[0].miss <= 2.0
    assert np.mean([similarity(rasterised(close, index), matte) for index, matte in enumerate(mattes)]) > 0.985


def test_outlines_end_and_begin_where_regions_split_and_merge() -> None:
    def at(gap: float) -> np.ndarray:
        return matte_of(circle((80 - gap, 60), 20), circle((80 + gap, 60), 20))

    shapes = shapes_of([at(gap) for gap in (18, 18, 18, 24, 24, 24, 18, 18)])
    assert sorted((shape.first, shape.last) for shape in shapes.shapes) == [(0, 2), (3, 5), (3, 5), (6, 7)]
    assert len({shape.name for shape in shapes.shapes}) == 4
    drawn = rasterised(shapes, 4)
    assert drawn[60, 80] == 0.0
    assert drawn[60, 56] == drawn[60, 104] == 1.0


def test_a_hole_is_taken_away_and_an_island_in_it_laid_over() -> None:
    ring = matte_of(circle((80, 60), 50), holes=[circle((80, 60), 35)])
    shapes = shapes_of([np.maximum(ring, matte_of(circle((80, 60), 15)))] * 3)
    assert [shape.operation for shape in shapes.shapes] == ["add", "subtract", "add"]
    drawn = rasterised(shapes, 1)
    assert [float(drawn[60, x]) for x in (80, 105, 122)] == [1.0, 0.0, 1.0]


def test_what_is_smaller_than_asked_for_has_no_shape() -> None:
    matte = np.maximum(matte_of(circle((40, 60), 20)), matte_of(circle((120, 60), 4)))
    assert len(shapes_of([matte] * 2, ShapeSettings(shape_area=40)).shapes) == 2
    assert len(shapes_of([matte] * 2, ShapeSettings(shape_area=80)).shapes) == 1


def test_an_edge_that_ramps_has_a_feather_and_a_sharp_one_none() -> None:
    radii = np.hypot(*np.meshgrid(np.arange(WIDTH) + 0.5 - 80.0, np.arange(HEIGHT) + 0.5 - 60.0))
    soft = np.clip((40.0 - radii) / 6.0 + 0.5, 0.0, 1.0).astype(np.float32)
    feathered, sharp = shapes_of([soft] * 2), shapes_of([matte_of(circle((80, 60), 40))] * 2)
    assert not feathered.soft
    assert feathered.shapes[0].feather == pytest.approx(6.0, abs=0.6)
    assert sharp.shapes[0].feather == 0.0
    assert np.abs(rasterised(feathered, 0) - soft).mean() < 0.01


def test_what_has_no_edge_gets_outlines_at_three_levels() -> None:
    radii = np.hypot(*np.meshgrid(np.arange(WIDTH) + 0.5 - 80.0, np.arange(HEIGHT) + 0.5 - 60.0))
    smoke = np.exp(-np.square(radii / 28.0)).astype(np.float32)
    shapes = shapes_of([smoke] * 3)
    assert shapes.soft
    assert [round(shape.level, 3) for shape in shapes.shapes] == [0.167, 0.5, 0.833]
    drawn = rasterised(shapes, 1)
    assert np.abs(drawn - smoke).mean() < 0.02
    assert np.abs(drawn - smoke).max() < 0.2
    assert len(shapes_of([smoke] * 3, ShapeSettings(shape_edges="hard")).shapes) == 1


def test_smoke_that_billows_takes_few_keys_and_stays_within_a_twentieth() -> None:
    rng = np.random.default_rng(3)
    phases = rng.uniform(0.0, 2.0 * np.pi, (3, 7))

    def smoke(t: int) -> np.ndarray:
        x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - 80.0, np.arange(HEIGHT) + 0.5 - 60.0)
        angle = np.arctan2(y, x)
        # Lobes that come and go in every frame, by more than a pixel.
        lobes = sum(np.sin(k * angle + p * (1 + 0.4 * t) + t / k) for k, p in zip(range(2, 9), phases[0]))
        return np.exp(-np.square(np.hypot(x, y) / (30.0 + 1.2 * lobes))).astype(np.float32)

    mattes = [smoke(t) for t in range(12)]
    shapes = shapes_of(mattes)
    assert [(shape.first, shape.last) for shape in shapes.shapes] == [(0, 11)] * 3
    assert shapes.key_count <= 14
    off = [np.abs(rasterised(shapes, t) - matte) for t, matte in enumerate(mattes)]
    assert np.mean(off) < 0.02
    # An outline that misses by this much of its feather, of a third of the matte, changes it by a twentieth.
    assert all(shape.miss <= 1.2 * 0.15 * shape.feather for shape in shapes.shapes)


def test_of_an_outline_with_many_samples_fewer_say_the_same() -> None:
    """A square whose sides have 500 samples each: corners stay vertices, samples between them evenly spaced."""
    side = np.arange(500) / 5.0
    square = np.concatenate(
        [
            np.stack([side, 0 * side], 1),
            np.stack([0 * side + 100, side], 1),
            np.stack([100 - side, 0 * side + 100], 1),
            np.stack([0 * side, 100 - side], 1),
        ]
    )
    square, vertices = np.roll(square, 20, axis=0), [20, 270, 520, 1020, 1520]
    segments = Segments(np.array(vertices), np.full(2000, 0.2))
    kept, fewer = no_more_than(200, segments)
    assert kept[fewer.chosen].tolist() == vertices
    assert 190 <= len(kept) <= 210
    assert fewer.spacing.sum() == pytest.approx(400.0)
    after = np.linalg.norm(np.roll(square[kept], -1, axis=0) - square[kept], axis=1)
    assert np.abs(after - fewer.spacing).max() < 1e-9  # on a straight line, both
    points = fewer.fitted(square[kept][None])
    assert np.abs(points - segments.fitted(square[None])).max() < 0.05
    assert np.abs(fewer.drawn(points)[0] - square[kept]).max() < 0.05


def test_the_nearest_place_of_an_outline_is_found_on_its_segments() -> None:
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [8.0, 0.0], [8.0, 4.0], [8.0, 8.0], [4.0, 8.0], [0.0, 8.0], [0.0, 4.0]])
    places = np.array(
        [[-1.0, -1.0], [3.0, 1.0], [9.0, 1.0], [7.5, 3.0], [9.0, 7.0], [4.0, 8.0], [1.0, 9.0], [-2.0, 5.0]]
    )
    expected = [[0, 0], [3, 0], [8, 1], [8, 3], [8, 7], [4, 8], [1, 8], [0, 5]]
    assert np.allclose(nearest(places[None], corners[None]), [expected])


def test_of_many_regions_the_largest_have_shapes_and_the_others_are_counted() -> None:
    matte = np.zeros((400, 400), np.float32)
    for place in range(100):
        row, column, side = place // 10 * 40 + 4, place % 10 * 40 + 4, 10 + place // 5
        matte[row : row + side, column : column + side] = 1.0
    tracker = LevelTracker(0.5, 1.0, 64)
    tracker.add(0, matte, None)
    tracks = tracker.finish()
    assert (len(tracks), tracker.left_out) == (64, 36)
    # Of 100 squares, each five as large as the next, the last 65 are 17 pixels or more; one of the smallest is left.
    assert min(np.ptp(track.frames[0], axis=0).min() for track in tracks) > 16.0


def test_making_shapes_tells_how_far_it_is_and_ends_where_it_is_told_to() -> None:
    class Stopped(Exception): ...

    class Stops(ProgressLog):
        def update(self, unit: Unit, done: int, total: int) -> None:
            super().update(unit, done, total)
            if len(self.counts[unit]) == 3:
                raise Stopped

    def maker() -> ShapeMaker:
        made = ShapeMaker("car", ShapeSettings())
        for t in range(12):
            moved = circle((50 + 4 * np.sin(t), 60), 20)
            made.add(t, matte_of(moved, circle((120, 60), 20)), STILL if t else None)
        return made

    log = ProgressLog()
    maker().finish(None, tuple(range(12)), log)
    assert log.counts["shapes"][0] == (0, 2)
    assert log.counts["shapes"][-1] == (2, 2)
    assert log.counts["shapes"].count((0, 2)) > 3  # of one that takes long several times
    with pytest.raises(Stopped):
        maker().finish(None, tuple(range(12)), Stops())


def test_nothing_gives_no_shapes() -> None:
    assert shapes_of([np.zeros((HEIGHT, WIDTH), np.float32)] * 3).shapes == ()


_FULL = np.ones((HEIGHT, WIDTH), np.float32)
_DISC = matte_of(circle((80, 60), 30))


@pytest.mark.parametrize(
    ("mattes", "spans"),
    [
        ([_FULL] * 3, [(0, 2)]),
        ([1.0 - _DISC] * 3, [(0, 2), (0, 2)]),
        ([_DISC], [(0, 0)]),
        ([0.0 * _DISC, 0.0 * _DISC, _DISC, 0.0 * _DISC], [(2, 2)]),
        ([_FULL, 0.0 * _DISC, _FULL], [(0, 0), (2, 2)]),
    ],
    ids=["all of the frame", "all but a hole", "one frame", "there for one frame", "gone for one frame"],
)
def test_what_fills_frames_or_is_there_for_one_is_given_back(
    mattes: list[np.ndarray], spans: list[tuple[int, int]]
) -> None:
    shapes = shapes_of(mattes)
    assert [(shape.first, shape.last) for shape in shapes.shapes] == spans
    for index, matte in enumerate(mattes):
        assert np.abs(rasterised(shapes, index) - matte).mean() < 0.004
    for writer in (shapes_json, nuke_script, silhouette_file, blender_script, after_effects_script):
        assert not re.search(r"\b(nan|inf)\b", writer(shapes), re.IGNORECASE)


def test_a_take_begins_with_shapes_of_its_own() -> None:
    matte = matte_of(circle((80, 60), 30))
    shapes = shapes_of([matte] * 6, motion=lambda index: None if index == 4 else STILL)
    assert [(shape.first, shape.last) for shape in shapes.shapes] == [(0, 3), (4, 5)]


@pytest.mark.parametrize("values", [{"shape_tolerance": 0.0}, {"shape_vertices": 2}, {"shape_keys": "some"}])
def test_settings_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match="tolerance of shapes|number of a shape's vertices|way of setting"):
        ShapeSettings(**values)


def test_beyond_the_frame_an_outline_goes_on_as_it_moves() -> None:
    def moving(t: int) -> np.ndarray:
        return matte_of(np.array([[20.0, 30.0], [80.0, 30.0], [80.0, 80.0], [20.0, 80.0]]) + [6.0 * t, 0.0])

    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 6.0
    shapes = shapes_of([moving(t) for t in range(20)], motion=lambda index: Motion(flow, STILL.trust))
    (shape,) = shapes.shapes
    assert len(shape.keys) <= 3
    assert shape.points[-1, :, 1].max(axis=0)[0] == pytest.approx(80 + 19 * 6, abs=4)  # the frame ends at 160
    assert all(similarity(rasterised(shapes, t), moving(t)) > 0.97 for t in range(20))


def test_keys_stand_to_either_side_of_frames_that_were_left_out() -> None:
    maker = ShapeMaker("car", ShapeSettings())
    for index in range(6):
        maker.add(index, matte_of(circle((80, 60), 30)), STILL if index else None)
    (shape,) = maker.finish(None, (1, 2, 3, 7, 8, 9)).shapes
    assert shape.keys == (0, 2, 3, 5)

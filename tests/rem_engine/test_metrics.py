"""J and F are those of the DAVIS 2017 evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rem_engine.metrics import boundary_accuracy, region_similarity


def test_j_and_f_equal_the_recorded_evaluation(golden: Path) -> None:
    pairs = np.load(golden / "metrics" / "pairs.npz")
    expected = json.loads((golden / "metrics" / "expected.json").read_text())["pairs"]
    assert any(pair["void"] for pair in expected)
    for pair in expected:
        name = pair["name"]
        pred, gt = pairs[f"{name}__pred"] > 0, pairs[f"{name}__gt"] > 0
        void = pairs[f"{name}__void"] > 0 if pair["void"] else None
        assert region_similarity(pred, gt, void) == pytest.approx(pair["J"], abs=1e-9), name
        assert boundary_accuracy(pred, gt, void) == pytest.approx(pair["F"], abs=1e-9), name


def test_f_equals_the_evaluation_on_masks_of_many_sizes() -> None:
    pytest.importorskip("skimage", reason="the evaluation takes its disk from scikit-image")
    reference = pytest.importorskip("segmetric.metrics", reason="esdft-segmetric holds the DAVIS evaluation")
    rng = np.random.default_rng(0)
    for _ in range(60):
        height, width = (int(side) for side in rng.integers(2, 200, 2))
        pred, gt, void = (
            cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), float(rng.uniform(0.1, 6))) > threshold
            for threshold in rng.choice([-9.0, 0.0, 0.05, 9.0], 3)
        )
        bound_th = float(rng.choice([0.008, 0.03, 3, 90]))
        for some_void in (None, void):
            ours = boundary_accuracy(pred, gt, some_void, bound_th)
            assert ours == pytest.approx(reference.db_eval_boundary(gt, pred, some_void, bound_th), abs=1e-12)


def test_f_counts_boundary_pixels_within_the_disk() -> None:
    gt = np.zeros((40, 60), bool)
    gt[10:20, 10:20] = True
    pred = np.zeros_like(gt)
    pred[10:20, 12:22] = True  # each boundary is the outline of 11x11 pixels, since neighbours right and below count
    # Within a radius of 1 of the other outline lie, of the top and of the bottom, the 9 pixels both have and the next
    # one; and of one side its first and its last pixel below the top and above the bottom.
    assert boundary_accuracy(pred, gt, bound_th=1) == pytest.approx((2 * 10 + 2) / 40)
    assert boundary_accuracy(pred, gt, bound_th=2) == 1.0


def test_every_frame_has_a_value_of_its_own() -> None:
    rng = np.random.default_rng(1)
    pred, gt, void = (rng.random((11, 37, 70)) > share for share in (0.9, 0.8, 0.7))
    for measure in (region_similarity, boundary_accuracy):
        values = measure(pred, gt, void)
        assert values.shape == (11,) and values.dtype == np.float64
        assert values.tolist() == [float(measure(*frame)) for frame in zip(pred, gt, void)]
        assert measure(pred[0], gt[0]).shape == ()


def test_masks_are_left_as_they_are() -> None:
    masks = [np.random.default_rng(seed).random((2, 20, 30)) > 0.5 for seed in range(3)]
    before = [mask.copy() for mask in masks]
    boundary_accuracy(*masks)
    assert all(np.array_equal(one, other) for one, other in zip(masks, before))


@pytest.mark.parametrize("measure", [region_similarity, boundary_accuracy])
def test_unlike_shapes_are_told(measure) -> None:
    small, large = np.zeros((4, 5), bool), np.zeros((5, 5), bool)
    with pytest.raises(ValueError, match="equal shapes"):
        measure(small, large)
    with pytest.raises(ValueError, match="void pixels"):
        measure(small, small, large)

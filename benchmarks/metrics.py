"""How fast F is, beside the DAVIS 2017 evaluation.

Runs both in turn on the same masks, checks that they agree, and prints medians over all pairs as JSON:

    pip install --no-deps esdft-segmetric scikit-image lazy-loader    # the DAVIS evaluation, and its disk
    python -m benchmarks.metrics --pairs 30

One object covers a twentieth of the frame, blobs reach into all of it. Times are processor time, OpenCV on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from rem_engine.metrics import boundary_accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="Time F beside the DAVIS 2017 evaluation.")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=854)
    parser.add_argument("--frames", type=int, default=8, help="frames in a shot (default 8)")
    parser.add_argument("--pairs", type=int, default=30, help="pairs of runs (default 30)")
    arguments = parser.parse_args()
    reference = _reference()
    cv2.setNumThreads(1)

    size = (arguments.height, arguments.width)
    report = {}
    for name, draw in (("one object", _object), ("blobs", _blobs)):
        pred, gt = (np.stack([draw(size, 10 * t + which) for t in range(arguments.frames)]) for which in (0, 1))
        for kind, (ours, true) in {"a shot": (pred, gt), "a frame": (pred[0], gt[0])}.items():
            assert np.abs(boundary_accuracy(ours, true) - reference(true, ours)).max() < 1e-9
            pairs = [
                (
                    _seconds(lambda o=ours, t=true: reference(t, o)),
                    _seconds(lambda o=ours, t=true: boundary_accuracy(o, t)),
                )
                for _ in range(arguments.pairs)
            ]
            count = arguments.frames if kind == "a shot" else 1
            report[f"{name}, {kind}"] = {
                "evaluation_ms_a_frame": round(1e3 * statistics.median(theirs for theirs, _ in pairs) / count, 2),
                "ours_ms_a_frame": round(1e3 * statistics.median(own for _, own in pairs) / count, 2),
                "times_faster": round(statistics.median(theirs / own for theirs, own in pairs), 1),
            }
    print(json.dumps({"height": size[0], "width": size[1], "pairs": arguments.pairs, **report}, indent=2))


def _reference() -> Callable[..., np.ndarray]:
    try:
        import skimage  # noqa: F401
        from segmetric.metrics import db_eval_boundary
    except ImportError as error:
        raise SystemExit(f"error: {error}; install esdft-segmetric and scikit-image to compare with them.") from None
    return db_eval_boundary


def _object(size: tuple[int, int], seed: int) -> np.ndarray:
    """A disc with a ragged edge."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(y - size[0] / 2 - rng.normal(0, 4), x - size[1] / 2 - rng.normal(0, 4))
    return distance + cv2.GaussianBlur(rng.normal(size=size), (0, 0), 3) * 20 < np.sqrt(size[0] * size[1] / 20 / np.pi)


def _blobs(size: tuple[int, int], seed: int) -> np.ndarray:
    common, own = (np.random.default_rng(s).normal(size=size) for s in (seed // 10, 1000 + seed))
    return cv2.GaussianBlur(common + 0.3 * own, (0, 0), 12) > 0


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


if __name__ == "__main__":
    main()

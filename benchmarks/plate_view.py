"""What the model's view of a plate costs, by the plate's colour space: before the resize, and around it.

    python -m benchmarks.plate_view --size 1080x1920 --model 480x832

CPU-seconds of all threads a frame, float32 frames in memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from rem_engine.media.plate_colour import PlateColour
from rem_engine.media.plate_space import named_space
from rem_engine.segment.resize import frames_to_model

SPACES = ("linear", "aces", "acescg", "logc3", "pq", "hlg", "ADX10")
_TIMES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1080x1920", help="of the plate (1080x1920)")
    parser.add_argument("--model", default="480x832", help="what the model sees (480x832)")
    options = parser.parse_args()
    (height, width), size = (_size(text) for text in (options.size, options.model))
    frames = np.random.default_rng(0).random((1, height, width, 3), np.float32)
    print(f"{'space':8} view, then resize   resize, then view")
    for name in SPACES:
        colour = PlateColour(named_space(name))
        before = seconds(lambda: frames_to_model(colour.display(frames), size, False))  # noqa: B023
        around = seconds(lambda: frames_to_model(colour.roots(frames), size, False, colour.shown))  # noqa: B023
        print(f"{name:8} {before:17.3f} {around:19.3f}")


def _size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


def seconds(call: Callable[[], object]) -> float:
    """CPU-seconds of a call, after a first one."""
    call()
    start = time.process_time()
    for _ in range(_TIMES):
        call()
    return (time.process_time() - start) / _TIMES


if __name__ == "__main__":
    main()

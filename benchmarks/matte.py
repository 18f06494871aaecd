"""How fast mattes are made at 1920x1080, and whether memory stays flat along a shot.

    python -m benchmarks.matte --frames 40                      # the default settings
    python -m benchmarks.matte --frames 20 --smooth 2           # with smoothing along the motion
    python -m benchmarks.matte --frames 20 --decontaminate
    python -m benchmarks.matte --frames 20 --errs --side 512    # masks that err as a model's do
    python -m benchmarks.matte --frames 1000 --height 270 --width 480 --smooth 2

A textured disk moves over a textured ground that pans; its soft mask comes from 96x96 pixels, as REM-mini's does
(`--side 512` from those of REM). The frames are made beforehand and go round, and their making is not timed. Printed as
JSON: frames a second by the clock on the wall, which other work on the machine disturbs; processor seconds a frame,
which it disturbs less; the peak of resident memory after the first tenth of the frames and at the end; and what that is
above the memory that was resident before the stage began, with all frames that go round (null but on Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.matte_scenes import masks
from rem_engine.matte import Frame, MatteSettings, matte_frames
from rem_engine.memory import give_back_memory, peak_memory_mib

_MADE = 12  # frames there and back again
_STEP = 6  # pixels a frame at 1080 lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40, help="frames to put through (default 40)")
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--layers", type=int, default=1, help="masks a frame (default 1)")
    parser.add_argument("--side", type=int, default=96, help="pixels to either side that the model sees (default 96)")
    parser.add_argument("--errs", action="store_true", help="masks that are blurred, moved and noisy, as a model's are")
    parser.add_argument("--smooth", type=int, default=0, metavar="N", help="frames to either side (default 0, off)")
    parser.add_argument("--full", action="store_true", help="a mask that is unsure everywhere, as thin smoke")
    for name in ("refine", "grow", "feather", "fill-holes", "remove-islands"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="as in the matte settings")
    parser.add_argument("--decontaminate", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)

    names = ("refine", "grow", "feather", "fill_holes", "remove_islands")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    settings = MatteSettings(smooth=arguments.smooth, decontaminate=arguments.decontaminate, **given)
    made = [_frame(place, arguments) for place in range(_MADE)]
    round_trip = [*made, *made[-2:0:-1]]

    def frames(count: int) -> Iterator[Frame]:
        for index in range(count):
            frame = round_trip[index % len(round_trip)]
            yield Frame(index, frame.soft, frame.plate, cells=frame.cells)

    for _ in matte_frames(frames(2), settings, device=arguments.device):
        pass  # warm up
    peaks, before = [], _resident_mib()
    wall, processor = time.perf_counter(), time.process_time()
    for matte in matte_frames(frames(arguments.frames), settings, device=arguments.device):
        if matte.index + 1 in (max(1, arguments.frames // 10), arguments.frames):
            peaks.append(peak_memory_mib())
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    report = {
        "size": [arguments.height, arguments.width],
        "layers": arguments.layers,
        "side": arguments.side,
        "masks": "erring" if arguments.errs else "exact",
        "frames": arguments.frames,
        "smooth": settings.smooth,
        "other_than_default": given | ({"decontaminate": True} if settings.decontaminate else {}),
        "device": arguments.device,
        "threads": arguments.threads,
        "frames_a_second": round(arguments.frames / wall, 2),
        "processor_seconds_a_frame": round(processor / arguments.frames, 4),
        "peak_mib_after_a_tenth": peaks[0],
        "peak_mib": peaks[-1],
        "of_the_stage_mib": None if before is None or peaks[-1] is None else round(peaks[-1] - before, 1),
    }
    print(json.dumps(report, indent=2))


def _frame(place: int, arguments: argparse.Namespace) -> Frame:
    height, width = arguments.height, arguments.width
    step = round(place * _STEP * height / 1080)
    ground, body = (_texture(seed, height, width + round(_MADE * _STEP * height / 1080)) for seed in (0, 1))
    y, x = np.ogrid[:height, :width]
    alpha = np.clip(0.3 * height - np.hypot(y - height / 2, x - width / 2 - step), 0.0, 1.0).astype(np.float32)
    if arguments.full:
        alpha = 0.2 + 0.6 * _texture(2, height, width)[..., 0]
    colour = np.array([0.9, 0.5, 0.3], np.float32)
    plate = ground[:, step : step + width] * (1 - alpha[..., None]) + body[:, :width] * colour * alpha[..., None]
    side = arguments.side
    (small,) = masks(alpha[None], side, arguments.errs, (place,))
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    layers, cells = torch.from_numpy(soft).expand(arguments.layers, -1, -1), ((side, side),) * arguments.layers
    return Frame(place, layers, torch.from_numpy(plate), cells=cells)


def _resident_mib() -> float | None:
    """What is resident now, from where on the peak is counted anew; None where the system does not tell."""
    own = Path("/proc/self")
    if not (own / "clear_refs").exists():
        return None
    give_back_memory()
    (own / "clear_refs").write_text("5", "utf-8")
    return int((own / "statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def _texture(seed: int, height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(seed).random((height // 12 + 1, width // 12 + 1, 3), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)


if __name__ == "__main__":
    main()

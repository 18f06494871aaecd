"""Resident memory of `segment` on a short and on a long file: it should not grow with the shot.

    python benchmarks/memory.py --frames 100 1000
    python benchmarks/memory.py --frames 100 1000 --picture 180x320 -- --size 32x32 --write soft,exr,prores --smooth 2

Prints the peak of each process (VmHWM on Linux) and the ratio of the last to the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parents[1]


def write_shot(path: Path, frames: int, height: int, width: int) -> None:
    """A textured ground that drifts, with a bright disc crossing it."""
    noise = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    ground = noise.repeat(8, axis=0).repeat(8, axis=1)[:height, :width] // 2
    y, x = np.ogrid[:height, :width]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            frame = np.roll(ground, number, axis=1)
            frame[np.hypot(y - height / 2, x - number * 3 % width) < height / 8] = (230, 40, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000], metavar="N")
    parser.add_argument("--picture", default="720x1280", metavar="HxW", help="even sides, pixels (720x1280)")
    parser.add_argument("options", nargs="*", help="after --: options for `segment`, such as --model DIR --size 64x64")
    arguments = parser.parse_args()
    height, width = map(int, arguments.picture.split("x"))
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for frames in arguments.frames:
            shot, out = Path(folder) / f"{frames}.mp4", Path(folder) / f"{frames}"
            write_shot(shot, frames, height, width)
            command = [sys.executable, "-m", "rem_engine", "segment", str(shot), "-p", "the red circle", "-o", str(out)]
            start = time.perf_counter()
            subprocess.run([*command, *arguments.options], check=True, cwd=ROOT, capture_output=True)
            seconds = time.perf_counter() - start
            peaks.append(json.loads((out / "run.json").read_text("utf-8"))["peak_memory_mib"])
            print(
                f"{frames:5d} frames  {peaks[-1]:8.1f} MiB  {seconds:7.1f} s  {frames / seconds:5.1f} frames/s",
                flush=True,
            )
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()

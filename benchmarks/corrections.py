"""How long a turn of correction takes, and how much memory, by the command as people run it.

    python -m benchmarks.corrections --size 640x360 1920x1080 --frames 100
    python -m benchmarks.corrections --size 320x180 --frames 100 1000

The plate is the sample shot, scaled and played to and fro; REM-mini's masks of one thing are corrected by one mask,
then by a second one, then the last turn is taken back: each a process of its own, its start with it, masks alone
written. Printed as JSON: seconds by the clock and of processors, and the peak of its resident memory in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from fractions import Fraction
from multiprocessing import Process
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from rem_engine import open_shot
from rem_engine.media.shot import ShotInfo
from rem_engine.media.writing import VideoWriter
from rem_engine.pixels import to_uint8

SAMPLE = Path(__file__).parent.parent / "assets" / "sample_shot.mp4"
_FIRST = 1001
_GROWN = 9  # pixels of a mask of 360 lines: what an artist changed of it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["640x360", "1920x1080"], metavar="WxH")
    parser.add_argument("--frames", nargs="+", type=int, default=[100])
    arguments = parser.parse_args()
    reports = []
    for size in arguments.size:
        width, height = map(int, size.split("x"))
        for frames in arguments.frames:
            with TemporaryDirectory() as folder:
                reports.append({"size": size, "frames": frames} | measure(Path(folder), height, width, frames))
    print(json.dumps(reports, indent=2))


def measure(folder: Path, height: int, width: int, frames: int) -> dict[str, dict[str, float]]:
    """Seconds and MiB of each step."""
    plate, out = folder / "plate.mp4", folder / "out"
    # In a process of its own: what a command is said to peak at is at least what the process that starts it has.
    making = Process(target=write_plate, args=(plate, height, width, frames))
    making.start()
    making.join()
    if making.exitcode:
        raise SystemExit("The plate could not be made.")
    told = {"segment": run("segment", plate, "-p", "circle: the orange circle", "--write", "soft", "-o", out)}
    for turn, share in enumerate((0.3, 0.8), 1):
        number = _FIRST + round(share * (frames - 1))
        told[f"turn {turn}"] = run("correct", out, "--keys", painted(out, number, folder))
    told["undo"] = run("correct", out, "--undo")
    told["suggest"] = run("correct", out, "--suggest", 3)
    return told


def write_plate(path: Path, height: int, width: int, frames: int) -> None:
    with open_shot(SAMPLE) as shot:
        pictures = [
            cv2.resize(to_uint8(frame), (width, height), interpolation=cv2.INTER_CUBIC)
            for frame in shot.read(0, shot.frame_count)
        ]
    order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    writer = VideoWriter(path, ShotInfo(height, width, Fraction(24)))
    for place in range(frames):
        writer.write(pictures[order[place % len(order)]])
    writer.close()


def painted(out: Path, number: int, folder: Path) -> Path:
    """The mask of a frame, grown, as a file."""
    (file,) = out.glob(f"circle/soft/*.{number}.png")
    mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    side = 2 * round(_GROWN * mask.shape[0] / 360 / 2) + 1
    path = folder / f"key.{number}.png"
    grown = cv2.dilate((mask > 32767).astype(np.uint8) * 255, np.ones((side, side), np.uint8))
    cv2.imwrite(str(path), grown)
    return path


def run(command: str, *arguments: object) -> dict[str, float]:
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "rem_engine", command, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    told = process.stderr.read().decode() if process.stderr else ""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(told)
    return {
        "seconds": round(time.monotonic() - started, 1),
        "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "MiB": round(used.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()

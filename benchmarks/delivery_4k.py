"""What a frame of 4096x2160 costs on its way into EXR, ProRes and alpha PNG: seconds and memory, checkouts in pairs.

    python benchmarks/delivery_4k.py                              # this checkout
    python benchmarks/delivery_4k.py --repo ../before . --pairs 3  # one after the other, turn by turn
    python benchmarks/delivery_4k.py --plate png -- --refine 0    # options of `matte`
    python benchmarks/delivery_4k.py --lines 1080 --write alpha -- --model-size 512

Runs `python -m rem_engine matte` on a plate (half EXR, or 8-bit PNG) with grain and two moving discs, 16-bit PNGs whose
ramps are as wide as those of a model's masks that were scaled up (--ramp).
Every run is a process of its own; printed are its wall clock and processor seconds a frame less those of a run of one
frame, and its peak of resident memory. Files go to a temporary folder and are removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import OpenEXR

WIDTHS = {2160: 4096, 1080: 1920}


def write_shot(folder: Path, frames: int, kind: str, ramp: float, height: int) -> None:
    width = WIDTHS[height]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(0)
    for layer in ("a", "b"):
        (folder / layer).mkdir(parents=True)
    (folder / "plate").mkdir()
    for index in range(frames):
        smooth = np.stack([x / width, y / height, (x + y) / (height + width)], axis=-1)
        light = (smooth**2 * (1 + rng.normal(0, 0.04, smooth.shape))).astype(np.float16)
        file = folder / "plate" / f"plate.{1001 + index}.{kind}"
        if kind == "exr":
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, {"RGB": light}).write(str(file))
        else:
            cv2.imwrite(str(file), (light.clip(0, 1) ** 0.45 * 255).astype(np.uint8))
        for place, layer in ((0.35, "a"), (0.6, "b")):
            distance = np.hypot(y - height / 2, x - place * width - 10 * index)
            soft = np.clip(0.5 + (0.25 * height - distance) / ramp, 0, 1)
            cv2.imwrite(str(folder / layer / f"m.{1001 + index}.png"), (soft * 65535).astype(np.uint16))


def run(repo: Path, shot: Path, frames: int, kinds: str, options: list[str]) -> tuple[float, float, float]:
    """(seconds, processor seconds, MiB) of a run over the first frames."""
    out = shot / "out"
    shutil.rmtree(out, ignore_errors=True)
    given = [part for layer in ("a", "b") for part in ("--masks", f"{layer}={shot / layer}")]
    command = [sys.executable, "-m", "rem_engine", "matte", str(shot / "plate"), *given, "-o", str(out)]
    command += ["--write", kinds, "--frames", f"1001-{1000 + frames}", *options]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} in {repo} failed.")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, nargs="+", default=[Path(__file__).parents[1]], help="checkouts")
    parser.add_argument("--frames", type=int, default=5, help="of the longer run (default 5)")
    parser.add_argument("--pairs", type=int, default=1, help="turns, of which the median is told (default 1)")
    parser.add_argument("--plate", choices=("exr", "png"), default="exr")
    parser.add_argument("--ramp", type=float, default=32.0, help="width of the masks' edges in pixels (default 32)")
    parser.add_argument("--lines", type=int, choices=sorted(WIDTHS), default=2160, help="of the plate (default 2160)")
    parser.add_argument("--write", default="exr,prores,alpha", help="kinds of files (default exr,prores,alpha)")
    parser.add_argument("options", nargs="*", help="after --: options of `matte`")
    arguments = parser.parse_args()
    found: dict[Path, list[tuple[float, float, float]]] = {repo: [] for repo in arguments.repo}
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: what a run is said to peak at is at least what the process that starts it peaked at.
        shot = (Path(folder), arguments.frames, arguments.plate, arguments.ramp, arguments.lines)
        making = Process(target=write_shot, args=shot)
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit("The shot could not be made.")
        for turn in range(arguments.pairs):
            for repo in arguments.repo[:: 1 if turn % 2 == 0 else -1]:
                short = run(repo, Path(folder), 1, arguments.write, arguments.options)
                long = run(repo, Path(folder), arguments.frames, arguments.write, arguments.options)
                wall, processor = ((long[i] - short[i]) / (arguments.frames - 1) for i in (0, 1))
                found[repo].append((wall, processor, long[2]))
                print(f"{repo}: {wall:.2f} s, {processor:.2f} CPU-s a frame, {long[2]:.0f} MiB", flush=True)
    for repo, figures in found.items():
        wall, processor, peak = (median(column) for column in zip(*figures, strict=True))
        print(f"median of {repo}: {wall:.2f} s, {processor:.2f} CPU-s a frame, {peak:.0f} MiB")


if __name__ == "__main__":
    main()

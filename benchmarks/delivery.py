"""How quickly mattes are written in each format, and whether memory stays flat over a long shot.

    python -m benchmarks.delivery --frames 24
    python -m benchmarks.delivery --frames 0 --long 1000

The plate is a smooth picture with film grain, the matte a moving disc with a grainy soft edge: grain is what costs time
in every format. Files go to a temporary folder and are removed. CPU-seconds are those of all threads.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rem_engine.matte import Frame
from rem_engine.media.colour import linear_to_srgb
from rem_engine.media.numbering import counted
from rem_engine.media.shot import ShotInfo
from rem_engine.memory import peak_memory_mib
from rem_engine.run.delivery import Delivery
from rem_engine.run.delivery_settings import DeliverySettings

RATE = Fraction(24)
SETTINGS: tuple[dict[str, Any], ...] = (
    {"kinds": ("prores",)},
    {"kinds": ("prores",), "premultiplied": True},
    {"kinds": ("webm",)},
    {"kinds": ("alpha",)},
    {"kinds": ("png16",)},
    *({"kinds": ("exr",), "exr_compression": compression} for compression in ("zip", "zips", "piz", "dwaa", "none")),
    {"kinds": ("exr",), "exr_type": "float"},
    *({"kinds": ("exr",), "exr_form": form} for form in ("premultiplied", "matte")),
)
_SETTLED = 100  # frames after which encoders have all the buffers they will ever have


def render(count: int, height: int, width: int) -> list[Frame]:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rng = np.random.default_rng(0)
    frames = []
    for index in range(count):
        smooth = np.stack([x / width, y / height, (x + y) / (height + width)], axis=-1)
        linear = (smooth**2 * (1 + rng.normal(0, 0.04, smooth.shape))).astype(np.float32)
        edge = 1.5 - np.hypot(y - height / 2, x - width / 2 - 5 * index) / (0.25 * height)
        alpha = edge + (edge > 0) * (edge < 1) * rng.normal(0, 0.02, edge.shape)
        alpha = torch.from_numpy(alpha[None].clip(0, 1).astype(np.float32))
        display = torch.from_numpy(linear_to_srgb(linear))
        frames.append(Frame(index, alpha, display, torch.from_numpy(linear), alpha))
    return frames


def write(out: Path, frames: list[Frame], count: int, settings: DeliverySettings) -> list[float | None]:
    """Write `count` frames, those given over and over; peak memory so far, MiB, after each."""
    height, width = frames[0].alpha.shape[1:]
    delivery = Delivery(out, counted("shot", count), ["matte"], ShotInfo(height, width, RATE), settings)
    peaks = []
    for index in range(count):
        frame = frames[index % len(frames)]
        delivery.write(replace(frame, index=index))
        peaks.append(peak_memory_mib())
    delivery.close()
    return peaks


def speed(frames: list[Frame], count: int) -> None:
    height, width = frames[0].alpha.shape[1:]
    print(f"{width}x{height}, {count} frames")
    for given in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            write(Path(folder), frames, count, DeliverySettings(**given))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        name = " ".join(
            str(value if name != "premultiplied" else name) for name, value in given.items() if name != "kinds"
        )
        print(
            f"{given['kinds'][0]:7s} {name:14s} {count / wall:6.1f} frames/s {cpu / count:7.3f} CPU-s/frame "
            f"{size / count / 2**20:6.2f} MiB/frame",
            flush=True,
        )


def memory(frames: list[Frame], count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        peaks = write(Path(folder), frames, count, DeliverySettings(kinds=("prores", "exr", "alpha")))
    print(f"ProRes, EXR and alpha: peak {peaks[_SETTLED - 1]} MiB after {_SETTLED} frames, {peaks[-1]} after {count}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24, help="frames for each speed; 0 for none (default 24)")
    parser.add_argument("--long", type=int, default=0, help="frames for memory, at 320x180; 0 for none (default)")
    arguments = parser.parse_args()
    if arguments.frames:
        speed(render(3, 1080, 1920), arguments.frames)
    if arguments.long:
        memory(render(3, 180, 320), max(arguments.long, _SETTLED))


if __name__ == "__main__":
    main()

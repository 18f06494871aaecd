"""What `convert` costs beside `cp`: seconds and peak resident memory, for a file with layers of Wan2.1 14B's size.

    python -m benchmarks.convert --gigabytes 6 --folder /somewhere/with/space

Makes a denoiser of as many blocks as fit (attention in float32, the rest in bfloat16, as the authors' trainer leaves
them) as .safetensors and as .pth, and then, in turn, copies and converts each. Peaks are VmHWM of the whole process
(Linux), and stand beside those of a bare interpreter, without and with torch.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from rem_engine.checkpoints import read_state_dict
from rem_engine.checkpoints.architecture import text_to_video_shapes
from rem_engine.checkpoints.safetensors_file import Writer

ROOT = Path(__file__).parents[1]
WIDTH = 5120
FEED_FORWARD = 13952  # Wan2.1 14B has 13824, with which a file of few blocks would be taken for a truncated one


class _Shape:
    def __init__(self, *shape: int) -> None:
        self.shape = shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--pairs", type=int, default=2, help="runs of each kind (2)")
    parser.add_argument("--folder", type=Path, help="where to put three times as much (a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        model = folder / "model.safetensors"
        write_model(model, arguments.gigabytes * 1e9)
        report = {
            "bytes": model.stat().st_size,
            "peak_mib": {
                "bare interpreter": peak_of([sys.executable, "-c", "import time; time.sleep(0.5)"]),
                "interpreter with torch": peak_of([sys.executable, "-c", "import torch, time; time.sleep(0.5)"]),
            },
        }
        for source in (model, folder / "model.pth"):
            if source.suffix == ".pth":
                torch.save({"model_state": read_state_dict(model), "epoch": 0}, source)
                model.unlink()
            for dtype in ("keep", "bfloat16"):
                report[f"{source.suffix} to {dtype}"] = compare(source, dtype, arguments.pairs)
    print(json.dumps(report, indent=2))


def compare(source: Path, dtype: str, pairs: int) -> dict[str, float]:
    """Medians of copying and converting in turn; the file is read once before, so that both find it in memory."""
    copied, out = source.with_name("copied"), source.with_name("converted.safetensors")
    command = [sys.executable, "-m", "rem_engine", "convert", str(source), "-o", str(out), "--dtype", dtype]
    seconds: dict[str, list[float]] = {"cp": [], "convert": []}
    processor: dict[str, list[float]] = {"cp": [], "convert": []}
    peaks = []
    with open(source, "rb") as file, open(os.devnull, "wb") as nowhere:
        shutil.copyfileobj(file, nowhere, 1 << 24)
    for _ in range(pairs):
        for name, run in (("cp", ["cp", str(source), str(copied)]), ("convert", command)):
            os.sync()
            start, spent = time.perf_counter(), processor_seconds()
            peak = peak_of(run)
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(processor_seconds() - spent)
            if name == "convert":
                peaks.append(peak)
            (copied if name == "cp" else out).unlink()
    cp, convert = (statistics.median(seconds[name]) for name in ("cp", "convert"))
    return {
        "cp_seconds": round(cp, 2),
        "convert_seconds": round(convert, 2),
        "speed_of_cp": round(cp / convert, 2),
        "cp_processor_seconds": round(statistics.median(processor["cp"]), 2),
        "convert_processor_seconds": round(statistics.median(processor["convert"]), 2),
        "peak_mib": max(peaks),
    }


def processor_seconds() -> float:
    """Of all processes run so far: other work on the machine disturbs them less than the clock on the wall."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak_of(command: Sequence[str]) -> float:
    """Run a command; its peak resident memory, MiB."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        peak = int(lines[0].split()[1]) if lines else peak  # a process that has ended has none
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed.")
    return round(peak / 1024, 1)


def write_model(path: Path, size: float) -> None:
    """A denoiser of random numbers, of at least so many bytes."""
    blocks = 1
    while sum(count_bytes(*item) for item in shapes(blocks).items()) < size:
        blocks += 1
    noise = torch.randn(1 << 20)
    with open(path, "wb") as file:
        tensors = shapes(blocks)
        writer = Writer(file, tensors, {})
        for name, shape in sorted(tensors.items(), key=lambda item: -dtype_of(item[0]).itemsize):
            left, parts = torch.Size(shape).numel(), []
            while left:
                parts.append(noise[:left].to(dtype_of(name)))
                left -= len(parts[-1])
            writer.add(name, dtype_of(name), shape, parts)
        writer.finish()


def shapes(blocks: int) -> dict[str, tuple[int, ...]]:
    known = {
        "patch_embedding.weight": _Shape(WIDTH, 16, 1, 2, 2),
        "blocks.0.ffn.0.weight": _Shape(FEED_FORWARD, WIDTH),
        f"blocks.{blocks - 1}.modulation": _Shape(1, 6, WIDTH),
    }
    return text_to_video_shapes(known)


def count_bytes(name: str, shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel() * dtype_of(name).itemsize


def dtype_of(name: str) -> torch.dtype:
    return torch.float32 if "_attn." in name else torch.bfloat16


if __name__ == "__main__":
    main()

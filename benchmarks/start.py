"""From the command line to the first mask, and to the end of a run: `make demo`, by each way of drawing masks.

    python -m benchmarks.start --pairs 2

Each run is a process of its own, in turn: with the VAE as diffusers calls it, four frames at a time; with the engine's
VAE in one pass; and with the mask decoder. Printed as JSON are the medians of the seconds until the first mask lies on
disk and until the process has ended, by the clock, of processor time in all, which other work on the machine disturbs
less, of the seconds that the engine counts to its stages, and of peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROMPTS = ("the smoke", "the red star", "the orange circle")

_MAIN = "import sys; from rem_engine.commands.cli import main; sys.exit(main(sys.argv[1:]))"
_BY_DIFFUSERS = f"from rem_engine.backbones import wan; wan.takes_one_pass = lambda vae: False; {_MAIN}"
_WAYS = {"vae, by diffusers": (_BY_DIFFUSERS, "vae"), "vae": (_MAIN, "vae"), "mask": (_MAIN, "mask")}
_LOOKS_EVERY = 0.02  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shot", default="assets/sample_shot.mp4")
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--pairs", type=int, default=2, help="runs of each way, in turn (default 2)")
    arguments = parser.parse_args()

    measured: dict[str, list[dict[str, float]]] = {name: [] for name in _WAYS}
    for _ in range(arguments.pairs):
        for name, (code, decoder) in _WAYS.items():
            measured[name].append(_run(code, arguments.shot, arguments.prompts, decoder))
    medians = {
        name: {key: round(statistics.median(one[key] for one in runs), 2) for key in runs[0]}
        for name, runs in measured.items()
    }
    print(json.dumps(medians, indent=2))


def _run(code: str, shot: str, prompts: Sequence[str], decoder: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        asked = [argument for prompt in prompts for argument in ("-p", prompt)]
        command = [sys.executable, "-c", code, "segment", shot, *asked, "-o", str(out), "--decoder", decoder]
        start, before = time.perf_counter(), _processor_seconds()
        first: float | None = None
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if first is None and next(out.glob("*/masks/*.png"), None) is not None:
                    first = time.perf_counter() - start
                time.sleep(_LOOKS_EVERY)
        whole = time.perf_counter() - start
        if process.returncode or first is None:
            raise RuntimeError(f"The run with decoder {decoder} failed: {' '.join(command)}")
        told: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    stages = {f"stage {name}": seconds for name, seconds in told["seconds"].items()}
    return {
        "first mask": first,
        "whole": whole,
        "processor": _processor_seconds() - before,
        "peak MiB": told["peak_memory_mib"],
        **stages,
    }


def _processor_seconds() -> float:
    """Of all processes that have ended here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

"""What MeViS' start-up takes: memory and seconds of a process that opens a split, beside the size of its JSON files.

    python -m benchmarks.open_mevis
    python -m benchmarks.open_mevis --videos 400

A split of the published form is written, without pictures: 1,600 videos of 60 frames, 14 sentences and four
annotations each, with run lengths of 230 characters for every frame. It is opened in processes of their own: as the
trainer does, which keeps the places of run lengths alone, and with both files read whole. Counted is what resident
memory grows by beyond Python and its packages, at its peak (VmHWM of Linux) and when all is open (VmRSS).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

FRAMES, SENTENCES, ANNOTATIONS, RUNS = 60, 14, 4, 230
_MEMORY = """
def kib(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
"""
_OPENED = f"""
import json, sys, time
from pathlib import Path
from trainer.data.mevis import Mevis
{_MEMORY}
root = Path(sys.argv[1])
before, start = kib("VmRSS:"), time.process_time()
WAY
print(json.dumps([kib("VmHWM:") - before, kib("VmRSS:") - before, time.process_time() - start]))
"""
_WAYS = {
    "as the trainer opens it": "held = Mevis(root)",
    "both files read whole": "held = [json.loads(path.read_bytes()) for path in (root / 'train').glob('*.json')]",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1600, help="in the split (default 1600)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = write_split(Path(folder), arguments.videos)
        print(f"{arguments.videos} videos, {size / 2**20:.0f} MiB of JSON")
        for name, code in _WAYS.items():
            command = [sys.executable, "-c", _OPENED.replace("WAY", code), folder]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            peak, kept, seconds = json.loads(ran.stdout)
            print(
                f"{name:24}  peak {1024 * peak / size:.2f} and afterwards {1024 * kept / size:.2f} times its size, "
                f"{seconds:.1f} s of a processor"
            )


def write_split(root: Path, videos: int) -> int:
    """Write `train` of a MeViS without pictures; returns the size of its JSON files, bytes."""
    rng = np.random.default_rng(0)
    names = [f"{t:05d}" for t in range(FRAMES)]
    spoken, masks = {}, {}
    for video in range(videos):
        numbers = range(video * ANNOTATIONS, (video + 1) * ANNOTATIONS)
        for number in numbers:
            counts = rng.integers(48, 91, (FRAMES, RUNS), np.uint8)
            masks[str(number)] = [{"size": [720, 1280], "counts": each.tobytes().decode()} for each in counts]
        sentences = {
            str(place): {"exp": f"the thing {place} moving left", "anno_id": [numbers[place % ANNOTATIONS]]}
            for place in range(SENTENCES)
        }
        spoken[f"video{video}"] = {"expressions": sentences, "frames": names}
    folder = root / "train"
    folder.mkdir(parents=True)
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": spoken}), encoding="utf-8")
    (folder / "mask_dict.json").write_text(json.dumps(masks), encoding="utf-8")
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    main()

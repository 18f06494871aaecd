"""The tables of docs/corrections.md: what corrections reach, by `python -m trainer interactive`.

    python -m benchmarks.corrections_table --work DIR --clips CLIPS
    python -m benchmarks.corrections_table --work DIR --rows suggest60 real25      # some of them, in a second process

Shots are rendered into DIR at the model's size, of a seed that nothing was chosen on, and a report a row is kept beside
them: the same command goes on where it was stopped. What is there is printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rem_engine.backbones.load import load_backbone
from trainer.commands.cli import main as trainer

# Frames of a shot, and how its sentences are corrected.
ROWS: dict[str, tuple[int, list[str]]] = {
    "suggest25": (25, []),
    "even25": (25, ["--frames", "even"]),
    "wrong25": (25, ["--frames", "even", "--start", "wrong", "--rounds", "1"]),
    "nothing25": (25, ["--frames", "even", "--start", "nothing", "--rounds", "1,2"]),
    "hand25": (25, ["--frames", "even", "--keys", "hand"]),
    "real25": (25, []),
    "even60": (60, ["--frames", "even"]),
    "suggest60": (60, []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--decoder", choices=("vae", "mask"), default="mask")
    parser.add_argument(
        "--clips", type=Path, help="folder of videos, for the backgrounds of half of the shots of real25"
    )
    parser.add_argument("--shots", type=int, default=30)
    parser.add_argument("--seed", type=int, default=9801)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
    arguments = parser.parse_args()
    size = "x".join(map(str, load_backbone(arguments.model, device="cpu").default_size))
    for row in arguments.rows:
        frames, options = ROWS[row]
        is_real = row.startswith("real")
        if is_real and arguments.clips is None:
            continue
        shots = arguments.work / f"{'real' if is_real else 'shots'}_{frames}"
        if not shots.is_dir():
            made = ["--out", str(shots), "--count", str(arguments.shots), "--seed", str(arguments.seed + frames)]
            clips = ["--clips", str(arguments.clips)] if is_real else []
            if trainer(["synth", *made, "--frames", str(frames), "--size", size, *clips]):
                raise SystemExit(f"{shots} could not be rendered.")
        out = arguments.work / f"{row}.json"
        model = ["--model", str(arguments.model), "--decoder", arguments.decoder, "--out", str(out)]
        if trainer(["interactive", "--data", str(shots), *model, *options]):
            raise SystemExit(f"{row} could not be measured.")
    print(table(arguments.work))


def table(work: Path) -> str:
    """The rows that there are."""
    names = ("J_base", "J_carried", "J", "error_base", "error", "flicker_base", "flicker", "seconds")
    lines = [f"| row | sentences | masks given | of | {' | '.join(names)} |", "|---" * (len(names) + 4) + "|"]
    for row in ROWS:
        file = work / f"{row}.json"
        if not file.is_file():
            continue
        report = json.loads(file.read_text("utf-8"))
        for given, groups in report["rounds"].items():
            for group, values in groups.items():
                figures = " | ".join(f"{values[name]:.4f}" for name in names)
                lines.append(f"| {row} | {report['sentences']} | {given} | {group} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""How much of REM-mini a LoRA keeps, by its rank: writes docs/lora-rank.md and docs/images/lora-rank.png.

    python -m benchmarks.lora_rank

Renders shots, extracts LoRAs of every rank from REM-mini and the text-to-video weights it was fine-tuned from, lays
them over those weights, and scores each (J, as `python -m trainer score`).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from rem_engine import load_segmenter
from rem_engine.backbones.base import WAN
from rem_engine.backbones.configuration import read_defaults
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.checkpoints.convert import Conversion, convert
from trainer.mini.pool import mixed_plates
from trainer.synth.score import score
from trainer.synth.write import write_split

ROOT = Path(__file__).parents[1]
RANKS = (1, 4, 16, 32, 64, 96, 128, 192)
KEPT_ENOUGH = 0.97
SEED = 100  # training uses 1


@dataclass(frozen=True)
class RankResult:
    """One file: its rank, size in bytes, share of the change's energy it keeps, and J (all, objects, processes)."""

    name: str
    size: int
    energy_kept: float
    scores: dict[str, float]

    @property
    def j(self) -> float:
        return self.scores["J"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=60, help="shots to score on (60)")
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS, metavar="R")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder to write to (docs)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name), arguments.shots, sorted(arguments.ranks))
    (arguments.docs / "images").mkdir(parents=True, exist_ok=True)
    text = describe(rows, arguments.shots)
    (arguments.docs / "lora-rank.md").write_text(text, encoding="utf-8")
    draw(rows, arguments.docs / "images" / "lora-rank.png")
    print(text)


def measure(folder: Path, shots: int, ranks: Sequence[int]) -> list[RankResult]:
    """Rows of the base alone, every rank, and the delta, which is REM-mini."""
    trained = read_defaults(MINI_FOLDER, WAN)
    (height, width), frames = trained["default_size"], trained["default_window"]
    data = folder / "shots"
    write_split(data, shots, SEED, mixed_plates(None, 0.5), frames=frames, height=height, width=width, unseen=False)
    base = next((MINI_FOLDER / "t2v").glob("*.safetensors"))
    model = text_to_video_folder(folder / "model", base)

    def row(name: str, checkpoint: Path | None, energy_kept: float) -> RankResult:
        size = 0 if checkpoint is None else checkpoint.stat().st_size
        return RankResult(name, size, energy_kept, score(load_segmenter(model, checkpoint=checkpoint), data))

    rows = [row("0", None, 0.0)]
    for form, rank in [*(("lora", rank) for rank in ranks), ("delta", 1)]:
        out = folder / f"{form}.safetensors"
        summary = convert(
            Conversion(MINI_FOLDER / "transformer", out, dtype=torch.float16, form=form, base=base, rank=rank)
        )
        rows.append(row("all" if form == "delta" else str(rank), out, summary.energy_kept))
    return rows


def text_to_video_folder(folder: Path, weights: Path) -> Path:
    """REM-mini's folder with the weights it was fine-tuned from in the denoiser's place."""
    shutil.copytree(MINI_FOLDER, folder, ignore=shutil.ignore_patterns("t2v"))
    for file in (folder / "transformer").glob("*.safetensors"):
        file.unlink()
    shutil.copy(weights, folder / "transformer")
    return folder


def enough(rows: Sequence[RankResult]) -> str:
    """The rank from which on a LoRA keeps 97 % of J; "all" where none does."""
    whole = rows[-1].j
    found = rows[-1].name
    for row in reversed(rows):
        if row.j < KEPT_ENOUGH * whole:
            break
        found = row.name
    return found


def describe(rows: Sequence[RankResult], shots: int) -> str:
    """docs/lora-rank.md."""
    rank, whole = enough(rows), rows[-1]
    found = f"Rank {rank} keeps" if rank != "all" else "No rank below the whole change keeps"
    measures = [name for name in ("J", "J_objects", "J_processes", "referring_accuracy") if name in whole.scores]
    heads = {"J_objects": "J of objects", "J_processes": "J of processes", "referring_accuracy": "referring accuracy"}
    lines = [
        "# REM as a LoRA: what a rank keeps",
        "",
        "`python -m rem_engine convert --as lora` keeps the low-rank part of what REM changed of its text-to-video",
        "base, and norms, biases and modulation whole. How much of REM that is was measured on REM-mini, whose base is",
        f"bundled too, on {shots} rendered shots (`python -m benchmarks.lora_rank --shots {shots}` does it again).",
        "",
        f"**{found} {percent(KEPT_ENOUGH, 0)} of J.** Energy is the share of the change's squared Frobenius norm.",
        "Rank 0 is the base alone, and *all* the whole change (`--as delta`); files are in float16.",
        "",
        "![J against rank](images/lora-rank.png)",
        "",
        f"| rank | file, MB | energy kept | {' | '.join(heads.get(name, name) for name in measures)} | J of REM's |",
        "|" + "---|" * (len(measures) + 4),
    ]
    for row in rows:
        values = " | ".join(f"{row.scores[name]:.3f}" for name in measures)
        begin = f"| {row.name} | {row.size / 1e6:.1f} | {percent(row.energy_kept)}"
        lines.append(f"{begin} | {values} | {percent(row.j / whole.j)} |")
    lines += [
        "",
        "Where the factors would be no smaller than the weight, the weight's whole difference is stored: of REM-mini's",
        "weights, 256 wide, the first from rank 128 on. Wan2.1-14B is 5120 wide: ranks do not carry over from one to",
        "the other, and the 14B weights have not been measured. The report that `convert` writes beside a LoRA says",
        "what each layer of yours keeps.",
        "",
    ]
    return "\n".join(lines)


def percent(share: float, digits: int = 1) -> str:
    return f"{share * 100:.{digits}f} %"


def draw(rows: Sequence[RankResult], path: Path) -> None:
    """J against rank, with 97 % of the whole as a line."""
    width, height, scale = 720, 420, 2  # drawn larger, so that lines come out smooth
    left, right, top, bottom = 70, 30, 40, 60
    image = Image.new("RGB", (width * scale, height * scale), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(13 * scale)
    highest = max(row.j for row in rows) * 1.12

    def at(index: float, j: float) -> tuple[float, float]:
        x = left + index * (width - left - right) / (len(rows) - 1)
        return x * scale, (height - bottom - j / highest * (height - top - bottom)) * scale

    def text(place: tuple[float, float], words: str, anchor: str, colour: str = "#444444") -> None:
        pen.text(place, words, fill=colour, font=font, anchor=anchor)

    for tenth in range(int(highest * 10) + 1):
        start, stop = at(0, tenth / 10), at(len(rows) - 1, tenth / 10)
        pen.line([start, stop], fill="#e3e3e3", width=scale)
        text((start[0] - 10 * scale, start[1]), f"{tenth / 10:.1f}", "rm")
    limit = KEPT_ENOUGH * rows[-1].j
    pen.line([at(0, limit), at(len(rows) - 1, limit)], fill="#c8452f", width=scale)
    x, y = at(0, limit)
    text((x + 6 * scale, y - 6 * scale), f"{percent(KEPT_ENOUGH, 0)} of REM-mini's J", "lb", "#c8452f")
    points = [at(index, row.j) for index, row in enumerate(rows)]
    pen.line(points, fill="#1f5fa8", width=3 * scale, joint="curve")
    for row, (x, y) in zip(rows, points):
        pen.ellipse([x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale], fill="#1f5fa8")
        text((x, y - 9 * scale), f"{row.j:.2f}", "mb", "#1f5fa8")
        text((x, (height - bottom + 10) * scale), row.name, "mt")
    text((width / 2 * scale, (height - 14) * scale), "rank", "mb")
    text((left * scale, 14 * scale), "J", "mt")
    image.resize((width, height), Image.Resampling.LANCZOS).save(path, optimize=True)


if __name__ == "__main__":
    main()

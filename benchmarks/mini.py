"""Every figure of REM-mini's card and of docs/rem-mini.md, from the weights that are shipped.

    python -m benchmarks.mini                          # scores into build/mini-figures; run again it goes on
    python -m benchmarks.mini --write                  # and puts them into docs/data/rem-mini.json and both pages
    python -m benchmarks.mini --model FOLDER           # another model, such as one in training
    python -m benchmarks.mini --seed 4400 --shots 30   # on other shots: how far a sample of this size can be trusted

Shots are rendered over procedural plates at the model's own size, of four splits: the plain world and the rich one,
seen and unseen combinations; the seed of each is one on from that of the one before. Masks through the VAE alone, which
bound what the denoiser can reach, are those of the rich shots. Tables are written by `docs.make_mini_card`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from docs.make_mini_card import DATA, SPLITS, weights_hash, write_pages
from rem_engine import Segmenter, load_segmenter
from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.metrics import region_similarity
from rem_engine.whole_files import written_whole
from trainer.synth.backgrounds import procedural
from trainer.synth.score import score
from trainer.synth.write import read_split, write_split

SEED = 73100
"""Of the first split; nothing was trained on these seeds, chosen by them or looked at before."""
SHOTS, FRAMES = 60, 9
RICH = "rich-seen"
"""The split whose masks go through the VAE."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="'mini' or a model folder (default mini)")
    parser.add_argument("--shots", type=int, default=SHOTS, help=f"a split (default {SHOTS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the first split (default {SEED})")
    parser.add_argument("--work", type=Path, default=Path("build/mini-figures"), help="folder of shots and scores")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--write", action="store_true", help="write docs/data/rem-mini.json and both pages")
    arguments = parser.parse_args()
    if arguments.write and (arguments.model, arguments.shots, arguments.seed) != ("mini", SHOTS, SEED):
        parser.error("what is written is of the shipped weights and of these shots: leave out --model, --shots, --seed")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    figures = measured(arguments.model, arguments.shots, arguments.seed, arguments.work)
    print(json.dumps(figures, indent=1))
    if arguments.write:
        DATA.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(DATA) as temporary:
            temporary.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_pages()


def measured(model: str, shots: int, seed: int, work: Path) -> dict[str, Any]:
    """Scores of all splits, and of the VAE; what `work` holds of these weights and shots is not made again."""
    segmenter, folder = load_segmenter(model), MINI_FOLDER if model == "mini" else Path(model)
    size = segmenter.backbone.default_size
    of_shots = f"{size[0]}x{size[1]}-{shots}"
    work.mkdir(parents=True, exist_ok=True)
    splits: dict[str, Any] = {}
    for place, (name, (world, unseen)) in enumerate(SPLITS.items()):
        data = work / f"{name}-{of_shots}-{seed + place}"
        if not data.exists():
            frame = {"frames": FRAMES, "height": size[0], "width": size[1]}
            write_split(data, shots, seed + place, procedural, **frame, unseen=unseen, world=world)
        if name == RICH:
            of_vae = weights_hash(folder, ["VAE"])
            vae = _kept(work / f"vae-{of_vae[:12]}-{data.name}.json", partial(through_the_vae, segmenter, data))
        kept = work / f"{weights_hash(folder)[:12]}-{data.name}.json"
        splits[name] = _kept(kept, partial(score, segmenter, data))
    about = {"weights": weights_hash(folder), "size": [*size], "frames": FRAMES, "shots": shots, "seed": seed}
    return {**about, "splits": splits, "vae": vae}


def _kept(file: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What a file holds, or else what is measured now, to four digits."""
    if not file.exists():
        figures = {name: round(value, 4) for name, value in measure().items()}
        file.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    found: dict[str, float] = json.loads(file.read_text("utf-8"))
    return found


@torch.no_grad()
def through_the_vae(segmenter: Segmenter, data: Path) -> dict[str, float]:
    """J of exact masks, as REM encodes them, that the VAE alone encoded and decoded; of things, processes and thin
    ones."""
    found: dict[str, list[float]] = {}
    for entry in read_split(data):
        for index, thing in enumerate(entry.things):
            exact = entry.ids == index + 1
            clip = torch.from_numpy(exact.astype(np.float32))[:, None].repeat(1, 3, 1, 1)
            drawn = segmenter.backbone.decode_masks(segmenter.backbone.encode_video(clip)).mean(dim=1).cpu().numpy()
            similarity = float(region_similarity(drawn > 0.5, exact).mean())
            kinds = ["J", "J_processes" if thing.is_process else "J_attached" if thing.colour is None else "J_objects"]
            for kind in kinds + ["J_thin"] * thing.is_thin:
                found.setdefault(kind, []).append(similarity)
    return {kind: float(np.mean(values)) for kind, values in found.items()} | {"masks": len(found["J"])}


if __name__ == "__main__":
    main()

"""`python -m trainer sample`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rem_engine.commands.command_line import a_path
from rem_engine.media.numbering import parse_range

from .arguments import seed as a_seed


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `sample` to the command line."""
    sample = commands.add_parser(
        "sample",
        help="make the shot the pack ships",
        description="Composite rendered things over a clip (Big Buck Bunny in the shipped one), encode it, and list "
        "beside it, as JSON, what it shows and what a model finds of it.",
    )
    sample.add_argument(
        "--clip", type=a_path, help="video of at least 112 frames, 16:9; without it, the list of --out is made anew"
    )
    what = sample.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=a_path, help="file to write, such as assets/sample_shot.mp4")
    what.add_argument(
        "--rank", metavar="SEEDS", help="write nothing, and print J of every sentence for such seeds: 0-11, best first"
    )
    sample.add_argument("--seed", type=a_seed, help="of where things are and how they look (default: as shipped)")
    sample.add_argument("--model", default="mini", help="'mini' or a model folder (default mini)")
    sample.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    sample.set_defaults(run=run, operation="making the sample shot")


def run(arguments: argparse.Namespace) -> None:
    """Write the shot and its list, or rank compositions."""
    from rem_engine import load_segmenter

    from ..synth.sample import SEED, write_sample
    from ..synth.sample_score import write_listing

    clip: Path | None = arguments.clip
    if clip is not None and not clip.is_file():
        raise FileNotFoundError(f"{clip} is not there: name a video of at least 112 frames.")
    if clip is None and arguments.seed is not None:
        raise ValueError("--seed says how a shot is rendered: give --clip, too.")
    if arguments.rank is not None:
        if clip is None:
            raise ValueError("--rank renders over a clip: give --clip.")
        _rank(arguments.model, clip, list(parse_range(arguments.rank)))
        return
    out: Path = arguments.out
    if out.suffix.lower() == ".json":
        raise ValueError(f"{out} is where the list goes: name a video by --out, such as assets/sample_shot.mp4.")
    there = next((file for file in (out, out.with_suffix(".json")) if file.exists()), None)
    if clip is not None and there and not arguments.overwrite:
        raise ValueError(f"{there} is there already: name another --out, or give --overwrite.")
    if clip is None and not out.is_file():
        raise FileNotFoundError(f"{out} is not there: give --clip, of which it is made.")
    seed = SEED if arguments.seed is None else arguments.seed
    segmenter = load_segmenter(arguments.model)
    if clip is not None:
        write_sample(clip, out, seed)
    listed = write_listing(segmenter, out, seed)
    for sentence, entry in (listed["prompts"] | listed["not_found"]).items():
        print(f"{entry['J']:.2f}  {sentence}")


def _rank(model: str, clip: Path, seeds: list[int]) -> None:
    from rem_engine import load_segmenter

    from ..synth.sample_score import rank

    ranked = sorted(rank(load_segmenter(model), clip, seeds), key=lambda each: -sum(each[1].values()))
    for number, found in ranked:
        print(f"seed {number}: " + ", ".join(f"{sentence} {similarity:.2f}" for sentence, similarity in found.items()))

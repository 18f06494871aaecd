"""`python -m rem_engine segment SHOT -p PROMPT -o OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..cli import ProgressBar

WRITABLE = ("masks", "soft", "npz", "overlay")
"""What a run can write: 8-bit masks, 16-bit soft masks, float32 soft masks in one file, the overlay video."""

_DESCRIPTION = """\
Segment whatever a sentence names in a shot: things, and also processes such as smoke, fire or water.
"""

_EXAMPLES = """\
examples:
  one thing in a video, with the model that comes with the pack
    python -m rem_engine segment shot.mov -p "the smoke" -o masks

  several prompts look at the shot together, at little more than the cost of one
    python -m rem_engine segment frames/ -p "the red car" -p "the dust behind it" -o masks

  unclipped float32 masks for further work, and no pictures
    python -m rem_engine segment shot.mov -p "the fire" -o masks --write npz

  the published REM weights over Wan2.1, on a GPU
    python -m rem_engine segment shot.mov -p "the waves" -o masks --model Wan2.1-T2V-14B-Diffusers --checkpoint rem.pth

  an edit whose cuts are known; the model sees 16:9 as 16:9
    python -m rem_engine segment edit.mov -p "the rain" -o masks --cuts 120,305 --size 480x832 --keep-aspect

  the published REM weights over ModelScope, which ordinary GPUs hold
    python -m rem_engine segment shot.mov -p "the waves" -o masks --model text-to-video-ms-1.7b --checkpoint rem_ms.pth

  exactly as in the paper's evaluation
    python -m rem_engine segment frames/ -p "the dog" -o masks --protocol paper --model DIR --checkpoint rem.pth

what OUT holds:
  run.json                    settings, versions, seconds per stage, and each prompt with its folder and mean area
  <folder>/masks/00000.png    8-bit, 0 or 255, the shot's own size       (--write masks)
  <folder>/soft/00000.png     16-bit, the soft mask in 0..1              (--write soft)
  <folder>/soft.npz           "soft": float32 [T,H,W], not clipped       (--write npz)
  overlay.mp4                 the shot with every prompt in its colour   (--write overlay)
  <folder> is made from the prompt: "the smoke" gives the_smoke.

A run stopped with Ctrl-C, or by a full disk, goes on where it stopped when the same command is run again.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `segment` to the command line."""
    segment = commands.add_parser(
        "segment",
        help="segment a shot by text",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.set_defaults(run=run)
    add = segment.add_argument
    add(
        "shot",
        metavar="SHOT",
        type=Path,
        help="a video file, a folder of PNG, JPEG, TIFF or EXR frames, or one image",
    )
    add(
        "-p",
        "--prompt",
        metavar="PROMPT",
        dest="prompts",
        action="append",
        required=True,
        help="what to segment, in plain words; give -p several times for several masks",
    )
    add("-o", "--out", metavar="OUT", type=Path, required=True, help="folder to write to; made if it is not there")
    add("--model", default="mini", metavar="mini|DIR", help="REM-mini, or a model folder in diffusers' layout (mini)")
    add("--checkpoint", metavar="FILE", type=Path, help="REM weights for the model: whole ones, a delta or a LoRA")
    add("--strength", metavar="X", type=float, default=1.0, help="of a delta or LoRA, 0 to 1 (1)")
    add(
        "--protocol",
        choices=("shot", "paper"),
        default="shot",
        help="shot: overlapping windows, cross-faded, takes kept apart; paper: as in the paper's evaluation (shot)",
    )
    add(
        "--size",
        metavar="HxW",
        type=_size,
        help="size the model sees, multiples of 16, of 64 for ModelScope (the model's own)",
    )
    add("--keep-aspect", action="store_true", help="fit frames into the size instead of stretching them to it")
    add(
        "--window",
        metavar="N",
        type=int,
        help="frames that go through the model together, 4k+1 for Wan (the model's own)",
    )
    add("--overlap", metavar="N", type=int, help="frames that neighbouring windows share (the model's own)")
    add(
        "--cuts",
        metavar="auto|none|N,N",
        type=_cuts,
        default="auto",
        help="where takes begin: found (auto), nowhere, or at these frames, counted from 0 (auto)",
    )
    add("--threshold", metavar="X", type=_threshold, default=0.5, help="a pixel is in the mask above this (0.5)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="number type of the model (auto: float32; for Wan on a GPU bfloat16)",
    )
    add("--seed", metavar="N", type=int, default=0, help="of the noise ModelScope takes; Wan takes none (0)")
    add(
        "--write",
        metavar="KINDS",
        type=_kinds,
        default=("masks", "soft", "overlay"),
        help=f"any of {','.join(WRITABLE)}, joined by commas (masks,soft,overlay)",
    )


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Segment a shot; returns the exit code."""
    from ..job import Job  # here, so that help is quick
    from ..job import run as run_job

    settings = {name: value for name, value in vars(options).items() if name not in ("command", "run")}
    job = Job(**{**settings, "prompts": tuple(options.prompts)})
    result = run_job(job, bar)
    bar.close()
    for prompt in result["prompts"]:
        print(f"{job.out / prompt['folder']}  {prompt['mean_area']:7.2%} of the picture  {prompt['prompt']}")
    return 0


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give height and width, for example 256x448")
    return int(height), int(width)


def _cuts(text: str) -> str | tuple[int, ...]:
    if text == "auto":
        return text
    frames = [] if text == "none" else text.split(",")
    if not all(frame.strip().isdecimal() for frame in frames):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cuts: give auto, none, or frames such as 120,305")
    return tuple(int(frame) for frame in frames)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no threshold: give a number between 0 and 1, for example 0.5")
    return value


def _kinds(text: str) -> tuple[str, ...]:
    chosen = [kind.strip() for kind in text.split(",")]
    unknown = [kind for kind in chosen if kind not in WRITABLE]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} cannot be written: choose from {','.join(WRITABLE)}")
    return tuple(kind for kind in WRITABLE if kind in chosen)

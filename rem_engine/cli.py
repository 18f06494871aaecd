"""The command line: `python -m rem_engine segment SHOT -p PROMPT -o OUT`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from . import __version__

WRITABLE = ("masks", "soft", "npz", "overlay")
"""What a run can write: 8-bit masks, 16-bit soft masks, float32 soft masks in one file, the overlay video."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_ERROR, f"error: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `python -m rem_engine`."""
    parser = _Parser(prog="python -m rem_engine", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    segment = commands.add_parser(
        "segment",
        help="segment a shot by text",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    add("--checkpoint", metavar="FILE", type=Path, help="REM weights (.pth or .safetensors) laid over the model")
    add(
        "--protocol",
        choices=("shot", "paper"),
        default="shot",
        help="shot: overlapping windows, cross-faded; paper: as in the paper's evaluation (shot)",
    )
    add("--size", metavar="HxW", type=_size, help="size the model sees, multiples of 16 (the model's own)")
    add("--window", metavar="N", type=int, help="frames that go through the model together, 4k+1 (the model's own)")
    add("--overlap", metavar="N", type=int, help="frames that neighbouring windows share (the model's own)")
    add("--threshold", metavar="X", type=_threshold, default=0.5, help="a pixel is in the mask above this (0.5)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (auto)")
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="number type of the model (auto: float32 on a CPU, bfloat16 on a GPU)",
    )
    add("--seed", metavar="N", type=int, default=0, help="for backbones that draw noise; noted in run.json (0)")
    add(
        "--write",
        metavar="KINDS",
        type=_kinds,
        default=("masks", "soft", "overlay"),
        help=f"any of {','.join(WRITABLE)}, joined by commas (masks,soft,overlay)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 after an error, 130 after Ctrl-C."""
    options = vars(build_parser().parse_args(arguments))
    del options["command"]
    with warnings.catch_warnings(), _Bar() as bar:
        warnings.showwarning = bar.warn
        try:
            from .job import Job, run  # here, so that help is quick, and Ctrl-C meanwhile is answered below

            job = Job(**{**options, "prompts": tuple(options["prompts"])})
            result = run(job, bar)
        except KeyboardInterrupt as stop:
            return bar.fail(str(stop) or "Interrupted before work began: run the same command again.", EXIT_INTERRUPTED)
        except OSError as error:
            return bar.fail(f"error: {_file_error(error)}", EXIT_ERROR)
        except (ValueError, RuntimeError) as error:
            return bar.fail(f"error: {_engine_error(error)}", EXIT_ERROR)
    for prompt in result["prompts"]:
        print(f"{job.out / prompt['folder']}  {prompt['mean_area']:7.2%} of the picture  {prompt['prompt']}")
    return 0


class _Bar:
    """Progress on standard error; satisfies `job.Reporter`."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)

    def steps(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, unit="step", desc="segmenting", dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def frames(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"{done} of {total} frames", refresh=False)

    def warn(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.say(f"warning: {message}")

    def fail(self, sentence: str, code: int) -> int:
        if self._bar is not None:
            self._bar.close()
        self.say(sentence)
        return code


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give height and width, for example 256x448")
    return int(height), int(width)


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


def _file_error(error: OSError) -> str:
    """A sentence for an error of the file system; ours are sentences already, the system's name a file."""
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; check the path, its permissions and the space on its disk."


def _engine_error(error: Exception) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        return "The device ran out of memory: choose a smaller --size or --window, fewer prompts, or --device cpu."
    return str(error)

"""`python -m trainer learn`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path
from rem_engine.commands.options import add_device_option

from .arguments import positive

_DESCRIPTION = """\
Teach the model what was corrected in a shot: a LoRA is tuned on the corrected masks of a layer, for its sentence, so
that the model finds the same in other takes and shots by itself. The model's own weights stay as they are, and so does
the run; its other layers are held meanwhile.
"""

_EXAMPLES = """\
examples:
  what was corrected by rem-segment correct out --layer star --keys fixed/
    rem-trainer learn out --layer star

  the same shot, or another, by the model that has learnt it
    rem-segment segment other.mov -p "star: the red star" -o out2 --checkpoint out/star/star_lora.safetensors

docs/corrections.md tells what it gains and what others lose by it.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `learn` to the command line."""
    learn = commands.add_parser(
        "learn",
        help="teach the model what was corrected in a shot",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = learn.add_argument
    add("out", metavar="OUT", type=a_path, help="folder of a run of rem-segment with corrections")
    add("--layer", metavar="NAME", default="", help="which of its layers; may be left out where there is one")
    add("--to", metavar="FILE", type=a_path, help="the .safetensors file to write (OUT/NAME/NAME_lora.safetensors)")
    add("--shot", metavar="SHOT", type=a_path, help="the run's shot, where it lies elsewhere now")
    add("--steps", metavar="N", type=positive, default=20, help="steps of the optimizer (20)")
    add("--lr", metavar="RATE", type=_rate, default=3e-3, help="highest learning rate (3e-3)")
    add("--overwrite", action="store_true", help="replace FILE even where no export has written it")
    add_device_option(learn)
    learn.set_defaults(run=run, operation="learning")


def run(arguments: argparse.Namespace) -> None:
    """Learn, and say what was gained and how the file is used."""
    from rem_engine.sizes import gigabytes

    from ..learn.learn import Learning, learn
    from .progress import progress_bar

    asked = Learning(
        arguments.out,
        arguments.layer,
        arguments.to,
        arguments.shot,
        arguments.steps,
        arguments.lr,
        arguments.device,
        arguments.overwrite,
    )
    with progress_bar() as bar:
        learnt = learn(asked, bar)
    print(
        f"{learnt.layer}: J of the model's masks against the corrected ones {learnt.before:.3f} -> {learnt.after:.3f} "
        "(a window of the shot)"
    )
    for name, overlap in learnt.kept.items():
        print(f"{name}: J of its masks against those before {overlap:.3f}")
    used = " ".join(["--model", learnt.model, *(f"--checkpoint {path}" for path in (*learnt.checkpoint, learnt.out))])
    size = gigabytes(learnt.out.stat().st_size)
    print(f"{learnt.out}  {size}; use it with {used} and the prompt {learnt.text!r}")


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no learning rate; give more than 0 and at most 1")
    return value

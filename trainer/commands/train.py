"""`python -m trainer train`."""

from __future__ import annotations

import argparse

from rem_engine.commands.command_line import a_path

from .arguments import add_checkpoints, add_overrides
from .command_line import COMMAND_LINE

_DESCRIPTION = """\
Train a REM model. RUN keeps the settings, checkpoints, caches and a TensorBoard log; after a stop of any kind the same
command with --resume goes on from the last checkpoint, to the same weights.
"""

_EXAMPLES = """\
examples:
  REM-mini, from the bundled text-to-video weights
    python -m trainer train mini --model mini --checkpoint rem_engine/mini/t2v/rem_mini_t2v.safetensors --out runs/mini

  another learning rate and batch
    python -m trainer train wan_1_3b --model Wan2.1-T2V-1.3B-Diffusers --out runs/a --set optim.lr=2e-5 seed=2

  what it takes, from a name on the hub, before anything is encoded or written
    python -m trainer train wan_1_3b --model Wan-AI/Wan2.1-T2V-1.3B-Diffusers --out runs/a --dry-run

  on all GPUs of a machine; FSDP and DeepSpeed by `accelerate config`
    accelerate launch -m trainer train wan_14b --model Wan2.1-T2V-14B-Diffusers --out runs/14b
"""

_PRESETS = ("modelscope_stage1", "modelscope_stage2", "wan_14b", "wan_14b_mevis", "wan_1_3b", "mini")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `train` to the command line."""
    train = commands.add_parser(
        "train",
        help="train a REM model by a preset",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = train.add_argument
    add("settings", metavar="PRESET", help=f"{', '.join(_PRESETS)}, or a .yaml")
    add(
        "--model",
        required=True,
        metavar="BASE",
        help="'mini', the folder of the base model (diffusers' layout), or its name on the hub",
    )
    add_checkpoints(train, "weights laid over BASE to start from")
    add("--out", type=a_path, required=True, metavar="RUN", help="folder of the run")
    add_overrides(train, ", list items by number: optim.lr=2e-5 streams.0.batch=2")
    add("--resume", action="store_true", help="go on with the run in RUN; begin one where there is none")
    add("--extend", action="store_true", help="with --resume: more steps, or another schedule, than the run began with")
    add("--cache", type=a_path, metavar="DIR", help="where latents and text embeddings are kept (RUN/cache)")
    add("--no-cache", action="store_true", help="encode everything anew in every step")
    add(
        "--report-to",
        type=_trackers,
        default=("tensorboard",),
        metavar="NAMES",
        help="trackers with commas between: tensorboard (RUN/logs), wandb, trackio; or none (tensorboard)",
    )
    add("--dry-run", action="store_true", help="print memory, disk and time that this takes, and begin nothing")
    train.set_defaults(run=run, operation="training")


def run(arguments: argparse.Namespace) -> None:
    """Train."""
    from accelerate import PartialState

    from ..run.train import TrainingRun, train
    from ..settings import load_settings
    from .progress import progress_bar

    if arguments.no_cache and arguments.cache is not None:
        raise ValueError("--cache and --no-cache exclude each other; give one of them.")
    if arguments.extend and not arguments.resume:
        raise ValueError("--extend goes on with a run; give --resume with it.")
    settings = load_settings(arguments.settings, dict(arguments.overrides))
    training = TrainingRun(
        settings,
        arguments.model,
        arguments.out,
        checkpoint=tuple(arguments.checkpoint),
        resume=arguments.resume,
        extend=arguments.extend,
        cache=arguments.cache,
        cached=not arguments.no_cache,
        report_to=arguments.report_to,
    )
    if arguments.dry_run:
        from ..run.dry_run import dry_run, told

        state = PartialState()
        needs = dry_run(training, state.num_processes, state.device)
        if state.is_main_process:
            print("\n".join(told(needs)))
        return
    with progress_bar() as bar:
        last = train(training, bar)
    if PartialState().is_main_process:
        command = COMMAND_LINE.as_called(f"python -m trainer export {arguments.out} -o rem.safetensors")
        print(f"{last}  done; export it with: {command}")


def _trackers(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(dict.fromkeys(text.split(",")))

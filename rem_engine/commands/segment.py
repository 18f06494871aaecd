"""`python -m rem_engine segment SHOT -p PROMPT -o OUT`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..backbones.base import Memory
from ..input_files import NotText, load_text
from ..run.layout import DELIVERIES, WRITABLE, help_lines
from ..segment.settings import MaskSettings, SegmentSettings
from ..setting import settings_of
from .command_line import a_path
from .options import (
    add_delivery_options,
    add_device_option,
    add_given_options,
    add_matte_options,
    add_option,
    add_out_options,
    add_plate_options,
    add_segment_options,
    delivery_settings,
    given_mattes,
    kinds_among,
    matte_settings,
    plate_settings,
)
from .qc import add_qc_option, looked_over

if TYPE_CHECKING:
    from ..run.segment_job import SegmentJob
    from .progress import ProgressBar

_DESCRIPTION = """\
Segment whatever a sentence names in a shot: things, and also processes such as smoke, fire or water.
"""

_EXAMPLES = f"""\
examples:
  one thing in a video, with the model that comes with the pack
    python -m rem_engine segment shot.mov -p "the smoke" -o masks

  several prompts look at the shot together, at little more than the cost of one
    python -m rem_engine segment frames/ -p "the red car" -p "the dust behind it" -o masks

  layers with names; what another sentence names is taken away; each pixel goes to its strongest layer
    python -m rem_engine segment shot.mov -p "smoke: the smoke | -the steam from the kettle" -p "car: the red car" \\
        --combine exclusive -o masks

  for compositing: multilayer EXR under the plate's own numbers, and ProRes 4444, with the edge of the shot itself
    python -m rem_engine segment plate/ -p "smoke: the smoke" -o out --write exr,prores --smooth 2

  one of a folder's sequences, a part of it, its missing frames held
    python -m rem_engine segment plates/sh010.####.exr -p "the smoke" -o out --frames 1001-1050 --gaps hold

  unclipped float32 masks for further work, and no pictures
    python -m rem_engine segment shot.mov -p "the fire" -o masks --write npz

  a LoRA of your own that was trained over REM, over REM as a delta of Wan2.1
    python -m rem_engine segment shot.mov -p "the waves" -o masks --model Wan2.1-T2V-14B-Diffusers \\
        --checkpoint rem_delta.safetensors --checkpoint mine.safetensors

  the published REM weights over Wan2.1, on a GPU
    python -m rem_engine segment shot.mov -p "the waves" -o masks --model Wan2.1-T2V-14B-Diffusers --checkpoint rem.pth

  the same on two GPUs, which share the windows of the shot
    python -m rem_engine segment shot.mov -p "the waves" -o masks --model Wan2.1-T2V-14B-Diffusers \\
        --checkpoint rem.pth --device cuda:0,cuda:1

  an edit whose cuts are known; the model sees 16:9 as 16:9
    python -m rem_engine segment edit.mov -p "the rain" -o masks --cuts 120,305 --size 480x832 --keep-aspect

  the published REM weights over ModelScope, which ordinary GPUs hold
    python -m rem_engine segment shot.mov -p "the waves" -o masks --model text-to-video-ms-1.7b --checkpoint rem_ms.pth

  the car on the left only, and nothing where the sign stands
    python -m rem_engine segment shot.mov -p "the car" -o masks --include 0,0,960,1080 --hold-out sign.png --close-up

  right masks of two frames are there already: the others follow them (see the command correct)
    python -m rem_engine segment shot.mov -p "star: the star" -o masks --keys star=fixed/

  exactly as in the paper's evaluation
    python -m rem_engine segment frames/ -p "the dog" -o masks --protocol paper --model DIR --checkpoint rem.pth

a prompt is written as
  the smoke                                             what to segment, in plain words
  smoke: the smoke                                      with a name for its layer: letters, digits, _ - .
  smoke: the smoke | -the steam | -the fog              less what other words name
  smoke: the smoke | preset: smoke | edge blur: 2       with matte options, or a preset of them, for this layer alone
  smoke: the smoke | colour: #ff8800                    in that colour in the overlay
  # the fog                                             not at all, as a blank line

what OUT holds:
  run.json                      settings, versions, seconds per stage, all layers with prompts and mean areas, warnings
                                of layers that are empty or full in every frame, and which files are whose
  masks as the model gives them, after what is left out and --combine, without the matte options:
{help_lines(("masks", "soft", "npz", "overlay", "ids"))}
  mattes, shaped by the matte options:
{help_lines(DELIVERIES)}
  <layer> is the name given, or made from the prompt: "the smoke" gives the_smoke. <shot> and the number are the
  plate's own, as in AGM_104_PL01_v001.0987; a video counts from 1001.

What other runs wrote to OUT stays: other layers, other kinds of files. Where a run replaces files of an earlier
one, its own wait in a hidden folder until all are whole, so that whatever stops it leaves the earlier ones as they
were. Files that no run has written are never replaced without --overwrite. A run that is there already, of the
same settings and shot, says so and does nothing; --again does it anew.

A run stopped with Ctrl-C, or by a full disk, goes on where it stopped when the same command is run again. A video
cannot be gone on with: it is made anew from soft masks on disk (--write soft), without which the run starts at the
first frame.
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
    segment.set_defaults(run=run, operation="segmenting")
    segment.add_argument(
        "shot",
        metavar="SHOT",
        type=a_path,
        help="a video file, a folder of EXR, DPX, TIFF, PNG, JPEG, WebP or JPEG XL frames, or one image",
    )
    segment.add_argument(
        "--part",
        metavar="A-B",
        default="",
        help="only make what the frames A to B (the plate's own numbers) need of the model, and keep it in OUT for the "
        "same command without --part, which writes the files: so that several machines share a shot (see farm)",
    )
    add_segmenting_options(segment)


def add_segmenting_options(segment: argparse.ArgumentParser) -> None:
    """Add all options of `segment`, which `batch` has too."""
    add = segment.add_argument
    add(
        "-p",
        "--prompt",
        metavar="PROMPT",
        dest="prompts",
        action="append",
        default=[],
        help="what to segment, as shown below; give -p several times for several layers",
    )
    add("--prompts", metavar="FILE", dest="prompts_file", type=a_path, help="a text file of prompts, one a line")
    add_given_options(segment, {
        "include": "nothing is segmented outside of it",
        "hold_out": "nothing is segmented inside of it",
        "add": "the least that the mattes are",
    })  # fmt: skip
    add(
        "--keys",
        metavar="LAYER=MASKS[:CHANNEL]",
        action="append",
        default=[],
        help="right masks of single frames of a layer, numbered by the plate's: the others follow them; see the "
        "command correct",
    )
    masks = settings_of(MaskSettings)
    add_option(segment, masks["combine"])
    add_out_options(segment)
    add("--model", default="mini", metavar="mini|DIR", help="REM-mini, or a model folder in diffusers' layout (mini)")
    add(
        "--checkpoint",
        metavar="FILE",
        type=a_path,
        action="append",
        help="REM weights for the model: whole ones, a delta or a LoRA. Several times for several, laid over in their "
        "order, whole ones first. Of a file with several denoisers one, as in rem.pth:ema",
    )
    add(
        "--strength",
        metavar="X",
        type=float,
        action="append",
        help="of deltas and LoRAs, 0 to 1: once for all of them, or once for each, in their order (1)",
    )
    add_segment_options(segment)
    add_option(segment, masks["close_up"])
    add_option(segment, masks["threshold"], type=_threshold)
    add_device_option(segment, "; several of one kind, cuda:0,cuda:1, share the windows of a shot")
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="number type of the model (auto: float32; for Wan on a GPU bfloat16)",
    )
    add(
        "--memory",
        choices=get_args(Memory),
        default="auto",
        help="where Wan's weights are: whole in memory, or streamed from their files, block by block and once a shot "
        "(auto: as much in memory as fits)",
    )
    add(
        "--write",
        metavar="KINDS",
        type=partial(kinds_among, WRITABLE),
        default=("masks", "soft", "overlay"),
        help=f"any of {','.join(WRITABLE)}, joined by commas (masks,soft,overlay)",
    )
    add_qc_option(segment)
    add_plate_options(segment)
    add_delivery_options(segment)
    add_matte_options(segment)


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Segment a shot; returns the exit code."""
    from ..run.output import already_there

    if options.part:
        return _segment_part(options, bar)
    result = segment_shot(options.shot, options, bar)
    if result is None:
        print(already_there(options.out))
        return looked_over(options.out, bar) if options.qc else 0
    for prompt in result["prompts"][: len(result["layers"])]:  # the others are of earlier runs
        print(f"{options.out / prompt['folder']}  {prompt['mean_area']:7.2%} of the picture  {prompt['prompt']}")
    for file in result["delivery"]["files"]:
        print(options.out / file)
    return looked_over(options.out, bar) if options.qc else 0


def segment_shot(
    shot: Path, options: argparse.Namespace, bar: ProgressBar, load: Callable[..., Any] | None = None
) -> dict[str, Any] | None:
    """Segment a shot as options say; see `segment_file`."""
    from ..run.segment_file import segment_file  # here, so that help is quick

    prompts, job, model = asked(options)
    given, keys = given_mattes(options), _keys(options.keys, job)
    result = segment_file(shot, prompts, job, model, hints=given, keys=keys, progress=bar, load=load)
    bar.close()
    _correct(shot, options, keys, bar)
    return result


def _segment_part(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Make a part of what a run needs of the model."""
    from ..run.parts import segment_part

    _, job, model = asked(options)
    made, there = segment_part(options.shot, options.part, job, model, progress=bar)
    bar.close()
    print(f"{made} windows made, {there} were there: the same command without --part writes the files.")
    return 0


def asked(options: argparse.Namespace) -> tuple[tuple[str, ...], SegmentJob, dict[str, Any]]:
    """Prompts, the job, and the arguments of `load_segmenter`, as options say.

    Raises:
        ValueError: prompts that cannot be read, or a value out of range.
    """
    from ..layers import parse_layers
    from ..run.segment_job import SegmentJob

    prompts = _prompts(options)
    job = SegmentJob(
        options.out,
        parse_layers(prompts),
        name=options.name,
        write=options.write,
        masks=MaskSettings(**{name: getattr(options, name) for name in settings_of(MaskSettings)}),
        matte=matte_settings(options),
        delivery=delivery_settings(options, tuple(kind for kind in options.write if kind in DELIVERIES)),
        overwrite=options.overwrite,
        again=options.again,
        plate=plate_settings(options),
        fields=dict(options.fields),
    )
    names = ("model", "checkpoint", "strength", *settings_of(SegmentSettings), "device", "dtype", "memory")
    model = {name: getattr(options, name) for name in names}
    model |= {"checkpoint": _one_or_all(options.checkpoint), "strength": _one_or_all(options.strength or (1.0,))}
    return prompts, job, model


def _keys(given: Sequence[str], job: SegmentJob) -> dict[str, str]:
    """Where masks of single frames are, by layer."""
    from ..run.correct_job import check_correction

    keys: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (equals and name and path):
            raise ValueError(f"The masks {text!r} name no layer: give --keys NAME=MASKS; each layer has its own.")
        if name in keys:
            raise ValueError(f"Masks of {name} are given twice: put them into one folder.")
        check_correction([layer.name for layer in job.written_layers], job.write, name)
        keys[name] = path
    return keys


def _correct(shot: Path, options: argparse.Namespace, keys: Mapping[str, str], bar: ProgressBar) -> None:
    """Correct layers of the run that is whole now."""
    from ..run.correct_job import CorrectJob, correct_files
    from .correct import print_correction

    for layer, path in keys.items():
        done = correct_files(CorrectJob(options.out, layer, path, shot=shot, device=options.device), bar)
        bar.close()
        print_correction(done)


def _prompts(options: argparse.Namespace) -> tuple[str, ...]:
    """Those of -p and of the file, blank lines among the latter."""
    from ..layers import check_prompt

    for prompt in options.prompts:
        check_prompt(prompt)
    lines = [*options.prompts]
    if options.prompts_file is not None:
        try:
            lines += load_text(options.prompts_file).splitlines()
        except NotText as error:
            told = f"{options.prompts_file} is no text of prompts, {error}"
            raise ValueError(f"{told}: save it as plain text in UTF-8, one prompt a line.") from error
    elif not lines:
        raise ValueError(
            "the following arguments are required: -p/--prompt, or --prompts with a file of them "
            "(see python -m rem_engine segment --help)"
        )
    return tuple(lines)


def _one_or_all(given: Sequence[Any] | None) -> Any:
    """What an option was given: one value as itself, several as a tuple, None for none."""
    values = tuple(given or ())
    return values if len(values) > 1 else next(iter(values), None)


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no threshold: give a number between 0 and 1, for example 0.5")
    return value

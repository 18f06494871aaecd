"""`python -m rem_engine matte SHOT --masks MASKS -o OUT`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from ..run.layout import DELIVERIES, help_lines
from .command_line import a_path
from .options import (
    add_delivery_options,
    add_device_option,
    add_given_options,
    add_matte_options,
    add_out_options,
    add_plate_options,
    add_segment_options,
    asked_of_mattes,
    delivery_settings,
    given_mattes,
    kinds_among,
    matte_settings,
    plate_settings,
)
from .qc import add_qc_option, looked_over

if TYPE_CHECKING:
    from .progress import ProgressBar

_DESCRIPTION = """\
Make mattes for compositing from masks that are there already: levels, edges, regions, smoothing over time.
"""

_EXAMPLES = f"""\
examples:
  all layers of an earlier run, as multilayer EXR
    python -m rem_engine matte shot.mov --masks out -o mattes --write exr

  one layer, solid, its specks removed, its edge softened, as ProRes 4444
    python -m rem_engine matte shot.mov --masks out/the_car/soft -o mattes --write prores \\
        --threshold 0.5 --remove-islands 200 --feather 1.5

  masks of another program, with names for their layers
    python -m rem_engine matte plate/ --masks car=roto/car --masks dust=dust_matte.mov -o mattes --write exr,alpha

  layers by their kind, within a garbage matte, behind a hold-out, with core and edge mattes
    python -m rem_engine matte plate/ --masks out -o mattes --write exr --edge-mattes 4 --include garbage.png \\
        --hold-out smoke=roto/lamp --set "smoke | preset: smoke" --set "car | preset: solid | edge blur: 1"

what OUT holds:
  run.json                      settings, versions, layers, warnings of layers that are empty or full in every frame,
                                and which files are whose
{help_lines(DELIVERIES)}

Files of an earlier delivery of the same shot, layers and kinds are replaced, once all new ones are whole; until
then they stay as they are. All others in OUT stay, and files that no run has written are never replaced without
--overwrite. A delivery that is there already, of the same settings, shot and masks, is not made twice; --again
makes it anew. After Ctrl-C or on a full disk whole frames of image sequences are left where they replace nothing,
and no half video.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `matte` to the command line."""
    matte = commands.add_parser(
        "matte",
        help="make mattes for compositing from masks",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    matte.set_defaults(run=run, operation="making mattes")
    add = matte.add_argument
    add(
        "shot",
        metavar="SHOT",
        type=a_path,
        help="what the masks were made of: a video file, a folder of EXR, DPX, TIFF, PNG, JPEG, WebP or JPEG XL "
        "frames, or one image",
    )
    add(
        "--masks",
        metavar="[NAME=]MASKS[:CHANNEL]",
        action="append",
        required=True,
        help="a folder of grey pictures (8- or 16-bit PNG, EXR, ...), a video of them, a run's soft.npz, or the folder "
        "of a run for all of its layers; of the frames' size or a model's own (96x96, 512x512), each for the "
        "frame of its number. Of colour and alpha the matte is the one that varies; where both do, name its "
        "channel: A, R, luma, or one of an EXR such as smoke.A. Several times for several layers",
    )
    add_given_options(matte, {
        "include": "garbage matte, multiplied with the mattes",
        "hold_out": "hold-out matte, subtracted from the mattes",
        "add": "the least that the mattes are",
    })  # fmt: skip
    add(
        "--set",
        metavar="LINE",
        action="append",
        default=[],
        help="settings for one layer: its name, and matte options or a preset, as in 'smoke | preset: smoke | grow: 2'"
        "; layers of a run's folder keep those of its prompts where neither this nor an option says otherwise",
    )
    add_out_options(matte)
    add(
        "--write",
        metavar="KINDS",
        type=partial(kinds_among, DELIVERIES),
        default=("alpha",),
        help=f"any of {','.join(DELIVERIES)}, joined by commas (alpha)",
    )
    add_segment_options(matte, ("cuts",))
    add_device_option(matte)
    add_qc_option(matte)
    add_plate_options(matte)
    add_delivery_options(matte)
    add_matte_options(matte, threshold=("--threshold", "--matte-threshold"))


def run(options: argparse.Namespace, bar: ProgressBar) -> int:
    """Make mattes; returns the exit code."""
    matte = matte_settings(options)

    from ..run.matte_job import MatteJob, matte_to_files  # here, so that help is quick
    from ..run.output import already_there

    delivery = delivery_settings(options, options.write)
    job = MatteJob(
        options.shot,
        tuple(options.masks),
        options.out,
        options.cuts,
        matte,
        delivery,
        options.device,
        options.overwrite,
        options.again,
        plate_settings(options),
        options.name,
        tuple(options.set),
        given_mattes(options),
        dict(options.fields),
        asked_of_mattes(options),
    )
    written = matte_to_files(job, bar)
    bar.close()
    if written is None:
        print(already_there(job.out))
        return looked_over(job.out, bar) if options.qc else 0
    for file in written:
        print(job.out / file)
    return looked_over(job.out, bar) if options.qc else 0

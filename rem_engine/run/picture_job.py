"""Pictures whose mattes are finished to a folder of files, with its run.json."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..matte.frames import Frame, alpha_of
from ..media.made_by import MadeBy
from ..media.numbering import Numbering
from ..media.shot import ShotInfo
from ..progress import SILENT, Progress
from .account import file_sets
from .clock import explained_stop
from .coverage import Coverage
from .delivery import Delivery, shape_entry, shape_notes
from .delivery_settings import DeliverySettings
from .output import Claim, claimed
from .shot_entry import shot_entry


def pictures_to_files(
    frames: Iterable[Frame],
    out: Path,
    numbering: Numbering,
    layers: Sequence[str],
    info: ShotInfo,
    settings: DeliverySettings,
    *,
    made_by: MadeBy,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write frames that have their alpha to `out`; memory does not grow with the shot.

    Args:
        frames: in order, with the parts that `Delivery.write` wants.
        out: the folder.
        numbering: names and numbers of the frames, as they are delivered.
        layers: names of the layers, safe as folders.
        info: of the shot.
        settings: what is written.
        made_by: what the files say of how they were made.
        progress: told "frames".

    Returns:
        what run.json says.

    Raises:
        ValueError: frames or layers that `Delivery` does not take, or files in `out` that no run has written.
        RuntimeError: the disk is full, or another run is writing to `out`.
    """
    started, coverage = time.perf_counter(), Coverage("mattes", layers, source="the masks")
    entries = tuple({"prompt": made_by.prompts.get(name, ""), "name": name, "folder": name} for name in layers)
    with claimed(Claim(out, tuple(file_sets(settings.kinds, layers, numbering)), entries)) as output:
        delivery = Delivery(output.work, numbering, layers, info, settings, made_by=made_by, progress=progress)
        with explained_stop(
            out, lambda: output.stop(None), lambda: "Frames written so far are whole; run again for the others."
        ):
            output.begin({})
            with delivery:
                for frame in frames:
                    delivery.write(frame)
                    coverage.add(alpha_of(frame))
                    progress.update("frames", frame.index + 1, len(numbering.numbers))
            for sentence in shape_notes(delivery):
                progress.say(sentence)
            return output.finish(
                {
                    "shot": shot_entry("", numbering, numbering, info),
                    "settings": {"delivery": asdict(settings)},
                    "prompts": [{**entry, "frames": len(numbering.numbers)} for entry in entries],
                    "delivery": {"name": numbering.names.title, "files": delivery.listing()},
                    "versions": {"rem_engine": __version__, "python": platform.python_version()},
                    **shape_entry(delivery),
                    "warnings": coverage.warnings(),
                    "seconds": {"deliver": round(time.perf_counter() - started, 3)},
                }
            )

"""A finished run of `segment`, opened again by what its run.json says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..content_hash import content_hash
from ..layers import parse_layers
from ..matte import MatteSettings
from ..media.made_by import read_made_by
from ..media.numbering import Numbering
from ..media.plate_settings import PlateSettings
from ..media.reading import open_shot
from ..media.shot import Shot
from ..names import RUN_FILE
from ..segment.settings import MaskSettings
from ..shapes.settings import ShapeSettings
from .account import NoAccount, Record, read_runs
from .delivery_settings import DeliverySettings
from .given_mattes import GivenMattes, open_given
from .layout import KINDS
from .segment_job import Provenance, SegmentJob

_Settings = TypeVar("_Settings", MatteSettings, DeliverySettings, PlateSettings, MaskSettings, ShapeSettings)


@dataclass(frozen=True)
class WholeRun:
    """A run, and what it was made of.

    Attributes:
        out: its folder.
        record: what run.json says.
        job: what it was asked for.
        hints: mattes that bound its layers; None for none.
        shot: its frames; to be closed.
    """

    out: Path
    record: Record
    job: SegmentJob
    hints: GivenMattes | None
    shot: Shot

    @property
    def numbering(self) -> Numbering:
        """Of its frames, as they are delivered."""
        return self.job.numbering(self.shot)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that it has masks of."""
        return [layer.name for layer in self.job.written_layers]

    @property
    def cuts(self) -> list[int]:
        """Frames at which takes begin."""
        noted = self.record.run.get("cuts", [])
        told = [cut for cut in noted if type(cut) is int] if isinstance(noted, list) else []
        return sorted({*told, *self.shot.numbering.takes})

    @property
    def mask_size(self) -> tuple[int, int] | None:
        """(height, width) at which its model made masks."""
        noted = self.record.run.get("mask_size")
        return (noted[0], noted[1]) if isinstance(noted, list) and len(noted) == 2 else None

    def layer_named(self, asked: str) -> str:
        """The layer that is meant.

        Args:
            asked: its name; "" for the only one.

        Raises:
            ValueError: there is none of that name, or none was named of several.
        """
        if asked in self.layers:
            return asked
        if not asked and len(self.layers) == 1:
            return self.layers[0]
        told = f"There is no layer {asked!r} in {self.out}" if asked else f"{self.out} has several layers"
        raise ValueError(f"{told}: give --layer with one of {', '.join(self.layers)}; each is corrected by itself.")


def open_run(out: Path, shot: Path | None = None) -> WholeRun:
    """Open the last run of `segment` in a folder.

    Args:
        out: the folder.
        shot: where the shot lies now; None for where it lay.

    Raises:
        FileNotFoundError: no shot.
        ValueError: no such run, or another shot than it was made of.
    """
    try:
        runs = read_runs(out)
    except NoAccount as error:
        raise ValueError(f"{out / RUN_FILE} is damaged or another program's: segment the shot again.") from error
    # Masks that were given to `matte` are corrected where they were made.
    made = [run for run in runs if isinstance(run.run.get("settings"), dict) and "write" in run.run["settings"]]
    if not made:
        raise ValueError(f"{out} holds no finished run of segment: segment the shot first, with -o {out}.")
    record = made[0]
    if "checkpoint" not in record.run["settings"] or not record.fingerprint:
        raise ValueError(
            f"The run in {out} was made in a graph, and only runs of the command line are opened again: correct it "
            "there with Correct Mask, or segment the shot on the command line first."
        )
    entry = record.run.get("shot")
    lay = entry.get("path") if isinstance(entry, dict) else None
    if shot is None and not lay:
        raise ValueError(f"{out / RUN_FILE} does not say where its shot lies: give --shot.")
    try:
        job = _job_of(out, record)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{out / RUN_FILE} says what this version does not know ({error}): segment the shot again with --again."
        ) from error
    path = shot or Path(str(lay))
    if not path.exists() and shot is None:
        raise FileNotFoundError(f"The shot of {out} lay at {path}, where nothing is now: give --shot with its path.")
    opened = open_shot(path, job.plate)
    try:
        if content_hash(opened.files) != record.run.get("plate"):
            raise ValueError(f"{path} is not what {out} was made of: give that shot, or segment this one.")
        given = record.run["settings"].get("hints") or {}
        hints = open_given(given, [layer.name for layer in job.layers], opened, job.numbering(opened))
        job = replace(job, hints=hints if hints.mattes else None)
        return WholeRun(out, record, job, job.hints, opened)
    except BaseException:
        opened.close()
        raise


def _job_of(out: Path, record: Record) -> SegmentJob:
    told = record.run["settings"]
    kinds = {files.kind for files in record.files}
    write = tuple(kind for kind in told["write"] if kind in kinds)
    form = dict(told["delivery"])
    shapes = _settings(ShapeSettings, form.pop("shapes", {}))
    delivery = replace(_settings(DeliverySettings, form), shapes=shapes)
    job = SegmentJob(
        out,
        parse_layers(told["prompts"]),
        name=str(told["name"]),
        write=write,
        masks=_settings(MaskSettings, {name: told[name] for name in ("close_up", "combine", "threshold")}),
        matte=_settings(MatteSettings, told["matte"]),
        delivery=delivery,
        plate=_settings(PlateSettings, told["plate"]),
    )
    masks = next((files for files in record.files if not KINDS[files.kind].is_delivery and files.layer), None)
    file = None if masks is None else next(iter(masks.present(out)), None)
    said = None if file is None else read_made_by(file)
    return replace(job, provenance=Provenance(model=said.model, checkpoint=said.checkpoint) if said else Provenance())


def _settings(kind: type[_Settings], told: Mapping[str, Any]) -> _Settings:
    """A dataclass of settings by what `asdict` and JSON have made of one."""
    known = {field.name for field in fields(kind)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items() if name in known
    }
    return kind(**values)

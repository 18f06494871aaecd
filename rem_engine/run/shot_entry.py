"""What a run says of its shot, as it begins and in run.json."""

from __future__ import annotations

from typing import Any

from ..media.numbering import Numbering, frame_range
from ..media.shot import ShotInfo
from ..progress import Progress


def shot_entry(path: str, own: Numbering, delivered: Numbering, info: ShotInfo) -> dict[str, Any]:
    """The entry "shot" of run.json.

    Args:
        path: where it lies; "" where it is no file.
        own: names and numbers of its frames.
        delivered: the same as they are delivered.
        info: of the shot; what is as with most shots (a constant rate, progressive frames) is left out.
    """
    entry: dict[str, Any] = {
        "name": delivered.names.title,
        "path": path,
        "frames": len(delivered.numbers),
        "numbers": delivered.range,
        "height": info.height,
        "width": info.width,
        "fps": None if info.fps is None else float(info.fps),
    }
    if own.numbers != delivered.numbers:
        entry["plate_numbers"] = own.range
    if own.missing:
        entry |= {"missing": frame_range(sorted(own.missing)), "gaps": own.gaps}
    if info.times is not None:
        entry["variable_rate"] = [float(rate) for rate in info.times.rates]
    if info.field_order is not None:
        entry["fields"] = f"{info.field_order} first"
    if info.hdr is not None:
        entry["hdr"] = info.hdr.entry()
    if (colour := info.plate_colour) is not None:
        entry["colour"] = {
            "space": colour.space.name,
            "known_from": colour.known_from,
            "exposure": colour.exposure,
            "pictures": dict(zip(("primaries", "transfer", "matrix"), _codes(info), strict=True)),
        }
    if info.notes:
        entry["notes"] = [*info.notes]
    return entry


def _codes(info: ShotInfo) -> tuple[int | None, ...]:
    tags = info.picture_tags
    return tags.primaries, tags.transfer, tags.matrix


def say_notes(info: ShotInfo, sound: bool, progress: Progress) -> None:
    """Say what there is to say of a shot; `sound` is whether it was asked for."""
    for note in info.notes:
        progress.say(note)
    if sound and info.sound is None:
        progress.say("The frames have no sound of their own: the videos are written without.")

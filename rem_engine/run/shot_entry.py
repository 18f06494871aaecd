"""What run.json says of a shot."""

from __future__ import annotations

from typing import Any

from ..media.shot import ShotInfo


def shot_entry(name: str, path: str, frames: int, info: ShotInfo) -> dict[str, Any]:
    """The entry "shot" of run.json.

    Args:
        name: with what the names of delivered files begin.
        path: where it lies; "" where it is no file.
        frames: how many it has.
        info: of the shot.
    """
    entry: dict[str, Any] = {
        "name": name,
        "path": path,
        "frames": frames,
        "height": info.height,
        "width": info.width,
        "fps": None if info.fps is None else float(info.fps),
        "variable_rate": info.times is not None,
        "fields": "progressive" if info.field_order is None else f"{info.field_order} first",
    }
    if info.hdr is not None:
        entry["hdr"] = info.hdr.entry()
    if info.notes:
        entry["notes"] = [*info.notes]
    return entry

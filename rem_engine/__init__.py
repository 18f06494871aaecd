"""Referring video segmentation with a whole video-diffusion model (REM, "ReferEverything").

>>> from rem_engine import load_segmenter
>>> segmenter = load_segmenter("mini")
>>> result = segmenter.segment(frames, ["the smoke"])    # frames uint8 or float [T,H,W,3]
>>> result.soft                                          # float32 [P,T,H,W]

A shot of any length goes straight to files, window by window:

>>> from rem_engine import SegmentJob, open_shot, parse_layers, segment_to_files
>>> job = SegmentJob(Path("out"), parse_layers(["smoke: the smoke | -the steam", "the red car"]), write=("soft", "exr"))
>>> with open_shot("shot.mov") as shot:
...     segment_to_files(segmenter, shot, job)
"""

from __future__ import annotations

from typing import Any

from .lazy import attribute_of

__version__ = "0.1.0"

_HOMES = {
    "DeliverySettings": ".run.delivery_settings",
    "MaskSettings": ".segment.settings",
    "MatteSettings": ".matte.settings",
    "PlateSettings": ".media.plate_settings",
    "Result": ".segment.segmenter",
    "SegmentJob": ".run.segment_job",
    "SegmentSettings": ".segment.settings",
    "Segmenter": ".segment.segmenter",
    "load_segmenter": ".segment.load",
    "open_shot": ".media.reading",
    "parse_layers": ".layers",
    "segment_to_files": ".run.segment_run",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    # Lazy, so that importing the package (which a host does at start) costs nothing.
    return attribute_of(__name__, _HOMES, name)

"""The trainer's progress on the terminal."""

from __future__ import annotations

from rem_engine.commands.progress import BARS, ProgressBar
from rem_engine.progress import Unit


def progress_bar(beside: Unit = "frames") -> ProgressBar:
    """A `ProgressBar` that has bars for what the trainer counts too."""
    return ProgressBar(
        {
            **BARS,
            "shots": ("rendering shots", "shot"),
            "clips": ("encoding shots", "shot"),
            "shards": ("encoding", "shard"),
            "sentences": ("checking", "sentence"),
            "videos": ("predicting", "video"),
            "scores": ("scoring", "video"),
            "masks": ("zipping", "mask"),
            "runs": ("runs", "run"),
        },
        beside,
    )

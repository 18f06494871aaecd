"""The trainer's command line: how it is called, and how its commands end."""

from __future__ import annotations

from rem_engine.commands.command_line import CommandLine

COMMAND_LINE = CommandLine(
    module="trainer",
    script="rem-trainer",
    packages=("trainer", "rem_engine"),
    interrupted="stopped; run the same command to go on",
    out_of_memory="choose a smaller batch or size, or gradient_checkpointing in the settings.",
)

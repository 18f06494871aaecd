"""The engine's command line, as its commands know it."""

from __future__ import annotations

from .command_line import CommandLine

COMMAND_LINE = CommandLine(
    module="rem_engine",
    script="rem-segment",
    packages=(__name__.removesuffix(".commands.engine"),),
    interrupted="Interrupted before work began: run the same command again.",
    out_of_memory="choose a smaller --size or --window, fewer prompts, or --device cpu.",
)

"""A frame is let go of before the next is made: at 4096x2160 each takes 400 MB."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import torch

from rem_engine.matte import Frame, MatteSettings
from rem_engine.matte.frames import alpha_of
from rem_engine.run.pipeline import make_mattes


def test_nothing_of_a_frame_is_held_while_the_next_is_read() -> None:
    alive: list[weakref.ref] = []
    held = []

    def frames() -> Iterator[Frame]:
        for index in range(4):
            held.append(sum(one() is not None for one in alive))
            yield Frame(index, torch.rand(2, 32, 32), torch.rand(32, 32, 3))

    gc.disable()
    try:
        for frame in make_mattes(frames(), (MatteSettings(), MatteSettings()), lambda: ()):
            alive += [weakref.ref(part) for part in (frame.soft, frame.plate, alpha_of(frame))]
            del frame
    finally:
        gc.enable()
    assert held == [0, 0, 0, 0]

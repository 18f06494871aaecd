"""Ctrl-C while a further device's process comes up is a Ctrl-C, and nothing else."""

from __future__ import annotations

import multiprocessing

import pytest

from rem_engine.segment import other_device
from rem_engine.segment.settings import SegmentSettings


class _Child:
    def __init__(self, name: str) -> None:
        self.name, self.killed = name, False

    def kill(self) -> None:
        self.killed = True


def test_an_interrupt_while_the_process_starts_stays_one_and_ends_that_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    earlier, started, foreign = _Child("_Manager-1"), _Child("_Manager-2"), _Child("Process-3")
    children = [earlier]

    def interrupted(manager: object) -> None:
        children.extend((started, foreign))
        raise KeyboardInterrupt

    monkeypatch.setattr(other_device._Manager, "start", interrupted)
    monkeypatch.setattr(multiprocessing, "active_children", lambda: list(children))
    with pytest.raises(KeyboardInterrupt):
        other_device.OtherDevice({"device": "cpu"}, SegmentSettings())
    assert [child.killed for child in (earlier, started, foreign)] == [False, True, False]

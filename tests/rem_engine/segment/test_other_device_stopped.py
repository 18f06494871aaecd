"""Ctrl-C while a further device's process comes up is a Ctrl-C, and nothing else."""

from __future__ import annotations

import multiprocessing

import pytest

from rem_engine.segment import other_device
from rem_engine.segment.settings import SegmentSettings


def test_an_interrupt_while_the_process_starts_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(manager: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(other_device._Manager, "start", interrupted)
    before = multiprocessing.active_children()
    with pytest.raises(KeyboardInterrupt):
        other_device.OtherDevice({"device": "cpu"}, SegmentSettings())
    assert multiprocessing.active_children() == before

"""Progress on the terminal: what stands on standard error while work goes on."""

from __future__ import annotations

from typing import get_args

import pytest

from rem_engine.commands.progress import ProgressBar
from rem_engine.progress import Unit, counted
from tests.rem_engine.progress_log import ProgressLog
from trainer.commands.progress import progress_bar


def bars(text: str) -> list[str]:
    """What is left of each bar: the last of the states that were drawn over one another."""
    return [line.split("\r")[-1] for line in text.split("\n") if "|" in line]


def test_a_count_that_is_complete_leaves_its_bar_and_the_next_begins_another(capsys: pytest.CaptureFixture) -> None:
    with progress_bar() as bar:
        bar.say("encoding texts")
        for _ in counted(range(2), "shards", bar):
            pass
        bar.say("encoding shots of bikes")
        for _ in counted(range(3), "shards", bar):
            pass
    text = capsys.readouterr().err
    assert [line[: line.index(" [")].split("|")[-1].strip() for line in bars(text)] == ["2/2", "3/3"]
    assert text.index("encoding texts") < text.index("2/2") < text.index("encoding shots of bikes") < text.index("3/3")


def test_steps_that_come_to_light_late_stay_in_one_bar(capsys: pytest.CaptureFixture) -> None:
    with ProgressBar() as bar:
        bar.update("steps", 3, 3)
        bar.update("frames", 9, 20)
        bar.update("steps", 4, 6)
    (line,) = bars(capsys.readouterr().err)
    assert line.startswith("segmenting: ") and "4/6" in line and "9 of 20 frames" in line


def test_what_comes_after_a_run_has_a_bar_of_its_own(capsys: pytest.CaptureFixture) -> None:
    with ProgressBar() as bar:
        bar.update("steps", 6, 6)
        bar.update("frames", 20, 20)
        bar.update("shapes", 0, 3)
        bar.update("shapes", 2, 3)
    first, second = bars(capsys.readouterr().err)
    assert first.startswith("segmenting: ") and "6/6" in first and "20 of 20 frames" in first
    assert second.startswith("making shapes: ") and "2/3" in second


def test_steps_within_a_video_are_noted_beside_the_bar_of_videos(capsys: pytest.CaptureFixture) -> None:
    with progress_bar(beside="steps") as bar:
        for _ in counted(["one"], "videos", bar):
            bar.update("steps", 2, 8)
    (line,) = bars(capsys.readouterr().err)
    assert line.startswith("predicting: ") and "1/1" in line and "2 of 8 steps" in line


def test_every_unit_has_a_bar_or_stands_beside_one(capsys: pytest.CaptureFixture) -> None:
    for unit in get_args(Unit):
        with progress_bar() as bar:
            bar.update(unit, 1, 1)
        assert len(bars(capsys.readouterr().err)) == (unit != "frames"), unit


def test_of_items_the_first_is_told_before_it_is_worked_on_and_nothing_of_none() -> None:
    log = ProgressLog()
    for item in counted("ab", "runs", log):
        log.say(f"{item} after {log.counts['runs'][-1]}")
    assert log.said == ["a after (0, 2)", "b after (1, 2)"] and log.counts["runs"][-1] == (2, 2)
    assert list(counted([], "masks", log)) == [] and "masks" not in log.counts

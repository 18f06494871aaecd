"""What the trainer writes replaces what it wrote itself, and nothing else; one process at a time does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rem_engine.folder_lock import locked
from rem_engine.media.writing import mask_png
from tests.trainer.benchmarks.miniatures import write_vspw
from tests.trainer.miniatures import HEIGHT, WIDTH
from trainer.ablation.report import check_reports
from trainer.benchmarks.names import open_benchmark
from trainer.commands.cli import main
from trainer.mini.pool import build_pool
from trainer.synth.backgrounds import procedural
from trainer.synth.worlds import WORLDS

SEEN = Path("results.md"), Path("results.csv"), Path("contact_sheet.html"), Path("results.json")


@pytest.fixture
def scoring(tmp_path: Path) -> list[str]:
    """A command that scores stored masks, whole frames all of them."""
    write_vspw(tmp_path / "data")
    benchmark = open_benchmark("vspw", tmp_path / "data", None)
    for name in benchmark.names():
        video = benchmark.video(name)
        for query in video.queries:
            folder = tmp_path / "masks" / query.folder
            folder.mkdir(parents=True)
            for file in filter(None, video.masks):
                (folder / file).write_bytes(mask_png(np.ones((HEIGHT, WIDTH), bool)))
    given = ("--root", tmp_path / "data", "--score-only", tmp_path / "masks", "--out", tmp_path / "out")
    return ["benchmark", "vspw", *map(str, given)]


def mini(tmp_path: Path) -> list[str]:
    return ["mini", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]


def ablation(tmp_path: Path) -> list[str]:
    return ["ablate", "--out", str(tmp_path / "out")]


def refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and sentence in line


@pytest.mark.parametrize("file", SEEN, ids=str)
def test_a_report_of_somebody_else_is_not_replaced(
    scoring: list[str], tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "out" / file
    mine.parent.mkdir()
    mine.write_text("my own notes")
    refused(scoring, f"{mine} is of no earlier run of this command: move it away, or name another --out.", capsys)
    assert mine.read_text() == "my own notes"
    assert [path.name for path in mine.parent.iterdir()] == [file.name]


def test_a_report_of_the_same_command_is_replaced(scoring: list[str], tmp_path: Path) -> None:
    assert main(scoring) == 0
    first = (tmp_path / "out" / "results.md").read_text()
    (tmp_path / "out" / "results.md").write_text("an older version")
    assert main(scoring) == 0
    assert (tmp_path / "out" / "results.md").read_text() == first


def test_settings_of_somebody_else_are_not_replaced(
    scoring: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "out" / "predictions.json"
    settings.parent.mkdir()
    settings.write_text('{"mine": true}')
    predicting = [*scoring[:4], *scoring[6:]]
    refused(predicting, f"{settings} is of no run of this command: move it away, or name another --out.", capsys)
    assert json.loads(settings.read_text()) == {"mine": True}


@pytest.mark.parametrize("command", [mini, ablation])
def test_of_two_processes_in_one_folder_the_second_is_refused(
    command: Callable[[Path], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path / "out", "wait"):
        refused(command(tmp_path), f"is writing to {tmp_path / 'out'}", capsys)
    assert not (tmp_path / "out").exists() and not (tmp_path / "work").exists()


def test_a_benchmark_waits_for_nobody_in_its_folder(
    scoring: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path / "out", "wait"):
        refused(scoring, f"is writing to {tmp_path / 'out'}", capsys)


def test_another_model_is_not_replaced_by_rem_mini(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "out" / "transformer" / "rem_mini.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_text("another's")
    refused(mini(tmp_path), f"{weights.parent} is of no REM-mini: move it away, or name another --out.", capsys)
    (tmp_path / "out" / "rem.json").write_text('{"name": "another"}')
    refused(mini(tmp_path), f"{tmp_path / 'out' / 'rem.json'} is of no REM-mini", capsys)
    assert weights.read_text() == "another's" and not (tmp_path / "work").exists()


def test_a_pool_of_somebody_else_is_not_rendered_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = tmp_path / "work" / "pool" / "frames.npy"
    frames.parent.mkdir(parents=True)
    frames.write_text("another's")
    refused(mini(tmp_path), f"{frames.parent} is of no training: move it away, or name another --work.", capsys)
    assert frames.read_text() == "another's"


def test_one_folder_is_not_both_rem_minis_work_and_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["mini", "--work", str(tmp_path / "out"), "--out", str(tmp_path / "work" / ".." / "out")]
    refused(arguments, "cannot be the working folder and the model folder at once: name another --out.", capsys)
    assert not (tmp_path / "out").exists()


def test_results_of_somebody_else_are_not_replaced_by_an_ablations(tmp_path: Path) -> None:
    check_reports(tmp_path)
    (tmp_path / "results.json").write_text('{"protocol": {}, "questions": {}, "sweeps": [], "records": []}')
    (tmp_path / "results.md").write_text("| variant |")
    check_reports(tmp_path)
    for content in ("{}", "[1]", '{"records": []}', "no JSON"):
        (tmp_path / "results.json").write_text(content)
        with pytest.raises(ValueError, match=r"results\.json is of no earlier run of this command"):
            check_reports(tmp_path)


def test_the_sample_shot_replaces_no_file_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.mp4"
    mine.write_text("footage")
    refused(["sample", "--clip", str(mine), "--out", str(mine)], f"{mine} is there already", capsys)
    assert mine.read_text() == "footage"


def test_a_pool_that_does_not_fit_on_the_disk_is_refused_before_the_system_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    with pytest.raises(RuntimeError, match=r"pool needs 2 MB and its disk has 1 MB free: make room"):
        build_pool(tmp_path / "pool", WORLDS["plain"], 40, 7, 32, 0, procedural)
    assert list((tmp_path / "pool").iterdir()) == []

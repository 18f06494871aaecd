"""A command as a farm's job: what its tasks do is what the command does, whoever runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from moving_scenes import write_edit
from red_model import check_refused, files_of

from rem_engine.commands.cli import main
from rem_engine.media import open_shot
from rem_engine.media.plate_settings import PlateSettings
from rem_engine.run.farm import parts_of

openjd = pytest.importorskip("openjd.model", reason="openjd-model is not installed")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Frames 1001 to 1014, a cut at 1009, in a folder with a space in its name."""
    return write_edit(tmp_path / "cut shot", 8, 6)


def job_of(folder: Path) -> Any:
    """A bundle as openjd-model reads it, with the values that it says."""
    template = openjd.decode_job_template(template=json.loads((folder / "template.json").read_text()))
    said = json.loads((folder / "parameter_values.json").read_text())["parameterValues"]
    values = openjd.preprocess_job_parameters(
        job_template=template,
        job_parameter_values={value["name"]: value["value"] for value in said},
        job_template_dir=folder,
        current_working_dir=folder,
    )
    return openjd.create_job(job_template=template, job_parameter_values=values)


def commands_of(step: Any, tmp_path: Path) -> list[list[str]]:
    """What a step's tasks run, in the words of the template, with the values of each."""
    action, commands = step.script.actions.onRun, []
    paths = {"Shot": f"{tmp_path}/cut shot", "Out": f"{tmp_path}/out", "List": f"{tmp_path}/shots.csv"}
    job = {f"Param.{name}": value for name, value in {"Python": "python", **paths}.items()}
    spaces = openjd.StepParameterSpaceIterator(space=step.parameterSpace)
    for task in spaces:
        own = {f"Task.Param.{name}": value.value for name, value in task.items()}
        symbols = openjd.SymbolTable(source={**job, **own})
        commands.append([text.resolve(symtab=symbols) for text in (action.command, *action.args)])
    return commands


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are given as one types them; those of a job are whole."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("plate")
def test_a_shot_is_shared_by_its_takes_and_a_last_task_joins_them(tmp_path: Path) -> None:
    command = [
        "segment",
        "cut shot",
        "-p",
        "it: the 'red' circle",
        "-o",
        "out",
        "--write",
        "exr",
        "--include",
        "a=x.png",
        "--hold-out=-4,0,9,9",
        "--add",
        "2026-11",
    ]
    assert main(["farm", "--job", "job", "--frames-per-task", "5", "--find-cuts", "--gpus", "1", *command]) == 0
    parts, files = job_of(tmp_path / "job").steps
    said = [
        *("python", "-m", "rem_engine", "segment", f"{tmp_path}/cut shot", "--prompt=it: the 'red' circle"),
        *(f"--out={tmp_path}/out", "--write=exr", f"--include=a={tmp_path}/x.png"),
        *("--hold-out=-4,0,9,9", f"--add={tmp_path}/2026-11", "--cuts=8"),
    ]
    numbers = ("1001-1004", "1005-1008", "1009-1011", "1012-1014")
    assert commands_of(parts, tmp_path) == [[*said, f"--part={part}"] for part in numbers]
    assert commands_of(files, tmp_path) == [said]
    assert [dependency.dependsOn for dependency in files.dependencies] == ["Parts"]
    for step in (parts, files):
        assert [(amount.name, amount.min) for amount in step.hostRequirements.amounts] == [("amount.worker.gpu", 1)]


def test_a_list_is_shared_by_its_shots(tmp_path: Path) -> None:
    Path("shots.csv").write_text("shot,name\nplates/sh010,\nplates/sh020.mov,take 2\n")
    command = ["batch", "shots.csv", "-p", "the smoke", "-o", "out", "--qc"]
    assert main(["farm", "--job", "job", *command]) == 0
    (shots,) = job_of(tmp_path / "job").steps
    said = [
        "python",
        "-m",
        "rem_engine",
        "batch",
        f"{tmp_path}/shots.csv",
        "--prompt=the smoke",
        f"--out={tmp_path}/out",
    ]
    assert commands_of(shots, tmp_path) == [[*said, "--qc", f"--only={name}"] for name in ("sh010", "take_2")]


@pytest.mark.parametrize("most", [1, 3, 5, 100])
def test_parts_are_all_frames_once_and_none_has_two_takes(plate: Path, most: int) -> None:
    with open_shot(plate, PlateSettings(frames="1001-1003,1005-1014")) as shot:
        parts = parts_of(shot, (7,), most)
    spans = [[int(end) for end in part.split("-")] for part in parts]
    assert [number for first, *last in spans for number in range(first, (last or [first])[0] + 1)] == [
        *range(1001, 1004),
        *range(1005, 1015),
    ]
    assert {1001, 1005, 1009} <= {first for first, *_ in spans}
    assert max((last or [first])[0] - first + 1 for first, *last in spans) <= most


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ([], "the following arguments are required: segment|batch"),
        (["matte", "x"], "invalid choice: 'matte'"),
        (["segment", "cut shot", "-p", "it", "-o", "out", "--part", "1-2"], "has a --part already"),
        (["segment", "cut shot", "-p", "it {{x}}", "-o", "out"], "has two braces, which a farm would fill in"),
        (["segment", "nowhere", "-p", "it", "-o", "out"], "nowhere does not exist"),
        (["segment", "cut shot", "-p", "it", "-o", "out", "--cuts", "99"], "A take cannot begin at frame 99"),
        (["segment", "cut shot", "-p", "it", "-o", "cut shot"], "cut shot lies where this run would write"),
        (["segment", "cut shot", "-p", "it", "-o", "cut shot/cut.1001.png"], "is a file: name a folder to write to"),
        (["batch", "shots.csv", "-o", "out"], "shots.csv does not exist"),
    ],
    ids=str,
)
def test_what_is_no_command_gets_a_sentence_and_no_job(
    command: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    check_refused(["farm", "--job", "job", *command], sentence, capsys)
    assert not (tmp_path / "job").exists()


@pytest.mark.usefixtures("plate")
def test_what_tasks_would_fail_of_is_told_and_the_job_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ["--model", "wan", "--checkpoint", "rem.pth:ema", "--include", "it=in.png", "--add", "0,0,5,5"]
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    assert main(["farm", "--job", "job", "segment", "cut shot", "-p", "it: it", "-o", "new/out", *given]) == 0
    said = capsys.readouterr().err
    for name in ("wan", "rem.pth", "in.png"):
        assert f"warning: {tmp_path}/{name} is not on this machine, and no task goes without it" in said
    assert f"warning: {tmp_path}/new/out cannot be written from this machine" in said
    assert said.count("warning: ") == 4
    assert job_of(tmp_path / "job").steps
    for name in ("wan", "rem.pth", "in.png"):
        Path(name).write_text("")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["farm", "--job", "job2", "segment", "cut shot", "-p", "it: it", "-o", "new/out", *given]) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_job_is_called_as_its_shot_whatever_letters_that_has(plate: Path, tmp_path: Path) -> None:
    (tmp_path / "煙{{x}}").mkdir()
    (plate / "cut.1001.png").rename(tmp_path / "煙{{x}}" / "煙{{x}}.1001.png")
    assert main(["farm", "--job", "job", "segment", "煙{{x}}", "-p", "é: it", "-o", "out"]) == 0
    job = job_of(tmp_path / "job")
    assert job.name == "REM 煙{ {x} }: é"


@pytest.mark.usefixtures("plate")
def test_shots_of_a_list_that_will_fail_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["cut shot,,", "cut shot,9000-9001,", "cut shot,,much", *(f"gone/sh{number:03},," for number in range(8))]
    Path("shots.csv").write_text("\n".join(["shot,frames,smooth", *rows]) + "\n")
    assert main(["farm", "--job", "job", "batch", "shots.csv", "-p", "it", "-o", "out"]) == 0
    said = capsys.readouterr().err
    told = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert len(told) == 9
    assert "cut_shot_2 will fail as seen from this machine: " in told[0] and "9000-9001" in told[0]
    assert "In the line of cut_shot_3: argument --smooth" in told[1]
    assert "sh000 will fail as seen from this machine: " in told[2] and "gone/sh000 does not exist" in told[2]
    assert told[-1] == "warning: 2 shots more will fail, too."


@pytest.mark.usefixtures("plate")
def test_a_job_is_not_replaced_nor_larger_than_farms_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["farm", "--job", "job", "segment", "cut shot", "-p", "it", "-o", "out"]
    assert main(command) == 0
    capsys.readouterr()
    before = files_of(Path("job"))
    check_refused(command, "job has a job already (template.json)", capsys)
    assert files_of(Path("job")) == before
    Path("file").write_text("")
    check_refused([*command[:2], "file", *command[3:]], "file is a file: name a folder for the job", capsys)
    monkeypatch.setattr("rem_engine.run.farm._MOST_TASKS", 2)
    check_refused([*command[:2], "other", "--frames-per-task", "5", *command[3:]], "this one would have 3", capsys)
    monkeypatch.setitem(sys.modules, "openjd.model", None)
    check_refused(
        [*command[:2], "other", *command[3:]], "openjd-model, which says whether a job is one, is not", capsys
    )


@pytest.mark.thorough
def test_a_job_that_openjd_runs_has_the_files_of_the_command(plate: Path, tiny_wan: Path, tmp_path: Path) -> None:
    model = ["--model", str(tiny_wan), "--device", "cpu", "--size", "32x32", "--window", "5", "--overlap", "2"]
    command = [str(plate), "-p", "fire", "-p", "the smoke", "--write", "soft,exr", *model]
    assert main(["segment", *command, "-o", "alone"]) == 0
    assert main(["farm", "--job", "job", "--find-cuts", "segment", *command, "-o", "out"]) == 0
    said = json.loads(Path("job/parameter_values.json").read_text())["parameterValues"]
    given = [f"{value['name']}={value['value']}" for value in [*said, {"name": "Python", "value": sys.executable}]]
    run = [sys.executable, "-m", "openjd", "run", "job/template.json", "--step", "Files", "--run-dependencies"]
    done = subprocess.run(
        [*run, *(word for text in given for word in ("-p", text))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "windows had been made by other tasks" in done.stdout
    alone, joined = (files_of(tmp_path / name) for name in ("alone", "out"))
    assert {name for name in alone if name != "run.json"} == {name for name in joined if name != "run.json"}
    assert all(joined[name] == data for name, data in alone.items() if name != "run.json")

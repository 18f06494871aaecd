"""Both command lines: what they call themselves, how a command ends, and what --debug shows."""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

import rem_engine.commands.cli
import rem_engine.segment.load
import trainer.commands.cli
from rem_engine.commands.command_line import a_path

ROOT = Path(__file__).parents[1]
MAIN = {"rem_engine": rem_engine.commands.cli.main, "trainer": trainer.commands.cli.main}
COMMANDS = {
    "rem_engine": {
        "segment": (["shot.mov", "-p", "smoke", "-o", "out"], "segmenting"),
        "correct": (["out", "--undo"], "correcting masks"),
        "matte": (["shot.mov", "--masks", "masks", "-o", "out"], "making mattes"),
        "batch": (["shots.csv", "-o", "out"], "segmenting shots"),
        "farm": (["--job", "job", "segment", "shot.mov", "-p", "smoke", "-o", "out"], "making a job"),
        "qc": (["out"], "looking mattes over"),
        "convert": (["in.pth", "-o", "out.safetensors"], "converting"),
        "models": ([], "listing models"),
        "models get": (["wan2.1-vae"], "downloading"),
    },
    "trainer": {
        "synth": (["--out", "out", "--count", "1", "--seed", "1"], "rendering shots"),
        "check-data": (["root"], "checking the dataset"),
        "score": (["--data", "data"], "scoring the model"),
        "interactive": (["--data", "data"], "measuring corrections"),
        "benchmark": (["mevis", "--root", "root"], "running the benchmark"),
        "sample": (["--clip", "a.mp4", "--out", "b.mp4"], "making the sample shot"),
        "mini": (["--work", "work", "--out", "out"], "training REM-mini"),
        "distill-decoder": (
            ["mini", "--model", "mini", "--work", "work", "--out", "out.safetensors"],
            "distilling the decoder",
        ),
        "train": (["mini", "--model", "mini", "--out", "out"], "training"),
        "adapt": (["shots", "-o", "out.safetensors"], "adapting"),
        "learn": (["out"], "learning"),
        "export": (["run", "-o", "out.safetensors"], "exporting"),
        "ablate": (["--out", "out"], "running the ablations"),
        "verify-step": (["recording", "--model", "mini"], "taking the recorded steps"),
    },
}
"""What each command takes at least, and what it says it was doing."""
EVERY_COMMAND = pytest.mark.parametrize(
    ("package", "command"), [(package, command) for package, commands in COMMANDS.items() for command in commands]
)
SCRIPTS = {"rem-segment": "rem_engine", "rem-trainer": "trainer"}


class Unforeseen(Exception):
    pass


def fail_in(package: str, command: str, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[str]:
    """Have a command end in an error; gives its arguments."""

    def broken(*_: object) -> int:
        raise error

    return work_in(package, command, monkeypatch, broken)


def work_in(package: str, command: str, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]) -> list[str]:
    """Have a command do something else; gives its arguments."""
    name, _, sub = command.partition(" ")
    module = importlib.import_module(f"{package}.commands.{name.replace('-', '_')}")
    monkeypatch.setattr(module, f"run_{sub}" if sub else "run", work)
    return [*command.split(), *COMMANDS[package][command][0]]


def test_every_command_is_tested_here() -> None:
    for package, commands in COMMANDS.items():
        modules = importlib.import_module(f"{package}.commands.cli").COMMANDS
        names = {module.__name__.rpartition(".")[2].replace("_", "-") for module in modules}
        assert names == {command.split()[0] for command in commands}


@EVERY_COMMAND
def test_an_unforeseen_error_ends_in_one_sentence_that_names_the_operation(
    package: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = fail_in(package, command, monkeypatch, KeyError("x"))
    assert MAIN[package](arguments) == 1
    doing = COMMANDS[package][command][1]
    assert capsys.readouterr().err == (
        f"error: python -m {package} failed with KeyError: 'x' while {doing}; run again with --debug to see where.\n"
    )


@EVERY_COMMAND
def test_full_memory_ends_in_one_sentence(
    package: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAIN[package](fail_in(package, command, monkeypatch, MemoryError())) == 2
    doing = COMMANDS[package][command][1]
    said = f"error: The memory is full while {doing}: close other programs, or do less at a time.\n"
    assert capsys.readouterr().err == said


@EVERY_COMMAND
def test_a_path_that_is_empty_is_refused(package: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a variable gives that is not set: the folder one is in would be meant, and written to."""
    parser, names = importlib.import_module(f"{package}.commands.cli").build_parser(), command.split()
    for name in names:
        below = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        parser = below.choices[name]
    assert not any(action.type is Path for action in parser._actions)
    given = COMMANDS[package][command][0]
    for action in (action for action in parser._actions if action.type is a_path):
        arguments = [action.option_strings[0], "", *given] if action.option_strings else ["", *given[1:]]
        with pytest.raises(SystemExit) as ended:
            MAIN[package]([*names, *arguments])
        said = capsys.readouterr().err
        assert ended.value.code == 2 and said.count("\n") == 1, action.dest
        assert ": the path is empty: name a file or folder, or . for the folder you are in (see" in said


@EVERY_COMMAND
def test_a_disk_that_fails_ends_in_one_sentence(
    package: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To read on in a file that is open tells the system's reason alone."""
    assert MAIN[package](fail_in(package, command, monkeypatch, OSError(errno.EIO, "Input/output error"))) == 2
    doing = COMMANDS[package][command][1]
    said = f"error: Input/output error while {doing}: look at the disk, or the network, that the files are on.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--frames", "1000000000", "1000000000 is not possible; give 1 to 1001"),
        ("--count", "1000000000", "1000000000 is not possible; give 1 to 1000000"),
        ("--count", "many", "'many' is no whole number"),
        ("--seed", "-1", "-1 is not possible; give 0 to 4294967295"),
        ("--size", "65536x65536", "65536x65536 is not possible; both sides need 16 to 4096 pixels"),
    ],
)
def test_numbers_out_of_range_end_in_one_line(
    option: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        MAIN["trainer"](["synth", "--out", "out", "--count", "1", "--seed", "1", option, value])
    assert ended.value.code == 2
    said = f"error: argument {option}: {sentence} (see python -m trainer synth --help)\n"
    assert capsys.readouterr().err == said


def test_more_frames_than_fit_into_memory_are_refused_before_any_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["synth", "--out", str(out), "--count", "1", "--seed", "1", "--frames", "1001", "--size", "4096x4096"]
    assert MAIN["trainer"](arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: The 1001 frames of 4096x4096 pixels of a shot take 1888.4 GB of memory, and ")
    assert said.count("\n") == 1 and not any(tmp_path.iterdir())


@pytest.mark.parametrize("package", MAIN)
@pytest.mark.parametrize(
    ("brought", "shown"), [("a\nb", "a\\nb"), ("\x1b[31mred", "\\x1b[31mred"), ("\udcff\0", "\\udcff\\x00")]
)
def test_what_names_bring_along_does_not_break_a_sentence(
    package: str, brought: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ends of lines, a terminal's commands, halves of characters; an accent and a picture stay as they are."""
    command = next(iter(COMMANDS[package]))
    sentence = f"There is no file {brought} \N{LATIN SMALL LETTER E WITH ACUTE}\N{FIRE} here."
    own_error = own(f"raise ValueError({sentence!r})")
    assert MAIN[package](work_in(package, command, monkeypatch, own_error)) == 2
    assert capsys.readouterr().err == f"error: {sentence.replace(brought, shown)}\n"


@EVERY_COMMAND
def test_debug_shows_where_an_error_came_from(
    package: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = fail_in(package, command, monkeypatch, Unforeseen("first\nsecond"))
    assert MAIN[package](["--debug", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in lines
    assert any(re.search(r'File ".*test_command_lines.py", line \d+, in broken', line) for line in lines)
    assert "failed with Unforeseen: first while" in lines[-1]


@pytest.mark.parametrize("arguments", [["--debug", "models", "get", "x"], ["models", "--debug", "get", "x"]])
def test_debug_holds_wherever_it_stands(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_in("rem_engine", "models get", monkeypatch, KeyError("x"))
    assert MAIN["rem_engine"](arguments) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("package", MAIN)
def test_logs_are_quiet_without_debug_and_end_with_it(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def logs(*_: object) -> int:
        logging.getLogger(f"{package}.somewhere").debug("a detail")
        return 0

    arguments = work_in(package, next(iter(COMMANDS[package])), monkeypatch, logs)
    assert MAIN[package](["--debug", *arguments]) == 0
    assert f"{package}.somewhere: a detail" in capsys.readouterr().err
    assert MAIN[package](arguments) == 0
    assert "a detail" not in capsys.readouterr().err
    assert not logging.getLogger(package).handlers


@pytest.mark.parametrize("package", MAIN)
def test_foreseen_errors_and_ctrl_c_keep_their_words_and_codes(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"rem_engine": ["convert", "nowhere.pth", "-o", "out.safetensors"], "trainer": ["export", "run"]}
    arguments["trainer"] += ["-o", "out.safetensors"]
    assert MAIN[package](arguments[package]) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: ") and sentence.count("\n") == 1 and "--debug" not in sentence
    assert MAIN[package]([*arguments[package], "--debug"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown and shown.endswith(sentence)
    command = next(iter(COMMANDS[package]))
    assert MAIN[package](fail_in(package, command, monkeypatch, KeyboardInterrupt("stopped at step 3"))) == 130
    assert capsys.readouterr().err == "stopped at step 3\n"


def test_an_error_of_a_library_is_none_of_our_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A RuntimeError that nobody here has worded: torch's, of a module that is given a wrong shape."""
    import torch

    @wraps(rem_engine.segment.load.load_segmenter)
    def load(*_: object, **__: object) -> None:
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))

    monkeypatch.setattr(rem_engine.segment.load, "load_segmenter", load)
    shot = ROOT / "assets" / "sample_shot.mp4"
    assert MAIN["rem_engine"](["segment", str(shot), "-p", "smoke", "-o", str(tmp_path / "out")]) == 1
    sentence = capsys.readouterr().err
    assert "failed with RuntimeError: mat1 and mat2" in sentence and "while segmenting; run again" in sentence


def own(code: str) -> Callable[..., None]:
    """A function that a module of the engine might have, with this code."""
    space = {"__name__": "rem_engine.somewhere"}
    exec(f"def work(*_, **__):\n    {code}", space)
    return space["work"]


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("int('abc')", "ValueError: invalid literal for int()"),
        ("a, b = (1,)", "ValueError: not enough values to unpack"),
        ("import torch; torch.zeros(2) + torch.zeros(3)", "RuntimeError: The size of tensor a (2)"),
        ("import os; os.read(10_000, 1)", "OSError: [Errno 9]"),
        ("import socket; socket.create_connection(('127.0.0.1', 1))", "ConnectionRefusedError: [Errno "),
    ],
)
def test_an_operation_that_fails_under_our_hands_is_none_of_our_sentences(
    code: str, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C code leaves no frame of its own, so that such an error seems to end in our module."""
    assert MAIN["rem_engine"](work_in("rem_engine", "segment", monkeypatch, own(code))) == 1
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    assert f"failed with {named}" in sentence and "while segmenting; run again with --debug" in sentence


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise ValueError('Give another name.')", "error: Give another name.\n"),
        ("raise FileNotFoundError('There is none.')", "error: There is none.\n"),
        ("open('/no/such/file')", "error: /no/such/file: No such file or directory; check the path, "),
        pytest.param(
            "import os; os.write(os.open('/dev/full', 1), b'x')",
            "error: No space is left on the disk: ",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full"),
        ),
    ],
)
def test_what_our_own_raise_words_and_what_names_a_file_is_foreseen(
    code: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAIN["rem_engine"](work_in("rem_engine", "segment", monkeypatch, own(code))) == 2
    assert capsys.readouterr().err.startswith(sentence)


# ---- installed commands


def scripts() -> dict[str, Callable[[Sequence[str]], int]]:
    """The functions of pyproject's [project.scripts], by the name they are installed under."""
    table = (ROOT / "pyproject.toml").read_text("utf-8").partition("[project.scripts]\n")[2].partition("\n[")[0]
    found = re.findall(r'^(\S+) = "([\w.]+):(\w+)"$', table, re.MULTILINE)
    return {name: getattr(importlib.import_module(module), function) for name, module, function in found}


def test_both_packages_have_an_installed_command() -> None:
    assert scripts() == {name: MAIN[package] for name, package in SCRIPTS.items()}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("suffix", ["", ".exe"])
def test_an_installed_command_calls_itself_so(
    script: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package, main = SCRIPTS[script], scripts()[script]
    monkeypatch.setattr(sys, "argv", [str(tmp_path / (script + suffix))])
    for command in ([], *(command.split() for command in COMMANDS[package])):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--help"])
        shown = capsys.readouterr().out
        assert stopped.value.code == 0
        assert shown.startswith(" ".join(["usage:", script, *command]))
        assert f"python -m {package}" not in shown
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert capsys.readouterr().err.endswith(f"(see {script} --help)\n")
    command = next(iter(COMMANDS[package]))
    assert main(fail_in(package, command, monkeypatch, KeyError("x"))) == 1
    assert capsys.readouterr().err.startswith(f"error: {script} failed with KeyError: 'x' while ")


def test_a_sentence_names_commands_as_they_were_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["segment", "shot.mov", "-o", "out"]
    assert MAIN["rem_engine"](arguments) == 2
    assert "see python -m rem_engine segment --help" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["/usr/bin/rem-segment"])
    assert MAIN["rem_engine"](arguments) == 2
    assert "see rem-segment segment --help" in capsys.readouterr().err


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_script_that_pip_installs_runs(script: str, tmp_path: Path) -> None:
    path = Path(sys.executable).parent / script
    if not path.is_file():
        pytest.skip(f"{script} is not installed beside this Python: pip install -e .")
    done = subprocess.run([path, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {script} ")

"""A file under its name is whole, whoever else writes the same one, and what killed writers left goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rem_engine.whole_files import meant_for, scratch_folder, temporary_name, written_together, written_whole

ROOT = Path(__file__).parents[2]


def test_two_writers_of_one_file_do_not_write_into_each_others(tmp_path: Path) -> None:
    target = tmp_path / "rem.safetensors"
    with written_whole(target) as one:
        one.write_bytes(b"1" * 10)
        with written_whole(target) as two:
            two.write_bytes(b"2" * 20)
            one.write_bytes(b"1" * 30)
        assert target.read_bytes() == b"2" * 20
    assert target.read_bytes() == b"1" * 30
    assert [file.name for file in tmp_path.iterdir()] == ["rem.safetensors"]


def test_a_temporary_name_fits_where_the_final_one_does(tmp_path: Path) -> None:
    for name in ("x" * 255, "ü" * 127, "a.b"):
        temporary = temporary_name(tmp_path / name)
        temporary.write_bytes(b"")
        assert temporary.name.startswith(".") and name.startswith(meant_for(temporary.name))
    assert meant_for(temporary_name(tmp_path / f"{'x' * 180}.1001.exr").name) == f"{'x' * 180}.1001.exr"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "data"
    opened = "written_whole" if kind == "file" else "scratch_folder"
    fill = "path.write_bytes(b'half')" if kind == "file" else "(path / 'half').write_bytes(b'')"
    code = (
        f"import time; from pathlib import Path; from rem_engine.whole_files import {opened}\n"
        f"with {opened}(Path({str(target)!r})) as path:\n    {fill}; print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout.readline() == b"held\n"
        (left,) = tmp_path.iterdir()
        write(target, kind)
        assert left.exists()
        writer.send_signal(signal.SIGKILL)
    mine, others = tmp_path / ".data.tmp", tmp_path / f".database.host.{os.getpid()}-00000000.tmp"
    mine.write_bytes(b"mine")
    others.write_bytes(b"mine")
    write(target, kind)
    assert not left.exists() and mine.exists() and others.exists()


def write(target: Path, kind: str) -> None:
    with written_whole(target) if kind == "file" else scratch_folder(target) as path:
        if kind == "file":
            path.write_bytes(b"whole")


def test_what_another_machine_left_goes_after_a_day(tmp_path: Path) -> None:
    young, old = (tmp_path / f".data.elsewhere.7-{key * 8}.tmp" for key in "ab")
    for file in (young, old):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    write(tmp_path / "data", "file")
    assert young.exists() and not old.exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_of_files_that_belong_together_all_are_there_or_none(tmp_path: Path, stop: type[BaseException]) -> None:
    files = {tmp_path / "a": b"new a", tmp_path / "b": b"new b"}
    (tmp_path / "a").write_bytes(b"old a")
    with pytest.raises(stop), written_together(files):
        raise stop
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old a"}
    with written_together(files):
        pass
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files

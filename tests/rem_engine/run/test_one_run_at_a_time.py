"""One run at a time writes to a folder; a second comer is told who is at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from red_model import FRAMES, deliver, files_of

from rem_engine.folder_lock import LOCK_FILE, locked

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("fake_model")


def star(shot: Path, out: Path, *options: str) -> int:
    return deliver(shot, out, *options, prompts=("the red star",))


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_is_at_it(
    shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert star(shot, out) == 0
    before = files_of(out)
    with locked(out, "wait"):
        assert star(shot, out, "--threshold", "0.4") == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert (
            said.startswith(f"error: Another run (process {os.getpid()} on ") and f"is writing to {out}: wait" in said
        )
    assert files_of(out) == before


def test_the_lock_of_a_killed_process_counts_no_longer(shot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hold = "import sys, time; from pathlib import Path; from rem_engine.folder_lock import locked\n"
    hold += f"with locked(Path({str(out)!r}), 'wait'):\n    print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert star(shot, out) == 2
        holder.send_signal(signal.SIGKILL)
    assert (out / LOCK_FILE).exists()
    assert star(shot, out) == 0
    assert not (out / LOCK_FILE).exists()


def test_a_lock_of_another_machine_counts(shot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / LOCK_FILE).write_text(json.dumps({"process": 2**22 + 5, "host": "elsewhere"}))
    assert star(shot, out) == 2
    assert f"If there is none, remove {out / LOCK_FILE}." in capsys.readouterr().err


@pytest.mark.slow
def test_of_two_processes_that_write_to_one_folder_at_once_one_does_and_one_says_why_not(
    shot: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rem_engine", "segment", str(shot), "-p", "the red star", "-o", str(out)]
    both = [
        subprocess.Popen([*command, "--threshold", threshold], stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for threshold in ("0.4", "0.5")
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    codes = [process.returncode for process in both]
    if codes == [0, 0]:
        pytest.skip("they were not at it at once")
    assert sorted(codes) == [0, 2]
    (sentence,) = (text.splitlines()[-1] for text, code in zip(said, codes, strict=True) if code)
    assert "Another run (process " in sentence
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert run["settings"]["threshold"] == (0.4, 0.5)[codes.index(0)]
    assert len(list((out / "the_red_star" / "masks").iterdir())) == FRAMES


@pytest.mark.parametrize("what", ["text", "json", "link", "folder", "pipe"])
def test_what_others_call_a_lock_is_neither_removed_nor_waited_for(tmp_path: Path, what: str) -> None:
    lock = tmp_path / ".lock"
    if what == "link":
        lock.symlink_to(tmp_path / "nowhere")
    elif what == "folder":
        lock.mkdir()
    elif what == "pipe":
        os.mkfifo(lock)
    else:
        lock.write_text("theirs" if what == "text" else '{"theirs": 1}')
        os.utime(lock, (1, 1))
    before = (lock.lstat().st_ino, lock.lstat().st_mtime_ns)
    with (
        pytest.raises(ValueError, match=r"\.lock is another program's: move it away, or wait\."),
        locked(tmp_path, "wait"),
    ):
        pass
    assert (lock.lstat().st_ino, lock.lstat().st_mtime_ns) == before

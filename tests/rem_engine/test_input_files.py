"""Files that others made: what is damage, what is the system's refusal, and what is no JSON."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rem_engine import memory
from rem_engine.input_files import NotJson, NotText, load_json, load_text, told_as_damage


@pytest.mark.parametrize(
    "error",
    [
        SyntaxError("broken PNG file"),
        OSError("cannot identify"),
        OSError(errno.EINVAL, os.strerror(errno.EINVAL)),  # as of a seek to before the beginning
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
def test_whatever_a_library_raises_is_damage(error: Exception) -> None:
    with pytest.raises(ValueError, match="^It is damaged[.]$"), told_as_damage("It is damaged."):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number)) for number in (errno.EACCES, errno.ENOENT, errno.EIO, errno.ENOSPC)),
        MemoryError(),
    ],
)
def test_what_the_system_refuses_is_no_damage(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, told_as_damage("It is damaged."):
        raise error
    assert raised.value is error


def test_what_is_named_has_its_own_sentence() -> None:
    with pytest.raises(KeyError, match="ours"), told_as_damage("It is damaged.", but=KeyError):
        raise KeyError("ours")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":\n 1,}', "line 2, column 4 is not JSON"),
        (b"", "line 1, column 1 is not JSON"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"[" * 100_000, "lists within lists without end"),
        (b"1" * 5000, "a number that is none"),
        (b'{"a": ["\\ud83d"]}', "half a character"),
        (b'{"\\udcff": 1}', "half a character"),
        (b"[" + b" " * 2000 + b"]", "longer than 0 MB"),
    ],
)
def test_what_is_no_json_is_told_by_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(NotJson, match=reason):
        load_json(path, limit=1000 if b"  " in data else None)


def test_json_that_memory_does_not_hold_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"[" + b" " * 2_000_000 + b"]")
    monkeypatch.setattr(memory, "free_bytes", lambda: 20_000_000)
    assert load_json(path) == []
    monkeypatch.setattr(memory, "free_bytes", lambda: 10_000_000)
    with pytest.raises(ValueError, match=r"The 2 MB of .*x\.json, as JSON, take 16 MB of memory, and 10 MB are free"):
        load_json(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"the smoke\nthe \xff", "byte 14 is not UTF-8"), (b"a" * 1_000_001, "it is longer than 1 MB")],
)
def test_what_is_no_text_is_told_by_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    with pytest.raises(NotText, match=reason):
        load_text(path)


def test_of_a_text_without_end_no_more_is_read_than_a_text_may_have(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    with open(path, "wb") as file:
        file.truncate(2**40)  # of which the disk holds nothing
    with pytest.raises(NotText, match="longer than 1 MB"):
        load_text(path)


def test_the_mark_before_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes(b"\xef\xbb\xbfthe fire\r\nthe smoke")
    assert load_text(tmp_path / "prompts.txt").splitlines() == ["the fire", "the smoke"]


def test_whole_characters_beyond_the_first_65536_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": "\\ud83d\\udd25", "b": "\\u00e9"}')
    assert load_json(path) == {"a": "\N{FIRE}", "b": "\N{LATIN SMALL LETTER E WITH ACUTE}"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this system's folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(ValueError, match="is a pipe and no file"):
        load_json(tmp_path / "x.json")

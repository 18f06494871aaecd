"""Names of files as a house wants them: `{show}_{seq}_{shot}_{layer}_v{version:03}.{frame}`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..media.numbering import FRAME_FIELD
from .account import FileSet, NoAccount, read_runs, read_unfinished
from .layout import KINDS

FIELDS = ("show", "seq", "shot", "layer", "version", "frame")
"""What a template may have between braces."""

_FIELD = re.compile(r"\{(\w*)(?::([^{}]*))?\}")
_WIDTH = re.compile(r"0([1-9])d?")


def is_template(name: str) -> bool:
    """Whether a name has fields; otherwise it is what the names of files begin with."""
    return "{" in name or "}" in name


def check_template(text: str, fields: Sequence[str] = FIELDS) -> None:
    """Raise ValueError for a template that cannot name the files of a sequence, or has others than `fields`."""
    rest, names = _FIELD.sub("", text), [field[1] for field in _FIELD.finditer(text)]
    if is_template(rest):
        raise ValueError(f"The name {text!r} has a brace that nothing closes or opens: write {_example(fields)}.")
    for field in _FIELD.finditer(text):
        if field[1] not in fields:
            raise ValueError(f"The name {text!r} has the field {field[0]}, and there are {', '.join(fields)}.")
        if field[2] is not None and not (field[1] in ("version", "frame") and _WIDTH.fullmatch(field[2])):
            raise ValueError(f"The name {text!r} has the field {field[0]}: digits are asked for as in {{version:03}}.")
    if names.count("frame") != 1:
        told = "{frame} more than once" if "frame" in names else "no {frame}"
        raise ValueError(
            f"The name {text!r} has {told}, by which frames are told apart: write it once, {_example(fields)}."
        )


def filled(name: str, fields: Mapping[str, str], shot: str) -> str:
    """A template with all that is known; `{layer}` and `{frame}` stay, and `{version}` where none is given.

    Args:
        name: the template, or a name without fields, which stays as it is.
        fields: values by the names of fields.
        shot: name of the shot, for `{shot}` where no value says otherwise.

    Raises:
        ValueError: a template that is none, a field without a value, or a value without a field.
    """
    if is_template(name):
        check_template(name)
    asked = {field[1] for field in _FIELD.finditer(name)}
    for field in fields:
        if field not in asked or field in ("layer", "frame"):
            raise ValueError(
                f"The name {name!r} has no {{{field}}} to be given: leave it out, or write {_example(FIELDS)}."
            )
    known = {"shot": shot, **fields}

    def value(field: re.Match[str]) -> str:
        if field[1] in ("layer", "frame") or (field[1] == "version" and "version" not in known):
            return field[0]
        if field[1] not in known:
            raise ValueError(f"Nothing says what {field[0]} of the name {name!r} is: give --field {field[1]}=NAME.")
        given = known[field[1]]
        if field[1] == "version":
            if not given.isdecimal():
                raise ValueError(f"The version {given!r} is no number: give one such as 3, or none for the next.")
            return _digits(int(given), field[2])
        if not given or any(letter in given for letter in "/\\{}\0"):
            raise ValueError(f"The {field[1]} {given!r} cannot be in the name of a file: give a word, such as sh010.")
        return given

    return _FIELD.sub(value, name)


def versioned(name: str, out: Path, fingerprint: str | None, *, again: bool = False) -> str:
    """A template that was filled, with its version: that of the same run in `out`, whole or stopped, which then is gone
    on with; otherwise, and for one that is made `again`, the one after the highest that any file in `out` has."""
    if "version" not in {field[1] for field in _FIELD.finditer(name)}:
        return name
    version_in, own = _reader_of_versions(name), None
    if fingerprint is not None and not again:
        own = next(filter(None, map(version_in, _names_of_run(out, fingerprint))), None)
    there = (version_in(Path(file).stem) for _, _, files in os.walk(out) for file in files)
    version = own or max(filter(None, there), default=0) + 1
    return _FIELD.sub(lambda field: _digits(version, field[2]) if field[1] == "version" else field[0], name)


def _example(fields: Sequence[str]) -> str:
    words = "_".join(f"{{{field}}}" for field in fields if field not in ("version", "frame"))
    return f"for example {words}_v{{version:03}}.{{frame}}"


def _digits(version: int, width: str | None) -> str:
    found = _WIDTH.fullmatch(width or "")
    return f"{version:0{found[1]}d}" if found else str(version)


def _reader_of_versions(name: str) -> Callable[[str], int | None]:
    """What gives the version in a file's name less its suffix; None for another name."""
    patterns = {"version": "([0-9]+)", "layer": ".+", "frame": "-?[0-9]+"}
    forms = []
    for text in (name, FRAME_FIELD.sub("", name)):  # of a frame, and of a video
        parts, at = [], 0
        for field in _FIELD.finditer(text):
            parts += [re.escape(text[at : field.start()]), patterns[field[1]]]
            at = field.end()
        forms.append(re.compile("".join([*parts, re.escape(text[at:])])))

    def version_in(stem: str) -> int | None:
        return next((int(found[1]) for form in forms if (found := form.fullmatch(stem))), None)

    return version_in


def _names_of_run(out: Path, fingerprint: str) -> Iterator[str]:
    """Names that a run in `out` has for its files, less suffixes."""
    try:
        records = [*read_runs(out), *read_unfinished(out)]
    except NoAccount:  # which has a sentence of its own where OUT is claimed
        return
    for record in records:
        if record.fingerprint == fingerprint:
            yield from map(_name_of, record.files)


def _name_of(files: FileSet) -> str:
    return files.names.of(0) if KINDS[files.kind].is_sequence else files.names.title

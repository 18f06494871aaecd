"""The account of OUT: which run wrote which files, by run.json and by the state of runs that were stopped.

run.json tells of the last run that is whole; its "files" lists what it wrote, "earlier" the runs before it of which
files are still there, and "prompts" all layers of OUT. The hidden state file lists runs that were begun and are not
whole. What none of them lists is somebody else's.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..input_files import NotJson, load_json
from ..names import RESERVED_NAMES, RUN_FILE, names_a_file
from .layout import KINDS, MASK_DIGITS, STATE_FILE, FileKind

_MOST_DIGITS = 20
_STAGING_NAME = re.compile(r"(?:\.unfinished-[0-9a-f]{8})?")


def new_staging_name() -> str:
    """A name for the hidden folder in OUT where files wait until they may replace others."""
    return f".unfinished-{secrets.token_hex(4)}"


class NoAccount(Exception):
    """A file that has an account's name and is none."""


@dataclass(frozen=True)
class FileSet:
    """Files of one kind that a run writes: a sequence of one layer, or one file.

    Attributes:
        kind: one of `layout.FILES`.
        layer: "" where a file holds all of them.
        shot: with what the names of deliveries begin, "" for masks.
        first, count: numbers of a sequence's frames.
        digits: of a number at least.
    """

    kind: str
    layer: str = ""
    shot: str = ""
    first: int = 0
    count: int = 1
    digits: int = MASK_DIGITS

    @property
    def target(self) -> tuple[str, str, str]:
        """What a later run of the same replaces; case aside, as on systems where that makes no other file."""
        return self.kind, self.layer.casefold(), self.shot.casefold()

    def present(self, root: Path) -> list[Path]:
        """Those of the files that there are below `root`."""
        return [path for path in in_the_place_of(self, root) if path.name in self]

    def __contains__(self, name: str) -> bool:
        """Whether a file of this name, in the right folder, is one of them."""
        kind = KINDS[self.kind]
        if not kind.is_sequence:
            return name == self._path(Path(), "").name
        found = kind.frame_names(self.shot).fullmatch(name)
        if found is None:
            return False
        number = int(found[1])
        return self.first <= number < self.first + self.count and found[1] == f"{number:0{self.digits}d}"

    def place(self, root: Path) -> Path:
        """The folder of its frames, or else the file."""
        path = self._path(root, "")
        return path.parent if KINDS[self.kind].is_sequence else path

    def _path(self, root: Path, frame: str) -> Path:
        return KINDS[self.kind].path(root, layer=self.layer, shot=self.shot, frame=frame)

    def to_json(self) -> dict[str, Any]:
        """Its entry in run.json; `file_set` reads it back."""
        described: dict[str, Any] = {"kind": self.kind}
        described |= {name: value for name, value in (("layer", self.layer), ("shot", self.shot)) if value}
        if KINDS[self.kind].is_sequence:
            described |= {"first": self.first, "count": self.count, "digits": self.digits}
        return described


def in_the_place_of(files: FileSet, root: Path) -> list[Path]:
    """All files that lie where these do, whoever wrote them: a sequence's with any number."""
    place = files.place(root)
    if not KINDS[files.kind].is_sequence:
        return [place] if place.is_file() or place.is_symlink() else []
    names = KINDS[files.kind].frame_names(files.shot)
    return sorted(path for path in place.iterdir() if names.fullmatch(path.name)) if place.is_dir() else []


def file_set(entry: Any) -> FileSet:
    """A set of files as an account lists it.

    Raises:
        NoAccount: an entry that no run writes; no name in it leads out of OUT.
    """
    if not isinstance(entry, dict) or not isinstance(kind := KINDS.get(str(entry.get("kind"))), FileKind):
        raise NoAccount
    layer, shot = entry.get("layer", ""), entry.get("shot", "")
    numbers = {name: entry.get(name, 0) for name in ("first", "count", "digits")} if kind.is_sequence else {}
    if (
        not (isinstance(layer, str) and isinstance(shot, str))
        or not (_is_layer(layer) if "{layer}" in kind.file else layer == "")
        or not (names_a_file(shot) if kind.is_delivery else shot == "")
        or not all(type(number) is int and number >= 0 for number in numbers.values())
        or numbers.get("digits", 0) > _MOST_DIGITS
    ):
        raise NoAccount
    return FileSet(kind.name, layer, shot, **numbers)


@dataclass(frozen=True)
class Record:
    """A run as the account has it.

    Attributes:
        run: what run.json says of it alone.
        files: what it wrote, or, of one that is not whole, would write.
        progress: how far a run came that is not whole.
    """

    run: dict[str, Any]
    files: tuple[FileSet, ...]
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str | None:
        return self.run.get("fingerprint")

    @property
    def prompts(self) -> list[dict[str, Any]]:
        return self.run.get("prompts", [])

    def without(self, files: Iterable[FileSet]) -> Record:
        """What is left of it once a run has replaced these."""
        replaced = {entry.target for entry in files}
        left = tuple(entry for entry in self.files if entry.target not in replaced)
        layers = {entry.layer for entry in left}
        prompts = [prompt for prompt in self.prompts if not layers.isdisjoint(("", prompt["name"]))]
        return replace(self, run={**self.run, "prompts": prompts}, files=left)

    def is_in(self, out: Path) -> bool:
        """Whether all of its files are there."""
        return all(
            len(entry.present(out)) == (entry.count if KINDS[entry.kind].is_sequence else 1) for entry in self.files
        )

    def to_json(self) -> dict[str, Any]:
        return {**self.run, "files": [entry.to_json() for entry in self.files]}


def run_json(records: Sequence[Record]) -> dict[str, Any]:
    """What run.json says of whole runs, the last one first: its own entries, and all layers of OUT."""
    last, *earlier = records
    prompts = {prompt["name"]: prompt for record in reversed(records) for prompt in record.prompts}
    texts = {
        prompt["name"]: prompt for record in reversed(records) for prompt in record.prompts if prompt.get("prompt")
    }
    listed = [prompt["name"] for prompt in last.prompts]
    names = dict.fromkeys([*listed, *(prompt["name"] for record in earlier for prompt in record.prompts)])
    return {
        **last.to_json(),
        "layers": listed,
        "prompts": [texts.get(name, prompts[name]) for name in names],
        "earlier": [record.to_json() for record in earlier],
    }


def read_runs(out: Path) -> list[Record]:
    """Runs that are whole, the last one first; none where there is no run.json.

    Raises:
        NoAccount: another program's run.json, or a damaged one.
    """
    content = _read(out / RUN_FILE)
    if content is None:
        return []
    earlier = content.get("earlier", [])
    if not (isinstance(earlier, list) and isinstance(content.get("layers", []), list)):
        raise NoAccount
    last = {name: value for name, value in content.items() if name not in ("earlier", "layers")}
    if "layers" in content:
        last["prompts"] = [prompt for prompt in _prompts(content) if prompt["name"] in content["layers"]]
    return [_record(one) for one in (last, *earlier)]


def read_unfinished(out: Path) -> list[Record]:
    """Runs that were begun and are not whole.

    Raises:
        NoAccount: a state file that is none.
    """
    content = _read(out / STATE_FILE)
    if content is None:
        return []
    runs = content.get("runs")
    if not isinstance(runs, list):
        raise NoAccount
    records = [_record(one) for one in runs]
    for record in records:
        _check_progress(record.run.get("progress"))
    return [Record(_less(record.run, "progress"), record.files, record.run["progress"]) for record in records]


def unfinished_json(records: Iterable[Record]) -> dict[str, Any]:
    """What the state file says."""
    return {"runs": [{**record.to_json(), "progress": record.progress} for record in records]}


def _check_progress(progress: Any) -> None:
    if not isinstance(progress, dict) or not isinstance(progress.get("state", {}), dict):
        raise NoAccount
    # The folder is removed one day: it must be one of ours.
    if not (isinstance(progress.get("staging"), str) and _STAGING_NAME.fullmatch(progress["staging"])):
        raise NoAccount
    commit = progress.get("commit")
    if commit is None:
        return
    if not (
        isinstance(commit, dict) and isinstance(commit.get("run"), dict) and isinstance(commit.get("replaced"), list)
    ):
        raise NoAccount
    for entry in commit["replaced"]:
        file_set(entry)


def _record(run: Any) -> Record:
    if not isinstance(run, dict) or not isinstance(run.get("settings", {}), dict):
        raise NoAccount
    run = {**run, "prompts": _prompts(run)}
    listed = run.get("files")
    if listed is None:
        return Record(run, tuple(_files_of_0_1(run)))
    if not isinstance(listed, list):
        raise NoAccount
    return Record(_less(run, "files"), tuple(file_set(entry) for entry in listed))


def _prompts(run: dict[str, Any]) -> list[dict[str, Any]]:
    prompts = run.get("prompts")
    if not isinstance(prompts, list):
        raise NoAccount
    for prompt in prompts:
        if not isinstance(prompt, dict) or prompt.get("folder") != prompt.setdefault("name", prompt.get("folder")):
            raise NoAccount
        if not (isinstance(prompt["name"], str) and _is_layer(prompt["name"])):
            raise NoAccount
    return prompts


def _files_of_0_1(run: dict[str, Any]) -> Iterator[FileSet]:
    """What a run of version 0.1, which listed no files, wrote by its settings."""
    settings, delivery = run.get("settings"), run.get("delivery")
    if not (isinstance(settings, dict) and isinstance(delivery, dict) and isinstance(settings.get("delivery"), dict)):
        return
    form, layers = settings["delivery"], [prompt["name"] for prompt in run["prompts"]]
    counts = [prompt["frames"] for prompt in run["prompts"] if isinstance(prompt.get("frames"), int)]
    write = settings.get("write")
    if not counts or not isinstance(write, list) or not all(isinstance(kind, str) and kind in KINDS for kind in write):
        return
    kinds = [*write, *(["ids"] if settings.get("combine") == "exclusive" else [])]
    numbers: Any = (delivery.get("name"), form.get("start"), form.get("padding"))
    for files in file_sets(kinds, layers, counts[0], *numbers):
        yield file_set(files.to_json())  # which refuses what no run can have written


def file_sets(
    kinds: Iterable[str], layers: Sequence[str], count: int, shot: str, start: int, padding: int
) -> Iterator[FileSet]:
    """What a run writes.

    Args:
        kinds: some of `layout.FILES`.
        layers: names of layers.
        count: frames of the shot.
        shot: with what the names of deliveries begin.
        start, padding: of the numbers of deliveries' frames.
    """
    for kind in (KINDS[name] for name in kinds):
        named, first, digits = (shot, start, padding) if kind.is_delivery else ("", 0, MASK_DIGITS)
        numbers = (first, count, digits) if kind.is_sequence else ()
        for layer in layers if "{layer}" in kind.file else ("",):
            yield FileSet(kind.name, layer, named, *numbers)


def _read(path: Path) -> dict[str, Any] | None:
    if path.exists() and not path.is_file():  # a folder, or a pipe, which would be waited for
        raise NoAccount
    try:
        content = load_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotJson as error:
        raise NoAccount from error
    if not isinstance(content, dict):
        raise NoAccount
    return content


def _less(run: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key != name}


def _is_layer(name: str) -> bool:
    return names_a_file(name) and not name.startswith(".") and name.casefold() not in RESERVED_NAMES

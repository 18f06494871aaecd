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
from functools import cached_property
from pathlib import Path
from typing import Any

from ..input_files import NotJson, load_json
from ..media.numbering import SEPARATORS, FrameNames, Numbering, spans_of
from ..names import RESERVED_NAMES, RUN_FILE, names_a_file
from .layout import KINDS, OF_DERIVED, STATE_FILE, FileKind, with_parts

_MOST_DIGITS = 255  # of a name
_MASK_DIGITS_OF_0_1 = 5
_NO_NAMES = FrameNames("")
_STAGING_NAME = re.compile(r"(?:\.unfinished-[0-9a-f]{8})?")


def new_staging_name() -> str:
    """A name for the hidden folder in OUT where files wait until they may replace others."""
    return f".unfinished-{secrets.token_hex(4)}"


class NoAccount(Exception):
    """A file that has an account's name and is none."""


class OldState(NoAccount):
    """A state file of version 0.1, which said less of a run than it takes to go on with it."""


@dataclass(frozen=True)
class FileSet:
    """Files of one kind that a run writes: a sequence of one layer, or one file.

    Attributes:
        kind: one of `layout.FILES`.
        layer: "" where a file holds all of them.
        names: of a sequence's frames; of one file the title counts.
        frames: numbers of a sequence's frames, as `frame_range` writes them.
    """

    kind: str
    layer: str = ""
    names: FrameNames = _NO_NAMES
    frames: str = ""

    @property
    def target(self) -> tuple[str, str, str]:
        """What a later run of the same replaces; case aside, as on systems where that makes no other file.

        A layer has deliveries of several shots beside each other, and masks of one.
        """
        shot = self.names.title.casefold() if KINDS[self.kind].is_delivery else ""
        return self.kind, self.layer.casefold(), shot

    @cached_property
    def count(self) -> int:
        """How many files they are."""
        return sum(map(len, self._spans)) if KINDS[self.kind].is_sequence else 1

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of a sequence's frames; () for one file."""
        return tuple(number for span in self._spans for number in span) if KINDS[self.kind].is_sequence else ()

    def path_of(self, root: Path, number: int) -> Path:
        """The file of a frame, or the one of all."""
        return self._path(root, self.names.of(number))

    def lost(self, root: Path) -> tuple[int, ...] | None:
        """Numbers of frames whose files there are none of any more, () for the one file of all; None where all is
        there."""
        if not KINDS[self.kind].is_sequence:
            return None if self.path_of(root, 0).is_file() else ()
        return tuple(number for number in self.numbers if not self.path_of(root, number).is_file()) or None

    def present(self, root: Path) -> list[Path]:
        """Those of the files that there are below `root`."""
        return [path for path in in_the_place_of(self, root) if path.name in self]

    def __contains__(self, name: str) -> bool:
        """Whether a file of this name, in the right folder, is one of them."""
        kind = KINDS[self.kind]
        if not kind.is_sequence:
            return name == self._path(Path(), "").name
        number = self.number_in(name)
        if number is None or name != self._path(Path(), self.names.of(number)).name:
            return False
        return any(number in span for span in self._spans)

    def number_in(self, name: str) -> int | None:
        """The number of a frame in a file's name, whether it is one of these or not; None for another name."""
        suffix = Path(KINDS[self.kind].file).suffix
        return self.names.number_in(name.removesuffix(suffix)) if name.endswith(suffix) else None

    @property
    def spans(self) -> tuple[range, ...]:
        """Numbers of a sequence's frames."""
        return self._spans

    def file_of(self, root: Path, number: int) -> Path:
        """The file of a sequence's frame."""
        return self._path(root, self.names.of(number))

    def place(self, root: Path) -> Path:
        """The folder of its frames, or else the file."""
        path = self._path(root, "")
        return path.parent if KINDS[self.kind].is_sequence else path

    def _path(self, root: Path, frame: str) -> Path:
        return KINDS[self.kind].path(root, layer=self.layer, shot=self.names.title, frame=frame)

    @cached_property
    def _spans(self) -> tuple[range, ...]:
        return spans_of(self.frames)

    def to_json(self) -> dict[str, Any]:
        """Its entry in run.json; `file_set` reads it back."""
        kind, names = KINDS[self.kind], self.names
        described: dict[str, Any] = {"kind": self.kind}
        if self.layer:
            described["layer"] = self.layer
        if kind.is_sequence:
            described |= {"shot": names.name, "separator": names.separator, "digits": names.digits}
            described |= {"signed": True} if names.signed else {}
            described |= {"tail": names.tail} if names.tail else {}
            described["frames"] = self.frames
        elif kind.is_delivery:
            described["shot"] = names.title
        return described


def in_the_place_of(files: FileSet, root: Path) -> list[Path]:
    """All files that lie where these do, whoever wrote them: a sequence's with any number."""
    place = files.place(root)
    if not KINDS[files.kind].is_sequence:
        return [place] if place.is_file() or place.is_symlink() else []
    if not place.is_dir():
        return []
    return sorted(path for path in place.iterdir() if files.number_in(path.name) is not None)


def file_set(entry: Any) -> FileSet:
    """A set of files as an account lists it.

    Raises:
        NoAccount: an entry that no run writes; no name in it leads out of OUT.
    """
    if not isinstance(entry, dict) or not isinstance(kind := KINDS.get(str(entry.get("kind"))), FileKind):
        raise NoAccount
    layer = entry.get("layer", "")
    if not isinstance(layer, str) or not (_is_layer(layer) if "{layer}" in kind.file else layer == ""):
        raise NoAccount
    if not kind.is_sequence:
        shot = entry.get("shot", "")
        if not isinstance(shot, str) or not (names_a_file(shot) if kind.is_delivery else shot == ""):
            raise NoAccount
        return FileSet(kind.name, layer, FrameNames(shot) if kind.is_delivery else _NO_NAMES)
    names, frames = _numbered(entry) if "frames" in entry else _counted(entry)
    if not names_a_file(names.of(0)):
        raise NoAccount
    return FileSet(kind.name, layer, names, frames)


def _numbered(entry: dict[str, Any]) -> tuple[FrameNames, str]:
    """Names and numbers of a sequence's frames."""
    texts = [entry.get(name, "") for name in ("shot", "separator", "tail", "frames")]
    digits, signed = entry.get("digits"), entry.get("signed", False)
    if not all(isinstance(text, str) for text in texts) or not isinstance(signed, bool):
        raise NoAccount
    if type(digits) is not int or not 1 <= digits <= _MOST_DIGITS or texts[1] not in ("", *SEPARATORS):
        raise NoAccount
    try:
        spans_of(texts[3])
    except ValueError as error:
        raise NoAccount from error
    return FrameNames(texts[0], texts[1], digits, signed, texts[2]), texts[3]


def _counted(entry: dict[str, Any]) -> tuple[FrameNames, str]:
    """The same of versions up to 0.1, which counted frames, and masks without a name."""
    shot = entry.get("shot", "")
    first, count, digits = (entry.get(name, 0) for name in ("first", "count", "digits"))
    if not isinstance(shot, str) or not all(type(number) is int and number >= 0 for number in (first, count, digits)):
        raise NoAccount
    if digits > _MOST_DIGITS or (shot == "") is KINDS[entry["kind"]].is_delivery:
        raise NoAccount
    return FrameNames(shot, "." if shot else "", digits), f"{first}-{first + count - 1}" if count else ""


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

    @property
    def numbers(self) -> tuple[range, ...]:
        """Of the run's frames; () where it says none, as up to version 0.1."""
        shot = self.run.get("shot")
        told = shot.get("numbers") if isinstance(shot, dict) else None
        try:
            return spans_of(told) if isinstance(told, str) else ()
        except ValueError:
            return ()

    def without(self, files: Iterable[FileSet]) -> Record:
        """What is left of it once a run has replaced these."""
        replaced = {entry.target for entry in files}
        left = tuple(entry for entry in self.files if entry.target not in replaced)
        layers = {entry.layer for entry in left}
        prompts = [prompt for prompt in self.prompts if not layers.isdisjoint(("", prompt["name"]))]
        return replace(self, run={**self.run, "prompts": prompts}, files=left)

    def is_in(self, out: Path) -> bool:
        """Whether all of its files are there."""
        return all(len(entry.present(out)) == entry.count for entry in self.files)

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
        OldState: one of version 0.1.
        NoAccount: a state file that is none.
    """
    content = _read(out / STATE_FILE)
    if content is None:
        return []
    runs = content.get("runs")
    if "runs" not in content and {"fingerprint", "frames_done", "delivered"} <= content.keys():
        raise OldState
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
    for kind in (KINDS[name] for name in [*write, *(["ids"] if settings.get("combine") == "exclusive" else [])]):
        described: dict[str, Any] = {"kind": kind.name}
        if kind.is_delivery:
            described["shot"] = delivery.get("name")
        if kind.is_sequence:
            numbers = (form.get("start"), form.get("padding")) if kind.is_delivery else (0, _MASK_DIGITS_OF_0_1)
            described |= {"first": numbers[0], "count": counts[0], "digits": numbers[1]}
        for layer in layers if "{layer}" in kind.file else ("",):
            yield file_set(described | ({"layer": layer} if layer else {}))  # which refuses what no run has written


def file_sets(
    kinds: Iterable[str], layers: Sequence[str], numbering: Numbering, derived: Sequence[str] = ()
) -> Iterator[FileSet]:
    """What a run writes.

    Args:
        kinds: some of `layout.FILES`.
        layers: names of layers.
        numbering: names and numbers of its frames, as they are delivered.
        derived: names of mattes that are made of the layers', which have files of the kinds `OF_DERIVED`.
    """
    frames = numbering.range
    for kind in (KINDS[name] for name in with_parts(kinds)):
        named = (*layers, *derived) if kind.name in OF_DERIVED else layers
        for layer in named if "{layer}" in kind.file else ("",):
            names = numbering.names.of_layer(layer)
            if kind.is_sequence:
                yield FileSet(kind.name, layer, names, frames)
            else:
                yield FileSet(kind.name, layer, FrameNames(names.title) if kind.is_delivery else _NO_NAMES)


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

"""OUT, claimed for one run: nothing that is there is lost, whenever the run ends."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..folder_lock import locked
from ..media.writing import write_bytes
from ..names import RUN_FILE
from ..whole_files import meant_for, sync_disks
from .account import (
    FileSet,
    NoAccount,
    OldState,
    Record,
    file_set,
    in_the_place_of,
    new_staging_name,
    read_runs,
    read_unfinished,
    run_json,
    unfinished_json,
)
from .layout import KINDS, STATE_FILE, array_file


@dataclass(frozen=True)
class Claim:
    """What a run asks of OUT.

    Attributes:
        out: the folder.
        files: what it will write.
        prompts: its layers, as run.json lists them.
        fingerprint: equal for runs that give equal files; None for a run that is never taken up again.
        plate: hash of what the shot's files hold, where `fingerprint` knows only their sizes and times.
        overwrite: whether files that no run has written may be replaced.
        again: whether to begin anew where the same run is there, whole or in part.
    """

    out: Path
    files: tuple[FileSet, ...]
    prompts: tuple[dict[str, Any], ...] = ()
    fingerprint: str | None = None
    plate: str = ""
    overwrite: bool = False
    again: bool = False


class Output:
    """OUT for one run, and nobody else's until it ends.

    Where nothing is in the way, files are written where they belong. Where an earlier run's files are, new ones wait in
    a hidden folder of OUT until all are whole, and then take their places.

    Attributes:
        out: the folder.
        work: below which the run's files are written until it is whole; `layout.FILES` says where.
        is_there: whether the same run is there already, whole: there is nothing to do.
        progress: how far the same run came before it was stopped; {} where it begins.
    """

    def __init__(self, claim: Claim) -> None:
        """See `claimed`."""
        self.out, self._claim = claim.out, claim
        self._runs, self._others = self._accounts()
        if self._complete_the_unfinished():
            self._runs, self._others = self._accounts()
        self.is_there = self._is_there()
        if not self.is_there:
            self._check_foreign()
        taken_up = None if self.is_there else self._taken_up()
        self.progress = {} if taken_up is None else taken_up.progress.get("state", {})
        if taken_up is None:
            staged = any(self._in_the_way(files) for files in claim.files)
            staging = new_staging_name() if staged else ""
        else:
            staging = taken_up.progress["staging"]
        self.work = self.out / staging
        run = {"fingerprint": claim.fingerprint, "plate": claim.plate, "prompts": [*claim.prompts]}
        self._record = Record(run, claim.files, {"staging": staging})

    @property
    def earlier_layers(self) -> list[str]:
        """Layers that runs have written to OUT, by their account."""
        records = (*self._runs, *self._others)
        return list(dict.fromkeys(prompt["name"] for record in records for prompt in record.prompts))

    @property
    def kept(self) -> bool:
        """Whether a later run may take this one up."""
        return self._claim.fingerprint is not None

    @property
    def replaces(self) -> bool:
        """Whether files of an earlier run are replaced, once this one is whole."""
        return self.work != self.out

    def frames_there(self, kinds: Collection[str]) -> int:
        """Frames that every sequence of these kinds has."""
        return min(len(files.present(self.work)) for files in self._record.files if files.kind in kinds)

    def begin(self, state: dict[str, Any]) -> None:
        """Note what is to be written, and how much of it is there, before anything is."""
        self._sweep()
        self.work.mkdir(parents=True, exist_ok=True)
        self.save(state)

    def save(self, state: dict[str, Any]) -> None:
        """Note how far the run came; `progress` of a later one that takes it up."""
        self._record = replace(self._record, progress={**self._record.progress, "state": state})
        self._write_state([*self._others, self._record])

    def stop(self, state: dict[str, Any] | None) -> None:
        """End a run that is not whole.

        Args:
            state: for a later run to go on from; None where none will. Whole files then stay where they were written,
                unless they waited to replace others.
        """
        written = any(files.present(self.work) or _arrays(files, self.work) for files in self._record.files)
        if state is not None and written:
            self.save(state)
            return
        if self.replaces:
            shutil.rmtree(self.work, ignore_errors=True)
        for files in self._record.files:
            for array in _arrays(files, self.work):
                array.unlink(missing_ok=True)
            _remove_empty(files.place(self.work), self.out)
        self._write_state(self._others)

    def finish(self, run: dict[str, Any]) -> dict[str, Any]:
        """Give all files their places, remove those of earlier runs that they replace, and write run.json.

        A kill at any moment leaves the earlier account and files, or what the next run in OUT completes.

        Args:
            run: what run.json is to say of this run.

        Returns:
            what it says.
        """
        files, runs = self._record.files, []
        for record in self._runs:
            left = record.without(files)
            runs += [left] if left.files else []
        for record in self._others:  # of one that lost files the others stay, though it cannot be gone on with
            left = record.without(files)
            if left.files not in ((), record.files) and not record.progress["staging"]:
                runs.append(replace(left, run={**left.run, "stopped": True}))
        run = {**run, **{name: self._record.run[name] for name in ("fingerprint", "plate")}}
        content = run_json([Record(run, files), *runs])
        sync_disks()  # run.json is about to vouch for the files, and to replace others
        commit = {
            "run": content,
            "replaced": [files.to_json() for files in self._replaced()],
            "overwrite": self._claim.overwrite,
        }
        self._record = replace(self._record, progress={**self._record.progress, "commit": commit})
        self._write_state([*self._others, self._record])
        self._complete(self._record)
        return content

    def _accounts(self) -> tuple[list[Record], list[Record]]:
        """Whole runs, and those that are not."""
        found = []
        for file, read in ((RUN_FILE, read_runs), (STATE_FILE, read_unfinished)):
            try:
                found.append(read(self.out))
            except NoAccount as error:
                if not self._claim.overwrite:
                    told = "is damaged or another program's"
                    if isinstance(error, OldState):
                        told = "is of a run that version 0.1 was stopped in, and that this one cannot go on with"
                    raise ValueError(
                        f"{self.out / file} {told}: name another folder to write to, or give --overwrite."
                    ) from error
                found.append([])
        return found[0], found[1]

    def _is_there(self) -> bool:
        claim = self._claim
        if claim.fingerprint is None or claim.again:
            return False
        return any(
            (record.fingerprint, record.run.get("plate")) == (claim.fingerprint, claim.plate)
            and {*record.files} == {*claim.files}
            and record.is_in(self.out)
            for record in self._runs
        )

    def _taken_up(self) -> Record | None:
        """The same run, stopped."""
        claim = self._claim
        if claim.fingerprint is None or claim.again:
            return None
        for record in self._others:
            if record.fingerprint != claim.fingerprint or record.files != claim.files:
                continue
            if record.run.get("plate") != claim.plate:
                raise ValueError(
                    f"The shot is not what it was when the run in {self.out} was stopped, though the sizes and times "
                    "of its files are the same: begin anew with --again, or name another folder to write to."
                )
            self._others = [other for other in self._others if other is not record]
            return record
        return None

    def _in_the_way(self, files: FileSet) -> bool:
        """Whether there are files in the place of these, or of an earlier run that these replace."""
        earlier = (entry for record in (*self._runs, *self._others) for entry in record.files)
        return bool(in_the_place_of(files, self.out)) or any(
            entry.present(self.out) for entry in earlier if entry.target == files.target
        )

    def _check_foreign(self) -> None:
        """Refuse to replace what no run has written."""
        if self._claim.overwrite:
            return
        records = (*self._runs, *self._others)
        for files in self._claim.files:
            ours = [entry for record in records for entry in record.files if entry.target == files.target]
            for path in in_the_place_of(files, self.out):
                if not any(path.name in entry for entry in ours):
                    raise ValueError(
                        f"{path} is of no run in {self.out}, and this one would write in its place: move it away, name "
                        "another folder to write to, or give --overwrite."
                    )

    def _replaced(self) -> Iterator[FileSet]:
        """What of earlier runs has the places of this run's files."""
        targets = {files.target for files in self._record.files}
        for record in (*self._runs, *self._others):
            yield from (files for files in record.files if files.target in targets)

    def _complete_the_unfinished(self) -> bool:
        """Bring to its end what was killed while it gave files their places."""
        committed = [record for record in self._others if "commit" in record.progress]
        for record in committed:
            self._complete(record)
        return bool(committed)

    def _complete(self, record: Record) -> None:
        """Give a whole run's files their places. Each step can be done again."""
        commit, work = record.progress["commit"], self.out / record.progress["staging"]
        replaced = [file_set(entry) for entry in commit["replaced"]]
        if work != self.out:
            # From here on no account is right but the state file's, which lists both.
            (self.out / RUN_FILE).unlink(missing_ok=True)
            for files in record.files:
                for path in files.present(work):
                    target = self.out / path.relative_to(work)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path, target)
                self._remove_surplus(files, replaced, commit.get("overwrite") is True)
        write_bytes(self.out / RUN_FILE, _json(commit["run"]))
        self._let_go(record)
        if work != self.out:
            shutil.rmtree(work, ignore_errors=True)

    def _remove_surplus(self, files: FileSet, replaced: Sequence[FileSet], overwrite: bool) -> None:
        """Of a sequence that gets shorter, other numbers or another name, no frame of the earlier one may stay."""
        earlier = [entry for entry in replaced if entry.target == files.target]
        if KINDS[files.kind].is_sequence:
            # Case aside: where that makes no other file, an earlier name may be this run's file.
            written = {path.name.casefold() for path in files.present(self.out)}
            gone = {path for entry in earlier for path in entry.present(self.out)}
            for path in gone.union(in_the_place_of(files, self.out) if overwrite else ()):
                if path.name.casefold() not in written:
                    path.unlink()
        for entry in earlier:
            for array in _arrays(entry, self.out):
                array.unlink(missing_ok=True)

    def _let_go(self, whole: Record) -> None:
        """Of the state file's runs those stay that a whole one has taken nothing of."""
        targets, kept = {files.target for files in whole.files}, []
        for record in read_unfinished(self.out):
            if record.progress["staging"] == whole.progress["staging"] and record.files == whole.files:
                continue
            if targets.isdisjoint(files.target for files in record.files):
                kept.append(record)
            elif record.progress["staging"]:
                shutil.rmtree(self.out / record.progress["staging"], ignore_errors=True)
        self._write_state(kept)

    def _write_state(self, records: Sequence[Record]) -> None:
        if records:
            write_bytes(self.out / STATE_FILE, _json(unfinished_json(records)))
        else:
            (self.out / STATE_FILE).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what killed runs left half-written: while OUT is locked nobody else writes in it."""
        for files in self._record.files:
            place = files.place(self.work)
            folder = place if place.is_dir() else place.parent
            for path in folder.iterdir() if folder.is_dir() else ():
                if (name := meant_for(path.name)) is not None and name in files:
                    path.unlink()


@contextmanager
def claimed(claim: Claim) -> Iterator[Output]:
    """OUT, for the run within `with` alone.

    Raises:
        ValueError: OUT is a file; files are in the way that no run has written; or the shot has changed since the same
            run was stopped.
        RuntimeError: another run is writing to OUT.
    """
    with locked(claim.out, "name another folder to write to"):
        yield Output(claim)


def already_there(out: Path) -> str:
    """What to say of a run that is there already."""
    return f"{out} holds this run already, whole and of the same shot: nothing was done. --again does it anew."


def _arrays(files: FileSet, root: Path) -> list[Path]:
    """Where masks wait for soft.npz, if they do."""
    array = array_file(root, files.layer)
    return [array] if files.kind == "npz" and array.is_file() else []


def _remove_empty(place: Path, out: Path) -> None:
    """Remove a folder and those above it below `out`, as far as they are empty."""
    with suppress(OSError):
        while place != out and place.is_relative_to(out):
            if place.is_dir():
                place.rmdir()
            place = place.parent


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()

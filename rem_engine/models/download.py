"""Getting known weights from the hub: resumed where they were left, checked, put in place in one step."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..folder_lock import locked
from ..progress import SILENT, Progress
from ..sizes import gigabytes
from .catalogue import KnownModel
from .hub import Hub, Listing, RemoteFile, some_of

_CHUNK = 1 << 22  # bytes read at a time for a checksum


def download(
    model: KnownModel,
    folder: Path,
    *,
    file: str | None = None,
    endpoint: str | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Download a model; its file or folder appears under its name when all of it is there and right.

    Until then it lies beside as a hidden `*.incomplete`, from where the same call goes on after an interruption. What
    is there already is checked, not downloaded again.

    Args:
        model: what to get.
        folder: where to put it; made if it is not there.
        file: which file of the repository, where the model's name for it is a pattern; None: the one that matches.
        endpoint: address of the hub; None: $HF_ENDPOINT, else https://huggingface.co.
        progress: told, in words, what will be done before it is, and how it ended.

    Returns:
        The file, or the folder in diffusers' layout.

    Raises:
        FileNotFoundError: no such repository or file.
        RuntimeError: the hub cannot be reached or refuses, the disk is full, or what came is damaged.
        ValueError: several files match.
    """
    hub = Hub(model.repository, endpoint)
    listing = hub.listing(model, file)
    target = folder / model.local_name(listing.files[0].path)
    progress.say(f"{model.name}: {model.purpose}")
    progress.say(f"  from     {model.url}")
    progress.say(f"  licence  {model.licence} (says {model.licence_source}); using it is subject to it")
    progress.say(f"  size     {gigabytes(listing.size)}")
    progress.say(f"  to       {target}")
    if target.exists():
        _check_present(target, model, listing)
        progress.say("Nothing to do: it is there already, and its checksums are right.")
        return target
    # What is incomplete is gone on with: two at once would write into each other's.
    with locked(folder, "choose another folder with --to", target.name):
        if model.is_folder:
            # Named after the commit: what is left of another one is of no use.
            staging = folder / f".{target.name}.{listing.commit[:12]}.incomplete"
            _check_space(listing.size - _bytes_in(staging), folder)
            for remote in listing.files:
                _fetch(hub, remote, listing.commit, staging / PurePosixPath(remote.path))
            staging.replace(target)
        else:
            (remote,) = listing.files
            _check_space(listing.size - _size_of(_part(target, remote)), folder)
            _fetch(hub, remote, listing.commit, target)
    progress.say(_verdict(listing.files))
    return target


def _fetch(hub: Hub, remote: RemoteFile, commit: str, target: Path) -> None:
    """Bring one file to `target`; what is there already was checked before it got its name."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target, remote)
    part.touch()
    if remote.size is None or _size_of(part) < remote.size:
        hub.get(remote.path, commit, part)
    if not _is_right(part, remote):
        part.unlink()
        raise RuntimeError(
            f"{remote.path} arrived damaged (its {remote.algorithm or 'size'} is not the published one) and was "
            "deleted; run the same command again."
        )
    part.replace(target)


def _part(target: Path, remote: RemoteFile) -> Path:
    # Named after the content, so that a file that changed on the hub is not appended to an older one.
    return target.with_name(f".{target.name}.{remote.checksum[:12]}.incomplete")


def _is_right(file: Path, remote: RemoteFile) -> bool:
    """Whether a file has the published size and checksum, as far as there are any."""
    size = file.stat().st_size
    if remote.size not in (None, size):
        return False
    if not remote.algorithm:
        return True
    digest = (
        hashlib.sha256() if remote.algorithm == "sha256" else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    )
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == remote.checksum


def _check_present(target: Path, model: KnownModel, listing: Listing) -> None:
    for remote in listing.files:
        file = target / PurePosixPath(remote.path) if model.is_folder else target
        if not file.is_file() or not _is_right(file, remote):
            raise RuntimeError(
                f"{file} is not what {model.repository} publishes as {remote.path}: move {target} away to download it."
            )


def _check_space(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RuntimeError(
            f"{folder} has {gigabytes(free)} free and {gigabytes(needed)} are needed: make room, or choose another "
            "disk with --to."
        )


def _size_of(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _bytes_in(folder: Path) -> int:
    return sum(_size_of(file) for file in folder.rglob("*"))


def _verdict(files: Sequence[RemoteFile]) -> str:
    unchecked = [file.path for file in files if not file.algorithm]
    if unchecked:
        return f"Done; the hub publishes no checksum of {some_of(unchecked)}, so only sizes were compared."
    return "Done: the checksums are the published ones."

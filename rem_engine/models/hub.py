"""A model's files on the Hugging Face hub: which they are, and their bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..whole_files import is_disk_full
from .catalogue import KnownModel

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_TIMEOUT = 30.0  # seconds that the hub's answer may take
_ALWAYS_WANTED = (".json", ".txt", ".model")


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub.

    Attributes:
        path: in the repository.
        size: bytes; None where the hub does not say.
        algorithm: "sha256" or "git-sha1" (as git names a file's content), or "" where no checksum is published.
        checksum: hexadecimal.
    """

    path: str
    size: int | None
    algorithm: str
    checksum: str


@dataclass(frozen=True)
class Listing:
    """The files that make up a model, as the hub publishes them.

    Attributes:
        commit: the repository's commit they belong to.
        files: in the order of their paths.
    """

    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes altogether, as far as they are published."""
        return sum(file.size or 0 for file in self.files)


class Hub:
    """A repository on the hub; every error of it is a sentence.

    Args:
        repository: "owner/name".
        endpoint: address of the hub; None: $HF_ENDPOINT, else https://huggingface.co.
    """

    def __init__(self, repository: str, endpoint: str | None) -> None:
        self.repository, self.endpoint = repository, endpoint or os.environ.get("HF_ENDPOINT")

    def listing(self, model: KnownModel, chosen: str | None) -> Listing:
        """The files that make up a model.

        Args:
            model: one of this repository.
            chosen: the path of its file, where only patterns are known; None: the one that matches.

        Raises:
            FileNotFoundError: no such repository or file.
            RuntimeError: the hub cannot be reached, or refuses.
            ValueError: several files match, or a file was chosen where there is no choice.
        """
        from huggingface_hub import HfApi

        try:
            info = HfApi(endpoint=self.endpoint).model_info(self.repository, files_metadata=True, timeout=_TIMEOUT)
        except Exception as error:  # transport errors are of another library in every version of huggingface_hub
            raise self._explained(error) from error
        commit = info.sha or "main"
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        paths = _choose(model, sorted(siblings), chosen)
        return Listing(commit, tuple(self._remote(siblings[path], commit) for path in paths))

    def get(self, path: str, commit: str, part: Path) -> None:
        """Append to `part` what it lacks of a file.

        Raises:
            RuntimeError: the hub cannot be reached or refuses, or the disk is full; what has arrived stays in `part`.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get

        url = hf_hub_url(self.repository, path, revision=commit, endpoint=self.endpoint)
        with part.open("ab") as stream:
            try:
                # What hf_hub_download itself calls, which (in huggingface_hub 2.4) starts anew after an interruption.
                http_get(url, stream, resume_size=stream.tell(), headers=_headers(), displayed_filename=path)
            except Exception as error:  # see above
                raise self._explained(error, path) from error

    def _remote(self, sibling: RepoSibling, commit: str) -> RemoteFile:
        path, size = sibling.rfilename, sibling.size
        if sibling.lfs is not None:
            return RemoteFile(path, sibling.lfs.size or size, "sha256", sibling.lfs.sha256)
        if sibling.blob_id is not None:
            return RemoteFile(path, size, "git-sha1", sibling.blob_id)
        return self._remote_by_head(path, commit)

    def _remote_by_head(self, path: str, commit: str) -> RemoteFile:
        """For mirrors that list names only."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        try:
            url = hf_hub_url(self.repository, path, revision=commit, endpoint=self.endpoint)
            metadata = get_hf_file_metadata(url, timeout=_TIMEOUT)
        except Exception as error:  # see above
            raise self._explained(error, path) from error
        algorithm = {64: "sha256", 40: "git-sha1"}.get(len(metadata.etag or ""), "")
        return RemoteFile(path, metadata.size, algorithm, metadata.etag or "")

    def _explained(self, error: Exception, path: str = "") -> Exception:
        from huggingface_hub import errors

        what = f"{self.repository}/{path}" if path else self.repository
        if isinstance(error, errors.GatedRepoError):
            return RuntimeError(
                f"{what} is given out on conditions: accept them on its page, then log in with `hf auth login`."
            )
        if isinstance(error, (errors.RepositoryNotFoundError, errors.EntryNotFoundError)):
            return FileNotFoundError(
                f"The hub has no {what}, or does not show it: look whether it has moved, and log in with "
                "`hf auth login` if it is private."
            )
        if isinstance(error, errors.OfflineModeIsEnabled):
            return RuntimeError(
                f"{what} was not downloaded: HF_HUB_OFFLINE is set. Unset it, or copy the file by hand."
            )
        if isinstance(error, errors.HfHubHTTPError):
            status = getattr(error.response, "status_code", "an error")
            return RuntimeError(f"The hub refused {what} (HTTP {status}); try again later.")
        if is_disk_full(error):
            return RuntimeError(f"The disk became full while {what} arrived: make room and run the same command again.")
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return RuntimeError(
            f"{what} could not be got from the hub ({reason}): check the connection, or HF_ENDPOINT if it is set, and "
            "run the same command again; what has arrived is kept."
        )


def _headers() -> dict[str, Any]:
    from huggingface_hub.utils import build_hf_headers

    # A range is asked for from the start: without one the hub's servers refuse files above 50 GB. Compressed answers
    # have no ranges.
    return {**build_hf_headers(), "Range": "bytes=0-", "Accept-Encoding": "identity"}


def _choose(model: KnownModel, paths: Sequence[str], chosen: str | None) -> list[str]:
    """Paths of the repository's files that make up a model."""
    unsafe = [path for path in paths if ".." in PurePosixPath(path).parts or path.startswith("/") or "\\" in path]
    if unsafe:
        raise RuntimeError(f"{model.repository} lists {unsafe[0]!r}, which lies outside of it: nothing was downloaded.")
    if chosen is not None:
        if not model.patterns:
            raise ValueError(f"{model.name} is always the same file: leave out --file.")
        if chosen not in paths:
            raise FileNotFoundError(f"{model.repository} has no file {chosen!r}; it has {some_of(paths)}.")
        return [chosen]
    if model.is_folder:
        return _diffusers_files(model, paths)
    matching = [path for path in paths if (model.matches(path) if model.patterns else path == model.file)]
    if len(matching) > 1:
        raise ValueError(
            f"{model.repository} has several files that could be {model.name} ({some_of(matching)}); "
            "choose one with --file."
        )
    if not matching:
        hint = "; choose one with --file" if model.patterns else ""
        raise FileNotFoundError(
            f"{model.repository} has no file for {model.name} any more; it has {some_of(paths)}{hint}."
        )
    return matching


def _diffusers_files(model: KnownModel, paths: Sequence[str]) -> list[str]:
    """Settings, tokenizer and one set of weights of each component: safetensors, or .bin where there are none."""
    wanted = ["model_index.json"] if "model_index.json" in paths else []
    for component in model.components:
        inside = [path for path in paths if path.startswith(f"{component}/")]
        whole = [path for path in inside if ".fp16." not in path and ".non_ema." not in path]
        safetensors = [path for path in whole if path.endswith((".safetensors", ".safetensors.index.json"))]
        others = [path for path in whole if path.endswith(_ALWAYS_WANTED) and not path.endswith(".index.json")]
        weights = safetensors or [path for path in whole if path.endswith((".bin", ".bin.index.json"))]
        if not others and not weights:
            raise FileNotFoundError(f"{model.repository} has no {component}/ any more; it has {some_of(paths)}.")
        wanted += sorted({*others, *weights})
    return wanted


def some_of(paths: Sequence[str]) -> str:
    """The first few of some paths, for a sentence."""
    return ", ".join(paths[:8]) + (f" and {len(paths) - 8} more" if len(paths) > 8 else "") or "no files"

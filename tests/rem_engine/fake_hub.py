"""A hub on loopback: as much of the Hugging Face hub's HTTP interface as downloading takes."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"
LARGE = (".safetensors", ".pth", ".bin")


@dataclass
class FakeHub:
    """What the hub holds, how it behaves, and what was asked of it.

    Attributes:
        repositories: contents of files, by repository and path.
        corrupt: paths whose contents arrive changed.
        cut: bytes of a path after which the connection is closed, in one answer.
        stall: bytes of a path after which nothing comes any more, in one answer.
        sizes: sizes published instead of the real ones.
        status: answered instead of every repository, with the hub's error code.
        names_only: list names without sizes and checksums, as simple mirrors do.
        requests: (method, path, Range) of every request.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    corrupt: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    stall: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    status: tuple[int, str] | None = None
    names_only: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def ranges(self, path: str) -> list[str | None]:
        """The Range headers of downloads of a file, in order."""
        return [asked for method, url, asked in self.requests if method == "GET" and url.endswith(f"/{path}")]

    def listing(self, repository: str) -> dict[str, Any]:
        siblings = []
        for path, content in self.repositories[repository].items():
            sibling: dict[str, Any] = {"rfilename": path}
            if not self.names_only:
                size = self.sizes.get(path, len(content))
                sibling |= {"size": size, "blobId": git_sha1(content)}
                if path.endswith(LARGE):
                    sibling["lfs"] = {"size": size, "sha256": sha256(content), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}

    @contextmanager
    def served(self) -> Iterator[FakeHub]:
        """Serve on a free port while the context is open."""
        handler = type("Handler", (_Handler,), {"hub": self})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            self.address = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield self
            finally:
                self.released.set()
                server.shutdown()
                thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob " + str(len(content)).encode() + b"\0" + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if self.hub.status is not None:
            status, code = self.hub.status
            return self._error(status, code)
        if path.startswith("/api/models/"):
            repository = path.removeprefix("/api/models/")
            if repository not in self.hub.repositories:
                return self._error(404, "RepoNotFound")
            body = json.dumps(self.hub.listing(repository)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None
        repository, _, file = path[1:].partition(f"/resolve/{COMMIT}/")
        content = self.hub.repositories.get(repository, {}).get(file)
        if content is None:
            return self._error(404, "EntryNotFound")
        return self._file(file, content, with_body)

    def _file(self, file: str, content: bytes, with_body: bool) -> None:
        sent = content[::-1] if file in self.hub.corrupt else content
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        large = file.endswith(LARGE)
        self.send_header("ETag", f'"{sha256(content) if large else git_sha1(content)}"')
        if large:
            self.send_header("X-Linked-Etag", f'"{sha256(content)}"')
            self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Content-Length", str(len(sent) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(sent) - 1}/{len(sent)}")
        self.end_headers()
        if with_body:
            stalls = self.hub.stall.pop(file, None)
            stop = self.hub.cut.pop(file, len(sent)) if stalls is None else stalls
            self.wfile.write(sent[start:stop])
            if stalls is not None:
                self.hub.stalled.set()
                self.hub.released.wait()
            self.close_connection = True

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass

"""Starts a ComfyUI, talks to it over HTTP, ends it."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from comfy_hosts import host_python

Graph = dict[str, dict[str, Any]]

START_SECONDS = 600  # idle cores take 11 to 25
RUN_SECONDS = 900
_TEXT, _BINARY = 1, 2  # kinds of messages
_PREVIEW_IMAGE, _NODE_TEXT = 1, 3  # of binary ones, for clients that have not asked for more
_ENDS = ("execution_success", "execution_error", "execution_interrupted")


class Refused(Exception):
    """The server did not take a prompt; `answer` is what it said."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(json.dumps(answer))
        self.answer = answer


class ComfyServer:
    """A ComfyUI process on a free port.

    Args:
        host: folder of the installation.
        python: its interpreter.
        base: its --base-directory; everything it writes goes there.
        options: further ones of its command line.
    """

    def __init__(self, host: Path, python: str, base: Path, *options: str) -> None:
        self.host, self.python, self.base, self.options = host, python, base, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.base / "server.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        with (self.base / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self.python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port),
                    "--disable-auto-launch", "--base-directory", str(self.base), "--database-url", "sqlite:///:memory:",
                    *self.options,
                ],
                cwd=self.host,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HF_ASSETS_CACHE": str(self.base / "kept")},
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended while starting:\n{self.log[-4000:]}")
            try:
                self.get("/system_stats")
                return
            except urllib.error.URLError:
                time.sleep(0.5)
        raise RuntimeError(f"ComfyUI was not up after {START_SECONDS} s:\n{self.log[-4000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def get(self, path: str) -> Any:
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return answer.read()

    def post(self, path: str, content: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(content or {}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def submit(self, graph: Graph, client: str = "tests") -> str:
        """Queue a graph in API format on behalf of a client; its prompt id.

        Raises:
            Refused: the server's validation found fault with it.
        """
        try:
            return self.post("/prompt", {"prompt": graph, "client_id": client})["prompt_id"]
        except urllib.error.HTTPError as error:
            raise Refused(json.loads(error.read())) from error

    def wait(self, prompt_id: str) -> dict[str, Any]:
        """The history entry of a prompt, once it has ended one way or another."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            history = self.get(f"/history/{prompt_id}")
            if history:
                return history[prompt_id]
            time.sleep(0.2)
        raise RuntimeError(f"The graph did not end within {RUN_SECONDS} s:\n{self.log[-4000:]}")

    def run(self, graph: Graph) -> dict[str, Any]:
        """Queue a graph and wait for its end."""
        return self.wait(self.submit(graph))

    def wait_for_progress(self, graph: Graph, node: str, share: float) -> str:
        """Queue a graph and wait until a node of it is `share` of its way; the prompt id."""
        client = uuid.uuid4().hex
        with closing(self._events(client)) as events:
            next(events)  # the server's greeting: it listens
            prompt_id = self.submit(graph, client)
            for event in events:
                data = event["data"]
                if event["type"] == "progress" and data["node"] == node and data["value"] >= share * data["max"]:
                    return prompt_id
        raise RuntimeError("The server closed the connection.")

    def pictures_of(self, graph: Graph) -> list[bytes]:
        """Pictures that nodes show while a graph runs, in order: files, without what the server says of them."""
        return [content[4:] for content in self._shown_while_running(graph, _PREVIEW_IMAGE)]

    def texts_of(self, graph: Graph) -> list[str]:
        """Texts that nodes show while a graph runs, in order."""
        shown = self._shown_while_running(graph, _NODE_TEXT)
        return [content[4 + int.from_bytes(content[:4], "big") :].decode() for content in shown]

    def _shown_while_running(self, graph: Graph, event: int) -> list[bytes]:
        """Contents of binary messages of a kind."""
        client, found = uuid.uuid4().hex, []
        with closing(self._messages(client)) as messages:
            next(messages)  # the server's greeting: it listens
            prompt_id = self.submit(graph, client)
            for kind, content in messages:
                if kind == _BINARY and int.from_bytes(content[:4], "big") == event:
                    found.append(content[4:])
                elif kind == _TEXT:
                    told = json.loads(content)
                    if told["type"] in _ENDS and told["data"]["prompt_id"] == prompt_id:
                        return found
        raise RuntimeError("The server closed the connection.")

    def _events(self, client: str) -> Iterator[dict[str, Any]]:
        """What the server tells a client over its WebSocket."""
        with closing(self._messages(client)) as messages:
            yield from (json.loads(content) for kind, content in messages if kind == _TEXT)

    def _messages(self, client: str) -> Iterator[tuple[int, bytes]]:
        """Kind and content of what comes over a WebSocket (RFC 6455; only what reading takes)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=RUN_SECONDS) as connection:
            connection.sendall(
                f"GET /ws?clientId={client} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n".encode()
            )
            stream = connection.makefile("rb")
            while stream.readline().strip():
                pass
            while head := stream.read(2):
                size = head[1] & 127
                if size > 125:
                    size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
                yield head[0] & 15, stream.read(size)

    def saved(self, entry: dict[str, Any], node: str) -> list[Path]:
        """Files that an output node of an ended graph saved, in order."""
        images = entry["outputs"][node]["images"]
        return [self.base / image["type"] / image["subfolder"] / image["filename"] for image in images]


@contextmanager
def running(host: Path, base: Path, *options: str) -> Iterator[ComfyServer]:
    """A ComfyUI that serves within the block; see `ComfyServer`. It skips the test where no Python is known for it."""
    server = ComfyServer(host, host_python(host), base, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def message(entry: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The first message of a kind (`execution_error`, `execution_interrupted`, ...) of an ended graph."""
    return next((content for name, content in entry["status"]["messages"] if name == kind), None)

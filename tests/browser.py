"""A headless Chromium on the page of a running ComfyUI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from comfy_hosts import UNTESTED

if TYPE_CHECKING:
    from comfy_server import ComfyServer

SIZE = (1500, 900)
"""Of the window, pixels: of a common laptop."""
SECONDS = 240
"""For a page to come up or a small run to end, on a machine that does other things too."""

_NO_BROWSER = "no browser to test in: "
# What a page asks the network for, or tries first and does without; none of it is the pack's.
_NOT_OURS = ("user.css", "userdata", "api.comfy.org", "huggingface.co", "deprecated", "legacy queue", "before init")


def browser_path() -> str:
    """The Chromium to test with: $CHROMIUM, or the one of the system; skips the test where there is none."""
    pytest.importorskip("playwright", reason=f"{UNTESTED}{_NO_BROWSER}pip install playwright")
    # First the one without windows: a whole browser now and then stops drawing where there is no GPU.
    names = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"{UNTESTED}{_NO_BROWSER}install Chromium, or set CHROMIUM to its path")
    return found


@contextmanager
def chromium_page(path: str) -> Iterator[Any]:
    """An empty page of Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its own sandbox, which containers do not allow, and on pages of this machine alone.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.set_default_timeout(1000 * SECONDS)
            yield page
        finally:
            browser.close()


class ComfyPage:
    """The page of a ComfyUI, as somebody uses it who is past the first greetings.

    Args:
        page: an empty one.
        server: of the ComfyUI.
        vue: nodes drawn by the page ("Nodes 2.0"), in place of on the canvas.
    """

    def __init__(self, page: Any, server: ComfyServer, *, vue: bool = False) -> None:
        self.page, self.server, self.vue = page, server, vue
        self.errors: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        server.post("/settings", {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": vue})

    def open(self, query: str = "") -> None:
        self.page.goto(f"http://127.0.0.1:{self.server.port}/{query}")
        self.ready()

    def ready(self) -> None:
        """Wait until the page can be used."""
        self.page.wait_for_function("window.app?.extensionManager && window.app.rootGraph?.nodes !== undefined")
        self.page.wait_for_selector("[data-testid='queue-button'], .queue-button-group, .comfyui-queue-button")
        self.page.wait_for_timeout(1500)

    def load(self, graph: dict[str, Any]) -> None:
        """Open a graph as a file of it would be."""
        self.page.evaluate("async (graph) => { await window.app.loadGraphData(graph, true, true, 'test') }", graph)
        self.page.wait_for_timeout(1000)

    def fit(self) -> None:
        """Bring the whole graph into the window: nodes beside it are not drawn, and not measured."""
        self.page.evaluate("window.app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1500)

    def run(self) -> None:
        """Press Run, and wait for the end.

        Raises:
            AssertionError: the run failed; with what the page was told.
        """
        self.page.evaluate(
            """() => {
                window.ended = null
                const api = window.app.api
                api.addEventListener('execution_success', () => { window.ended = 'success' })
                api.addEventListener('execution_error', (e) => { window.ended = JSON.stringify(e.detail) })
            }"""
        )
        self.page.get_by_role("button", name="Run", exact=True).first.click()
        self.page.wait_for_function("window.ended")
        ended = self.page.evaluate("window.ended")
        assert ended == "success", ended
        self.page.wait_for_timeout(3000)  # for what nodes show of it

    def set_widget(self, kind: str, widget: str, value: object) -> None:
        """Set a widget of every node of a kind."""
        self.page.evaluate(
            """([kind, name, value]) => {
                for (const node of window.app.rootGraph.nodes.filter((node) => node.type === kind)) {
                    node.widgets.find((widget) => widget.name === name).value = value
                }
            }""",
            [kind, widget, value],
        )

    def press(self, kind: str, widget: str) -> None:
        """Press a button of a node."""
        self.page.evaluate(
            """([kind, name]) => {
                const node = window.app.rootGraph.nodes.find((node) => node.type === kind)
                node.widgets.find((widget) => widget.name === name).callback()
            }""",
            [kind, widget],
        )

    def assets(self, name: str) -> Any:
        """Open the panel of results, and wait for the card of a run that has a text on it; the text on it."""
        card = self.page.get_by_text(name).first
        for second in range(SECONDS // 2):
            if second % 20 == 0:  # now and then the panel has not heard of a run that has just ended
                self.close_panel()
                self.page.wait_for_timeout(500)
                self.page.evaluate("window.app.extensionManager.sidebarTab.toggleSidebarTab('assets')")
            if card.is_visible():
                return card
            self.page.wait_for_timeout(1000)
        raise AssertionError(f"The panel of results has no {name}.")

    def close_panel(self) -> None:
        """Close the panel at the left, if one is open."""
        self.page.evaluate("window.app.extensionManager.sidebarTab.activeSidebarTabId = null")

    def remove(self, kinds: Iterable[str]) -> None:
        """Take all nodes of some kinds out of the graph."""
        self.page.evaluate(
            """(kinds) => {
                const graph = window.app.rootGraph
                for (const node of graph.nodes.filter((node) => kinds.includes(node.type))) graph.remove(node)
            }""",
            list(kinds),
        )

    def boxes(self) -> dict[str, tuple[float, float, float, float]]:
        """Each node's title, and left, top, right and bottom of it on the canvas, as drawn."""
        found = self.page.evaluate(
            """() => window.app.rootGraph.nodes.map((node) => {
                const shown = document.querySelector(`[data-node-id="${node.id}"]`)
                const title = 30
                let [width, height] = node.size
                if (shown) {
                    width = shown.offsetWidth
                    height = shown.offsetHeight - title
                }
                const [left, top] = node.pos
                return [`${node.id} ${node.title}`, left, top - title, left + width, top + height]
            })"""
        )
        return {name: (left, top, right, bottom) for name, left, top, right, bottom in found}

    def _note(self, message: Any) -> None:
        if message.type == "error":
            text = f"{message.text} {message.location.get('url', '')}"
            if not any(part in text for part in _NOT_OURS):
                self.errors.append(text)


def overlapping(boxes: dict[str, tuple[float, float, float, float]]) -> list[str]:
    """Pairs of nodes that lie on one another."""
    found = []
    for one, (left, top, right, bottom) in boxes.items():
        for other, (left_, top_, right_, bottom_) in boxes.items():
            if one < other and left < right_ and left_ < right and top < bottom_ and top_ < bottom:
                found.append(f"{one} / {other}")
    return found


def save_picture(page: Any, path: Path) -> None:
    """A JPEG of the window, for the documents."""
    page.screenshot(path=str(path), type="jpeg", quality=82)

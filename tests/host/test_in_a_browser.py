"""The templates, blueprints and previews in a real browser, on the page of a running ComfyUI.

With --screenshots DIR the pictures of README and documents are taken here:

    python -m pytest tests/host/test_in_a_browser.py --all-hosts --screenshots docs/images
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from browser import ComfyPage, browser_path, chromium_page, overlapping, save_picture
from comfy_hosts import PACK, make_base, version_number
from comfy_server import ComfyServer, running
from PIL import Image
from test_served import BLUEPRINTS, TEMPLATES, saved_graph

from rem_engine.media import open_shot
from rem_engine.pixels import to_uint8

pytestmark = pytest.mark.slow
SAMPLE = Path("assets") / "sample_shot.mp4"
FRAMES, SIZE = 9, (360, 640)
PREVIEWED = ("SegmentVideo", "MaskToAlpha", "SegmentShot", "CorrectMask")
UNUSED = ("CLIPLoader", "VAELoader")  # with REM-mini in place of the real weights
IN_DOCUMENTS = ("segment_a_shot", "roto_named_layers", "deliver_a_shot")


@pytest.fixture(scope="session")
def short(
    request: pytest.FixtureRequest, host: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComfyServer]:
    """A server with the pack in it, whose sample shot is a short one. What a page shows takes minutes of a browser."""
    # Both before a server is started for nothing.
    if not request.config.getoption("all_hosts"):
        pytest.skip("pages are driven with --all-hosts, as make test-all does")
    browser_path()
    base = make_base(tmp_path_factory.mktemp("browser"))
    pack = base / "custom_nodes" / "ComfyUI-ReferEverything"
    pack.unlink()
    pack.mkdir()
    for entry in PACK.iterdir():
        if not entry.name.startswith(".") and entry.name != SAMPLE.parts[0]:
            (pack / entry.name).symlink_to(entry)
    write_short_sample(pack / SAMPLE)
    (base / "input" / "your_video.mp4").symlink_to(pack / SAMPLE)
    with running(host, base) as server:
        yield server


def write_short_sample(file: Path) -> None:
    """The first frames of the sample shot, half as large."""
    file.parent.mkdir(parents=True)
    with open_shot(PACK / SAMPLE) as shot, av.open(str(file), "w") as video:
        stream = video.add_stream("libx264", rate=24, options={"crf": "14"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in to_uint8(shot.read(0, FRAMES)):
            small = cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(small, "rgb24")))
        video.mux(stream.encode())


def shown(page: Any, kind: str) -> dict[str, Any]:
    """What the preview of a node shows: size and spread of its picture, its frame, and what is written on it."""
    return page.evaluate(
        """(kind) => {
            const node = window.app.rootGraph.nodes.find((node) => node.type === kind)
            const root = node.widgets.find((widget) => widget.name === 'matte_preview').element
            const canvas = root.querySelector('canvas')
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
            let [sum, squares] = [0, 0]
            for (let at = 1; at < data.length; at += 4) { sum += data[at]; squares += data[at] ** 2 }
            const count = data.length / 4
            return {
                size: [canvas.width, canvas.height],
                spread: Math.sqrt(squares / count - (sum / count) ** 2),
                place: root.querySelector('span:not(.rem-note)').textContent,
                layers: [...root.querySelectorAll('.rem-layers button')].map((layer) => layer.textContent),
                note: root.querySelector('.rem-note').textContent
            }
        }""",
        kind,
    )


def assert_shows_masks(page: Any, kind: str, layers: list[str]) -> None:
    found = shown(page, kind)
    assert found["size"] == [512, 288] and found["spread"] > 10 and found["note"] == "", found
    assert found["layers"] == layers and found["place"].endswith(f"/ {FRAMES}"), found


def test_from_a_template_to_a_matte_and_back(short: ComfyServer) -> None:
    """Open the first template by its card, run, look, find the results, reload, drop a result on the canvas."""
    prompts = ["1  the smoke", "2  the red star", "3  the orange circle"]
    with chromium_page(browser_path()) as page:
        comfy = ComfyPage(page, short)
        comfy.open()
        page.evaluate("window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        page.get_by_placeholder("Search").last.fill(TEMPLATES["segment_a_shot"])
        page.get_by_text(TEMPLATES["segment_a_shot"], exact=True).first.click()
        page.wait_for_function("window.app.rootGraph.nodes.some((node) => node.type === 'SegmentVideo')")
        comfy.fit()
        assert shown(page, "SegmentVideo")["note"] == "Run to see the matte"
        comfy.run()
        assert_shows_masks(page, "SegmentVideo", prompts)
        assert_shows_masks(page, "MaskToAlpha", ["the_smoke"])

        if version_number(short.host) >= (0, 28):  # older ones do not tell the panel of runs
            page.evaluate("window.app.extensionManager.sidebarTab.toggleSidebarTab('assets')")
            page.get_by_text("rgba_0000").first.wait_for()  # the run's card
            page.evaluate("window.app.extensionManager.sidebarTab.toggleSidebarTab('assets')")

        page.reload()
        comfy.ready()
        page.wait_for_function("window.app.rootGraph.nodes.some((node) => node.type === 'SegmentVideo')")
        page.wait_for_timeout(3000)
        assert_shows_masks(page, "SegmentVideo", prompts)

        file = next((short.base / "output" / "ReferEverything").glob("rgba_*.png"))
        page.evaluate("window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
        page.wait_for_function("window.app.rootGraph.nodes.length === 0")
        drop(page, file)
        page.wait_for_function("window.app.rootGraph.nodes.some((node) => node.type === 'SegmentVideo')")
        assert comfy.errors == []


def drop(page: Any, file: Path) -> None:
    """Drop a file on the canvas."""
    page.evaluate(
        """([name, content]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
            const dragged = new DataTransfer()
            dragged.items.add(new File([bytes], name, { type: 'image/png' }))
            const canvas = document.querySelector('#graph-canvas')
            canvas.dispatchEvent(new DragEvent('drop', { dataTransfer: dragged, bubbles: true, cancelable: true }))
        }""",
        [file.name, base64.b64encode(file.read_bytes()).decode()],
    )


@pytest.mark.parametrize("vue", [False, True], ids=["classic", "vue"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_templates_nodes_do_not_overlap_before_or_after_a_run(
    short: ComfyServer, name: str, vue: bool, request: pytest.FixtureRequest
) -> None:
    graph, _ = saved_graph(name)
    with chromium_page(browser_path()) as page:
        comfy = ComfyPage(page, short, vue=vue)
        comfy.open()
        comfy.load(graph)
        comfy.fit()
        assert overlapping(comfy.boxes()) == []
        comfy.set_widget("LoadREM", "checkpoint", "REM-mini (bundled)")  # the real weights are not here
        comfy.set_widget("PaintKeyMask", "frame", 5)  # the short shot has no others
        comfy.remove(UNUSED)
        comfy.run()
        comfy.fit()
        assert overlapping(comfy.boxes()) == []
        for node in graph["nodes"]:
            if node["type"] in PREVIEWED:
                assert shown(page, node["type"])["spread"] > 5
        assert comfy.errors == []
        folder = request.config.getoption("screenshots")
        if folder and name in IN_DOCUMENTS and not vue:
            save_picture(page, Path(folder) / f"{name}.jpg")


def test_a_shot_follows_what_is_painted_in_the_mask_editor(short: ComfyServer, request: pytest.FixtureRequest) -> None:
    graph, _ = saved_graph("fix_a_few_frames")
    with chromium_page(browser_path()) as page:
        comfy = ComfyPage(page, short)
        comfy.open()
        comfy.load(graph)
        comfy.set_widget("PaintKeyMask", "frame", 5)
        comfy.run()
        page.evaluate(
            """() => {
                const { canvas, rootGraph } = window.app
                canvas.selectNode(rootGraph.nodes.find((node) => node.type === 'PaintKeyMask'))
                return window.app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')
            }"""
        )
        page.wait_for_timeout(6000)
        page.mouse.move(650, 400)
        page.mouse.down()
        page.mouse.move(850, 500, steps=8)
        page.mouse.up()
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Save").last.click()
        painted = (
            "window.app.rootGraph.nodes.find((node) => node.type === 'PaintKeyMask')"
            ".widgets.find((widget) => widget.name === 'image').value"
        )
        page.wait_for_function(f"{painted} !== ''")
        comfy.run()
        (file,) = (short.base / "output" / "ReferEverything").glob("keys_*/key.1005.png")
        key = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) / 65535
        with Image.open(short.base / "input" / page.evaluate(painted).removesuffix(" [input]")) as saved:
            alpha = np.asarray(saved)[..., 3]
        np.testing.assert_allclose(key, 1 - alpha / 255, atol=1 / 65535)
        assert 0.01 < key.mean() < 0.2
        assert shown(page, "CorrectMask")["spread"] > 5
        assert comfy.errors == []
        if folder := request.config.getoption("screenshots"):
            page.evaluate("window.app.canvas.deselectAll()")
            comfy.fit()
            save_picture(page, Path(folder) / "fix_a_few_frames.jpg")


@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_a_blueprint_runs_from_an_empty_canvas(short: ComfyServer, file: Path) -> None:
    """Two nodes and a link: a video, and the blueprint; what comes out is kept by stock nodes."""
    content = json.loads(file.read_text("utf-8"))
    outputs = [socket["type"] for socket in content["definitions"]["subgraphs"][0]["outputs"]]
    with chromium_page(browser_path()) as page:
        comfy = ComfyPage(page, short)
        comfy.open()
        page.evaluate("window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
        page.mouse.dblclick(500, 450)
        page.wait_for_timeout(1500)
        page.keyboard.type(file.stem.removesuffix(" (REM)"))
        page.wait_for_timeout(2500)
        page.keyboard.press("Enter")
        page.wait_for_timeout(2500)
        page.mouse.click(700, 300)  # where it is put
        page.wait_for_function("window.app.rootGraph.nodes.length === 1")
        widgets = page.evaluate(
            """(outputs) => {
                const { app, LiteGraph } = window
                const [blueprint] = app.rootGraph.nodes
                const add = (type) => {
                    const node = LiteGraph.createNode(type)
                    app.rootGraph.add(node)
                    return node
                }
                const video = add('SampleShot')
                video.connect(video.outputs.findIndex((output) => output.type === 'VIDEO'), blueprint, 0)
                outputs.forEach((kind, slot) => {
                    if (kind === 'STRING') blueprint.connect(slot, add('PreviewAny'), 0)
                })
                const images = outputs.indexOf('IMAGE')
                if (images >= 0) blueprint.connect(images, add('PreviewImage'), 0)
                return blueprint.widgets.map((widget) => widget.label ?? widget.name)
            }""",
            outputs,
        )
        assert len(widgets) >= 4 and not any("seed" in widget for widget in widgets)
        comfy.run()
        assert comfy.errors == []

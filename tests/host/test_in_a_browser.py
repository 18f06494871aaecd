"""The templates, blueprints and previews in a real browser, on the page of a running ComfyUI.

With --screenshots DIR the pictures of README and documents are taken here:

    python -m pytest tests/host/test_in_a_browser.py --all-hosts --screenshots docs/images
"""

from __future__ import annotations

import base64
import json
import shutil
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
    shutil.copyfile(pack / SAMPLE, base / "input" / "your_video.mp4")  # the host follows no link out of its folder
    with running(host, base) as server:
        yield server


@pytest.fixture(scope="module")
def drawn(request: pytest.FixtureRequest, short: ComfyServer) -> Iterator[ComfyPage]:
    """A page with nodes of one kind, which tests share: to come up takes it longer than most of them."""
    with chromium_page(browser_path()) as page:
        comfy = ComfyPage(page, short, vue=request.param)
        comfy.open()
        yield comfy


@pytest.fixture
def comfy_page(drawn: ComfyPage) -> Iterator[ComfyPage]:
    """The page; what it says in its console during a test is the test's."""
    drawn.errors.clear()
    yield drawn
    assert drawn.errors == []


CLASSIC = pytest.mark.parametrize("drawn", [False], ids=["classic"], indirect=True)
BOTH = pytest.mark.parametrize("drawn", [False, True], ids=["classic", "vue"], indirect=True)


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
                height: canvas.offsetHeight,
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


@CLASSIC
def test_from_a_template_to_a_matte_and_back(short: ComfyServer, comfy_page: ComfyPage) -> None:
    """Open the first template by its card, run, look, find the results, reload, drop a result on the canvas."""
    prompts = ["1  the smoke", "2  the red star", "3  the orange circle"]
    page = comfy_page.page
    page.evaluate("window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_placeholder("Search").last.fill(TEMPLATES["segment_a_shot"])
    page.get_by_text(TEMPLATES["segment_a_shot"], exact=True).first.click()
    page.wait_for_function("window.app.rootGraph.nodes.some((node) => node.type === 'SegmentVideo')")
    comfy_page.fit()
    assert shown(page, "SegmentVideo")["note"] == "Run to see the matte"
    comfy_page.run()
    assert_shows_masks(page, "SegmentVideo", prompts)
    assert_shows_masks(page, "MaskToAlpha", ["the_smoke"])

    if version_number(short.host) >= (0, 28):  # older ones do not tell the panel of runs
        comfy_page.assets("rgba_0000")
        comfy_page.close_panel()

    page.reload()
    comfy_page.ready()
    page.wait_for_function("window.app.rootGraph.nodes.some((node) => node.type === 'SegmentVideo')")
    page.wait_for_timeout(3000)
    assert_shows_masks(page, "SegmentVideo", prompts)

    file = next((short.base / "output" / "ReferEverything").glob("rgba_*.png"))
    page.evaluate("window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.wait_for_function("window.app.rootGraph.nodes.length === 0")
    drop(page, file)
    page.wait_for_function("window.app.rootGraph.nodes.some((node) => node.type === 'SegmentVideo')")


@BOTH
def test_prompts_are_edited_as_a_list(comfy_page: ComfyPage) -> None:
    page, (graph, _) = comfy_page.page, saved_graph("segment_a_shot")
    comfy_page.load(graph)
    comfy_page.press("EncodeText", "layers")
    listed = page.locator(".rem-list")
    listed.get_by_placeholder("name", exact=True).first.fill("smoke")
    listed.get_by_placeholder("leave out; and this").first.fill("the steam; the fog")
    listed.locator("select").nth(1).select_option("solid")
    listed.locator(".rem-row").nth(2).get_by_role("button").first.click()  # its eye
    listed.get_by_text("+ layer").click()
    listed.get_by_placeholder("what to segment").last.fill("the fire")
    listed.get_by_text("Done", exact=True).click()
    assert listed.count() == 0
    found = page.evaluate("async () => (await window.app.graphToPrompt()).output['3'].inputs")
    assert found["text"].splitlines() == [
        "smoke: the smoke | -the steam | -the fog", "the red star | preset: solid", "# the orange circle", "the fire",
    ]  # fmt: skip
    assert found.keys() == {"clip", "text"}
    comfy_page.press("EncodeText", "layers")
    assert listed.count() == 1
    comfy_page.load(graph)  # another graph: the list is of a node that is gone
    assert listed.count() == 0


def assert_is_listed(page: Any, kind: str) -> None:
    """A card of a kind of file is in the panel of results, at once or further down."""
    card = page.get_by_text(kind, exact=True).first
    for _ in range(30):
        if card.is_visible():
            return
        page.mouse.move(200, 600)
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(500)
    raise AssertionError(f"There is no card of {kind}.")


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


@BOTH
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_templates_nodes_do_not_overlap_before_or_after_a_run(
    short: ComfyServer, comfy_page: ComfyPage, name: str, request: pytest.FixtureRequest
) -> None:
    graph, _ = saved_graph(name)
    comfy_page.load(graph)
    comfy_page.fit()
    assert overlapping(comfy_page.boxes()) == []
    assert comfy_page.page.evaluate("window.app.canvas.low_quality") is False  # its texts are drawn, in this window
    comfy_page.set_widget("LoadREM", "checkpoint", "REM-mini (bundled)")  # the real weights are not here
    comfy_page.set_widget("PaintKeyMask", "frame", 5)  # the short shot has no others
    comfy_page.remove(UNUSED)
    comfy_page.run()
    comfy_page.fit()
    assert overlapping(comfy_page.boxes()) == []
    if name == "deliver_a_shot" and version_number(short.host) >= (0, 28):  # the panel has what it shows no picture of
        comfy_page.assets("preview")
        comfy_page.page.get_by_label("See more outputs").first.click()
        for kind in ("JSON", "EXR", "MOV"):
            assert_is_listed(comfy_page.page, kind)
        comfy_page.close_panel()
    for node in graph["nodes"]:
        if node["type"] in PREVIEWED:
            preview = shown(comfy_page.page, node["type"])
            assert preview["spread"] > 5 and preview["height"] > 100, preview
    folder = request.config.getoption("screenshots")
    if folder and name in IN_DOCUMENTS and not comfy_page.vue:
        save_picture(comfy_page.page, Path(folder) / f"{name}.jpg")


@CLASSIC
def test_a_shot_follows_what_is_painted_in_the_mask_editor(
    short: ComfyServer, comfy_page: ComfyPage, request: pytest.FixtureRequest
) -> None:
    page, (graph, _) = comfy_page.page, saved_graph("fix_a_few_frames")
    comfy_page.load(graph)
    comfy_page.set_widget("PaintKeyMask", "frame", 5)
    comfy_page.run()
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
    comfy_page.run()
    (file,) = (short.base / "output" / "ReferEverything").glob("keys_*/key.1005.png")
    key = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) / 65535
    with Image.open(short.base / "input" / page.evaluate(painted).removesuffix(" [input]")) as saved:
        alpha = np.asarray(saved)[..., 3]
    np.testing.assert_allclose(key, 1 - alpha / 255, atol=1 / 65535)
    assert 0.01 < key.mean() < 0.2
    assert shown(page, "CorrectMask")["spread"] > 5
    if folder := request.config.getoption("screenshots"):
        page.evaluate("window.app.canvas.deselectAll()")
        comfy_page.fit()
        save_picture(page, Path(folder) / "fix_a_few_frames.jpg")


@CLASSIC
def test_the_first_template_is_an_app(short: ComfyServer, comfy_page: ComfyPage) -> None:
    """Its widgets stand beside its result, and what is written there is what runs."""
    if version_number(short.host) < (0, 28):
        pytest.skip("this page has no apps")
    page, (graph, _) = comfy_page.page, saved_graph("segment_a_shot")
    comfy_page.load(graph)
    toggle = "window.app.extensionManager.command.execute('Comfy.ToggleLinear')"
    page.evaluate(toggle)
    try:
        page.wait_for_timeout(2000)
        if (skip := page.get_by_role("button", name="Skip", exact=True)).count():  # a tour of the page's own
            skip.first.click()
        for widget in ("text", "prompt", "threshold", "feather"):
            page.get_by_text(widget, exact=True).locator("visible=true").first.wait_for()
        page.get_by_role("textbox").locator("visible=true").first.fill("the red star")
        comfy_page.run()
        shown_video = page.locator("video[src*='filename=overlay_']").first
        shown_video.wait_for()
        assert shown_video.evaluate("(video) => video.offsetWidth") > 500
    finally:
        page.evaluate(toggle)
    texts = page.evaluate("window.app.rootGraph.nodes.find((node) => node.type === 'EncodeText').widgets[0].value")
    assert texts == "the red star"


@CLASSIC
@pytest.mark.parametrize("name", ["segment_with_wan_14b", "segment_with_modelscope"])
def test_missing_models_are_listed_with_what_can_be_fetched(
    short: ComfyServer, comfy_page: ComfyPage, name: str
) -> None:
    if version_number(short.host) < (0, 28):
        pytest.skip("this page lists them in a dialog of its own")
    page, (graph, _) = comfy_page.page, saved_graph(name)
    models = [model for node in graph["nodes"] for model in node["properties"].get("models", ())]
    comfy_page.load(graph)
    page.get_by_text("View details").first.click()
    panel = page.locator("[data-testid='missing-model-locate']").first
    panel.wait_for()
    assert page.locator("[data-testid='missing-model-download']").count() == len(models)
    for model in models:
        page.get_by_text(model["name"]).first.wait_for()
    (checkpoint,) = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "LoadREM"]
    page.get_by_text(checkpoint).first.wait_for()  # without a link: the template's note says how to get it
    (note,) = [node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    assert checkpoint in note and "cannot fetch" in note
    page.evaluate("window.app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', false)")


@CLASSIC
@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_a_blueprint_runs_from_an_empty_canvas(comfy_page: ComfyPage, file: Path) -> None:
    """Two nodes and a link: a video, and the blueprint; what comes out is kept by stock nodes."""
    content = json.loads(file.read_text("utf-8"))
    outputs = [socket["type"] for socket in content["definitions"]["subgraphs"][0]["outputs"]]
    page = comfy_page.page
    page.evaluate("window.app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    page.wait_for_function("window.app.rootGraph.nodes.length === 0")
    page.mouse.dblclick(500, 450)
    page.wait_for_timeout(1500)
    page.keyboard.type(file.stem.removesuffix(" (REM)"))
    page.get_by_text(file.stem).first.wait_for()
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
    comfy_page.run()

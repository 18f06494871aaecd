"""What the front-end is given: templates that load, and a help page for every node."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from comfy_hosts import PACK
from comfy_server import ComfyServer

TEMPLATES = {
    "segment_a_shot": "1 Segment a shot",
    "segment_your_video": "2 Segment your own video",
    "roto_named_layers": "3 Named layers for roto",
    "deliver_a_shot": "4 Deliver a shot of any length",
    "segment_with_wan_14b": "5 REM on Wan 14B",
    "segment_with_modelscope": "6 REM on ModelScope",
    "fix_a_few_frames": "7 Fix a few frames",
    "shapes_and_cryptomatte": "8 Shapes and Cryptomatte",
}
"""The templates by the names of their API twins."""
WIDEST = 1500  # units of the canvas: a laptop's window shows all of it, readable
NODES = (
    "LoadREM",
    "EncodeText",
    "SegmentVideo",
    "SegmentShot",
    "MaskToAlpha",
    "SaveMatte",
    "SampleShot",
    "PromptLayer",
    "PaintKeyMask",
    "CorrectMask",
)
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
PACK_NAME = "ComfyUI-ReferEverything"
MUTED = 2


def test_templates_are_offered_with_a_thumbnail(comfy: ComfyServer) -> None:
    # Of a folder called example(s) or workflow(s) too all graphs would be listed, and fetched from example_workflows/.
    assert sorted(comfy.get("/workflow_templates")[PACK_NAME]) == sorted(TEMPLATES.values())
    for name in map(quote, TEMPLATES.values()):
        assert comfy.get(f"/api/workflow_templates/{PACK_NAME}/{name}.json")["nodes"]
        assert comfy.get_bytes(f"/api/workflow_templates/{PACK_NAME}/{name}.jpg")[:2] == b"\xff\xd8"
    assert "consider renaming" not in comfy.log


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_says_what_it_is_and_is_no_wider_than_a_window(name: str) -> None:
    graph, _ = saved_graph(name)
    about = graph["extra"]["info"]
    assert about["name"] == TEMPLATES[name] and about["description"] and about["tags"]
    left = min(node["pos"][0] for node in graph["nodes"])
    assert max(node["pos"][0] + node["size"][0] for node in graph["nodes"]) - left <= WIDEST


def test_the_first_template_is_an_app_too() -> None:
    """Its widgets and results are there, under the names that the page looks for."""
    graph, _ = saved_graph("segment_a_shot")
    nodes = {node["id"]: node for node in graph["nodes"]}
    app = graph["extra"]["linearData"]
    assert app["inputs"] and app["outputs"] and graph["extra"]["linearMode"] is False
    for node, widget in app["inputs"]:
        assert widget in [socket["name"] for socket in nodes[node]["inputs"] if "widget" in socket]
    assert {nodes[node]["type"] for node in app["outputs"]} <= {"SaveVideo", "SaveImage", "SaveMatte"}


BLUEPRINTS = sorted((PACK / "subgraphs").glob("*.json"))


@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_a_blueprint_is_offered_and_wired_as_it_says(comfy: ComfyServer, file: Path) -> None:
    listed = comfy.get("/global_subgraphs")
    (key,) = [key for key, entry in listed.items() if entry["name"] == file.stem]
    assert listed[key]["source"] == "custom_node"
    (inside,) = json.loads(comfy.get(f"/global_subgraphs/{key}")["data"])["definitions"]["subgraphs"]
    assert inside["name"] == file.stem and inside["description"] and inside["category"]
    nodes = {node["id"]: node for node in inside["nodes"]}
    for link in inside["links"]:
        if link["origin_id"] > 0:
            assert nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["type"] == link["type"]
        if link["target_id"] > 0:
            socket = nodes[link["target_id"]]["inputs"][link["target_slot"]]
            assert socket["link"] == link["id"] and link["type"] in socket["type"].split(",")
    for node in nodes.values():
        known = comfy.get(f"/object_info/{node['type']}")[node["type"]]
        names = set(known["input"]["required"]) | set(known["input"].get("optional", {}))
        assert {socket["name"] for socket in node["inputs"]} <= names
        assert [socket["type"] for socket in node["outputs"]] == known["output"][: len(node["outputs"])]
        required = set(known["input"]["required"])
        linked = {s["name"] for s in node["inputs"] if s["link"] is not None or "widget" in s}
        assert required <= linked, node["type"]
    outside = {socket["name"]: socket["type"] for socket in inside["inputs"]}
    assert outside["video"] == "VIDEO" and outside["text"] == "STRING" and "seed" not in outside


def test_every_node_has_a_help_page(comfy: ComfyServer) -> None:
    for node in NODES:
        try:
            page = comfy.get_bytes(f"/extensions/{quote(PACK_NAME)}/docs/{node}.md")
        except HTTPError as error:
            pytest.fail(f"{node}: {error}")
        assert page.startswith(b"# ")


def test_tables_of_the_help_pages_have_the_first_values_of_the_widgets(comfy: ComfyServer) -> None:
    rows = 0
    for node in ("SegmentVideo", "SegmentShot", "MaskToAlpha", "SaveMatte"):
        inputs = comfy.get(f"/object_info/{node}")[node]["input"]
        known = inputs["required"] | inputs["optional"]
        page = (PACK / "web" / "docs" / f"{node}.md").read_text("utf-8")
        for names, first in re.findall(r"^\| ([\w, ]+) \| ([\w.]+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE):
            for name in names.split(", "):
                default = known[name][1]["default"]
                shown = ("off", "on")[default] if isinstance(default, bool) else default
                assert type(shown)(first) == shown, (node, name)
                rows += 1
    assert rows > 30


@pytest.mark.parametrize("name", [*TEMPLATES, "every_node"])
def test_a_template_and_its_api_twin_are_the_same_graph(comfy: ComfyServer, name: str) -> None:
    graph, twin = saved_graph(name)
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    # A note is the front-end's own, and what is muted does not run.
    nodes = [node for node in graph["nodes"] if node["type"] != "MarkdownNote" and node["mode"] != MUTED]
    assert {str(node["id"]): node["type"] for node in nodes} == {key: node["class_type"] for key, node in twin.items()}
    for node in nodes:
        expected = {socket["name"]: links[socket["link"]] for socket in node["inputs"] if socket["link"] is not None}
        expected = widget_values(node) | expected
        found = twin[str(node["id"])]["inputs"]
        assert found == expected, node["type"]
        known = comfy.get(f"/object_info/{node['type']}")[node["type"]]["input"]
        grown = {name.partition(".")[0] for name in found}  # a growing input's sockets are keys.key_1, ...
        assert grown <= set(known["required"]) | set(known.get("optional", {}))


@pytest.mark.parametrize("name", [*TEMPLATES, "every_node"])
def test_values_of_a_saved_graph_lie_in_the_order_of_the_nodes_widgets(comfy: ComfyServer, name: str) -> None:
    """The page gives a node its saved values one after the other, as its definition has the widgets."""
    graph, twin = saved_graph(name)
    for node in graph["nodes"]:
        if node["type"] not in NODES:
            continue
        inputs = comfy.get(f"/object_info/{node['type']}")[node["type"]]["input"]
        known = inputs["required"] | inputs.get("optional", {})
        widgets = [name for name, spec in known.items() if isinstance(spec[0], list) or spec[0] in WIDGET_TYPES]
        # Saved before a node had its last widgets, a graph leaves these at their first values.
        by_order = dict(zip(widgets, node["widgets_values"]))
        for widget, value in twin[str(node["id"])]["inputs"].items():
            if not isinstance(value, list):  # no link
                assert by_order[widget] == value, (node["type"], widget)


def test_a_graph_saved_with_every_widget_set_is_taken(comfy: ComfyServer) -> None:
    _, graph = saved_graph("every_node")
    taken = {node["class_type"] for node in graph.values()}
    assert taken == set(NODES)
    prompt = comfy.submit(graph)  # types, ends of ranges and choices are checked before it is queued
    comfy.post("/queue", {"delete": [prompt]})
    comfy.post("/interrupt")


def saved_graph(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A graph as the page saves it, and in API format: of a template, or of the one with every node."""
    if name in TEMPLATES:
        files = (template_file(name), PACK / "workflows" / "api" / f"{name}.json")
    else:
        folder = PACK / "tests" / "nodes" / "saved"
        files = (folder / f"{name}.json", folder / f"{name}_api.json")
    graph, twin = (json.loads(file.read_text("utf-8")) for file in files)
    return graph, twin


def template_file(name: str) -> Path:
    """Of a template by the name of its API twin."""
    return PACK / "example_workflows" / f"{TEMPLATES[name]}.json"


def widget_values(node: dict[str, Any]) -> dict[str, Any]:
    """A node's widgets by name: their values lie in the order of the inputs that have one."""
    names = [socket["name"] for socket in node["inputs"] if "widget" in socket]
    values = node.get("widgets_values", [])
    assert len(names) == len(values)
    # A file widget's upload button is a widget to the front-end alone.
    return {name: value for name, value in zip(names, values, strict=True) if name != "upload"}

"""What the front-end is given: templates that load, and a help page for every node."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from comfy_hosts import PACK
from comfy_server import ComfyServer

TEMPLATES = (
    "segment_a_shot",
    "segment_your_video",
    "segment_with_wan_14b",
    "segment_with_modelscope",
    "roto_named_layers",
    "deliver_a_shot",
)
NODES = ("LoadREM", "EncodeText", "SegmentVideo", "SegmentShot", "MaskToAlpha", "SaveMatte", "SampleShot")
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
PACK_NAME = "ComfyUI-ReferEverything"


def test_templates_are_offered_with_a_thumbnail(comfy: ComfyServer) -> None:
    # A folder of the pack called example(s) or workflow would be served in place of workflows/.
    assert set(comfy.get("/workflow_templates")[PACK_NAME]) == set(TEMPLATES)
    for name in TEMPLATES:
        assert comfy.get(f"/api/workflow_templates/{PACK_NAME}/{name}.json")["nodes"]
        assert comfy.get_bytes(f"/api/workflow_templates/{PACK_NAME}/{name}.jpg")[:2] == b"\xff\xd8"


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
    nodes = [node for node in graph["nodes"] if node["type"] != "MarkdownNote"]  # a note is the front-end's own
    assert {str(node["id"]): node["type"] for node in nodes} == {key: node["class_type"] for key, node in twin.items()}
    for node in nodes:
        expected = {socket["name"]: links[socket["link"]] for socket in node["inputs"] if socket["link"] is not None}
        expected = widget_values(node) | expected
        found = twin[str(node["id"])]["inputs"]
        assert found == expected, node["type"]
        known = comfy.get(f"/object_info/{node['type']}")[node["type"]]["input"]
        assert set(found) <= set(known["required"]) | set(known.get("optional", {}))


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
        files = (PACK / "workflows" / f"{name}.json", PACK / "workflows" / "api" / f"{name}.json")
    else:
        folder = PACK / "tests" / "nodes" / "saved"
        files = (folder / f"{name}.json", folder / f"{name}_api.json")
    graph, twin = (json.loads(file.read_text("utf-8")) for file in files)
    return graph, twin


def widget_values(node: dict[str, Any]) -> dict[str, Any]:
    """A node's widgets by name: their values lie in the order of the inputs that have one."""
    names = [socket["name"] for socket in node["inputs"] if "widget" in socket]
    values = node.get("widgets_values", [])
    assert len(names) == len(values)
    # A file widget's upload button is a widget to the front-end alone.
    return {name: value for name, value in zip(names, values, strict=True) if name != "upload"}

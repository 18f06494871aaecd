"""What the front-end is given: templates that load, and a help page for every node."""

from __future__ import annotations

import json
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
PACK_NAME = "ComfyUI-ReferEverything"


def test_templates_are_offered_with_a_thumbnail(comfy: ComfyServer) -> None:
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


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_and_its_api_twin_are_the_same_graph(comfy: ComfyServer, name: str) -> None:
    graph = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    twin = json.loads((PACK / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
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


def widget_values(node: dict[str, Any]) -> dict[str, Any]:
    """A node's widgets by name: their values lie in the order of the inputs that have one."""
    names = [socket["name"] for socket in node["inputs"] if "widget" in socket]
    values = node.get("widgets_values", [])
    assert len(names) == len(values)
    # A file widget's upload button is a widget to the front-end alone.
    return {name: value for name, value in zip(names, values, strict=True) if name != "upload"}

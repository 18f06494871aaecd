"""What the page is told before a graph runs, and inputs that grow, over HTTP."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from comfy_hosts import version_number
from comfy_server import ComfyServer, Graph, Refused

LEVELS = {"black": 0.0, "white": 1.0, "gamma": 1.0, "grow": 0, "feather": 0.0, "invert": False, "colour": "straight"}


def graph(**widgets: dict[str, Any]) -> Graph:
    """A picture and masks of it to mattes and files, with widgets of nodes by class."""
    nodes: Graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 2, "color": 0}},
        "2": {"class_type": "SolidMask", "inputs": {"value": 0.5, "width": 64, "height": 48}},
        "3": {"class_type": "MaskToAlpha", "inputs": {"image": ["1", 0], "mask": ["2", 0], **LEVELS}},
        "4": {
            "class_type": "SaveMatte",
            "inputs": {
                "image": ["1", 0], "mask": ["3", 1], "filename_prefix": "grown/shot", "format": "alpha", "start": 1001,
                "colour": "straight", "fps": 24.0,
            },
        },
    }  # fmt: skip
    for node in nodes.values():
        node["inputs"] |= widgets.get(node["class_type"], {})
    return nodes


@pytest.mark.parametrize(
    ("node", "widgets", "sentence"),
    [
        ("MaskToAlpha", {"black": 0.9, "white": 0.1}, "The white level (0.1) must lie above the black level (0.9)."),
        ("MaskToAlpha", {"layers": "matte | sharpen: 2"}, "Layer 'matte': There is no setting 'sharpen'"),
        ("MaskToAlpha", {"white": float("inf")}, "The white level is inf; a finite number is expected."),
        ("MaskToAlpha", {"levels": {"min": 0.9, "max": 0.1}}, "The white level (0.1) must lie above the black level"),
        ("MaskToAlpha", {"levels": {"min": "low"}}, "a RANGE of the numbers min, max and midpoint is expected"),
        ("SaveMatte", {"filename_prefix": "  "}, "The filename_prefix is empty"),
        ("SaveMatte", {"filename_prefix": "a/shot\nb"}, "holds a new line"),
        ("SaveMatte", {"filename_prefix": "../../out"}, "leads out of ComfyUI's output folder"),
        ("SaveMatte", {"names": "two words"}, "A layer cannot have the name 'two words'"),
    ],
)
def test_a_mistake_is_told_before_the_graph_is_queued(
    comfy: ComfyServer, node: str, widgets: dict[str, Any], sentence: str
) -> None:
    if "levels" in widgets and version_number(comfy.host) < (0, 28):
        pytest.skip("this ComfyUI has no RANGE")
    with pytest.raises(Refused) as refused:
        comfy.submit(graph(**{node: widgets}))
    (errors,) = [entry["errors"] for entry in refused.value.answer["node_errors"].values()]
    assert any(sentence in error["details"] for error in errors)


def test_a_prompt_that_cannot_be_read_is_told_before_a_model_is_loaded(comfy: ComfyServer) -> None:
    nodes: Graph = {
        "1": {"class_type": "LoadREM", "inputs": {"checkpoint": "REM-mini (bundled)"}},
        "2": {"class_type": "EncodeText", "inputs": {"clip": ["1", 1], "text": "-the steam"}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
    }
    with pytest.raises(Refused) as refused:
        comfy.submit(nodes)
    assert "begins with what to leave out: first write what to segment" in json.dumps(refused.value.answer)


SEGMENT = {"model": ["1", 0], "vae": ["1", 2], "threshold": 0.5, "protocol": "shot"}
WINDOWS = {"height": 0, "width": 0, "window": 0, "overlap": 0}


def prompted(prompt: int, *texts: str, **widgets: Any) -> Graph:
    """Segment Video for one of the layers of several Encode Text, joined one after the other."""
    nodes: Graph = {
        "1": {"class_type": "LoadREM", "inputs": {"checkpoint": "REM-mini (bundled)"}},
        "2": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 0}},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 3]}},
    }
    joined = None
    for number, text in enumerate(texts):
        nodes[f"text{number}"] = {"class_type": "EncodeText", "inputs": {"clip": ["1", 1], "text": text}}
        both = {"conditioning_1": joined, "conditioning_2": [f"text{number}", 0]}
        if joined is not None:
            nodes[f"both{number}"] = {"class_type": "ConditioningCombine", "inputs": both}
        joined = [f"both{number}" if joined else f"text{number}", 0]
    inputs = {**SEGMENT, **WINDOWS, "image": ["2", 0], "conditioning": joined, "prompt": prompt, **widgets}
    return nodes | {"3": {"class_type": "SegmentVideo", "inputs": inputs}}


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (prompted(3, "the smoke\n# the star\nthe circle"), "Prompt 3 was asked for, and the CONDITIONING holds 2"),
        (prompted(4, "the smoke\nthe star", "the circle"), "Prompt 4 was asked for, and the CONDITIONING holds 3"),
        (prompted(2, "the smoke\nthe star", combine="union"), "holds 2, joined into 1: choose a number up to 1"),
        (prompted(0, "the smoke", window=3), "cannot take windows of 3 frames; use 5"),
        (prompted(0, "the smoke", overlap=500), "The overlap of windows of 9 frames must be 0 to 4, not 500"),
        (prompted(-2, "the smoke"), "Prompt -2 was asked for: choose a number from -1 to 999."),
    ],
    ids=["a line too few", "of two nodes", "union", "a window of no model", "an overlap above half", "below all"],
)
def test_a_number_of_a_prompt_or_a_window_that_is_not_there_is_told_before_a_model_is_loaded(
    comfy: ComfyServer, nodes: Graph, told: str
) -> None:
    with pytest.raises(Refused) as refused:
        comfy.submit(nodes)
    assert told in json.dumps(refused.value.answer)


def test_a_layer_with_two_presets_is_told_before_a_model_is_loaded(comfy: ComfyServer) -> None:
    widgets = {"text": "the smoke", "name": "", "leave_out": "", "shown": True}
    nodes: Graph = {
        "1": {"class_type": "PromptLayer", "inputs": {**widgets, "preset": "smoke", "settings": "preset: hair"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    with pytest.raises(Refused) as refused:
        comfy.submit(nodes)
    assert "preset" in json.dumps(refused.value.answer["node_errors"]["1"]["errors"][0]["details"])


def test_what_a_model_does_not_know_is_in_the_history_of_a_cached_run_too(comfy: ComfyServer) -> None:
    nodes = prompted(0, "the giraffe")
    for entry in (comfy.run(nodes), comfy.run(nodes)):
        assert any("does not know 'giraffe'" in text for text in entry["outputs"]["3"]["text"]), entry["status"]


def test_a_number_of_a_prompt_that_is_there_is_taken(comfy: ComfyServer) -> None:
    entry = comfy.run(prompted(3, "the red star\nthe blue star", "the red circle"))
    assert entry["status"]["status_str"] == "success", entry["status"]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "There is no shot: connect a video, or choose one"),
        ({"video": ["5", 0], "path": "there.mp4"}, "A video is connected and 'there.mp4' is chosen at path"),
        ({"video": ["5", 0], "shots": "there.mp4"}, "There is a list of shots and a shot beside it"),
        ({"path": "there.mp4", "frames": "x-y"}, "'x-y' is no range of frames"),
        ({"path": "there.mp4", "plate_space": "nonsense"}, "There is no colour space 'nonsense'"),
        ({"shots": "there.mp4", "filename_prefix": "q/%width%"}, "several shots have sizes of their own"),
    ],
    ids=["none", "two", "a list and one", "no frames", "no space", "one size of many"],
)
def test_a_shot_that_cannot_be_read_is_told_before_a_model_is_loaded(
    comfy: ComfyServer, inputs: dict[str, Any], told: str
) -> None:
    (comfy.base / "input" / "there.mp4").touch()
    nodes = prompted(1, "the smoke") | {"5": {"class_type": "SampleShot", "inputs": {"frame_limit": 1}}}
    shot = {name: value for name, value in nodes["3"]["inputs"].items() if name not in ("image", "prompt")}
    delivery = {"filename_prefix": "a/shot", "format": "exr", "start": 1001, "colour": "straight", "fps": 24.0}
    widgets = {"grow": 0, "feather": 0.0, "refine": 0, "smooth": 0, "black": 0.0, "white": 1.0}
    nodes["3"] = {
        "class_type": "SegmentShot", "inputs": {**shot, **delivery, **widgets, "path": "connected video", **inputs},
    }  # fmt: skip
    with pytest.raises(Refused) as refused:
        comfy.submit({name: node for name, node in nodes.items() if name != "4"})
    assert told in json.dumps(refused.value.answer)


def test_a_node_tells_how_fast_it_goes_what_is_left_and_how_long_it_took(comfy: ComfyServer) -> None:
    nodes = graph()
    del nodes["4"]
    nodes["1"]["inputs"] |= {"width": 960, "height": 540, "batch_size": 14}
    nodes["2"]["inputs"] |= {"width": 960, "height": 540, "value": 0.4}
    nodes["3"]["inputs"] |= {"refine": 24, "grow": 20, "smooth": 2}
    nodes["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}}
    *during, last = comfy.texts_of(nodes)
    assert any(re.fullmatch(r"\d+\.\d frames a second, \d+:\d\d left", text) for text in during)
    assert re.fullmatch(r"14 frames in \d+:\d\d", last)


def test_save_matte_grows_a_socket_for_each_mask(comfy: ComfyServer) -> None:
    further = {f"masks.mask_{number}": ["2", 0] for number in range(5, 8)}
    entry = comfy.run(graph(SaveMatte=further))
    assert entry["status"]["status_str"] == "success", entry["status"]
    folder = max((comfy.base / "output" / "grown").iterdir())
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["matte", "matte_2", "matte_3", "matte_4"]


def test_core_and_edge_that_nobody_asked_for_stop_the_node_behind_them(comfy: ComfyServer) -> None:
    nodes = graph()
    nodes["3"]["inputs"]["gamma"] = 1.5  # run by no test before: older hosts tell nothing of a node they remember
    nodes["4"]["inputs"] |= {"mask": ["3", 2], "filename_prefix": "stopped/shot"}
    entry = comfy.run(nodes)
    assert "3" in entry["outputs"] and "4" not in entry["outputs"]
    assert not (comfy.base / "output" / "stopped").exists()

"""What artists set on nodes beside the chain, inside each ComfyUI found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_comfyui import report_of


@pytest.fixture(scope="module")
def report(host: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/nodes/controls_in_host.py found in one ComfyUI."""
    return report_of("controls_in_host.py", host, tmp_path_factory.mktemp("controls"))


def test_core_and_edge_are_outputs_and_stop_what_follows_where_nobody_asked_for_them(report: dict[str, Any]) -> None:
    alpha = report["alpha"]
    assert alpha["outputs"][:4] == ["IMAGE", "MASK", "MASK", "MASK"]
    assert alpha["core"] and alpha["edge"]
    for told in alpha["blocked"]:
        assert told == "There are no core and edge: set edge_mattes of Mask to Alpha above 0."


def test_presets_ranges_and_lines_set_what_they_say(report: dict[str, Any]) -> None:
    alpha = report["alpha"]
    assert alpha["preset"] == [None, "soft", 2, 0.8, 0]  # less the widget that was moved
    assert alpha["ranged"] and alpha["still"]
    assert alpha["inverted"] and alpha["second"]


def test_newer_kinds_of_input_are_there_where_the_host_knows_them(report: dict[str, Any]) -> None:
    alpha = report["alpha"]
    assert (alpha["inputs"].get("levels") == "RANGE") == alpha["knows"]["Range"]
    assert ("LAYERS" in alpha["outputs"]) == alpha["knows"]["Layers"]
    if alpha["knows"]["Layers"]:
        # The host's masks are 1 where nothing is seen: half of the frame, of either layer.
        assert alpha["layers"] == [["matte", [5, 48, 64, 3], 0.5], ["matte_2", [5, 48, 64, 3], 0.5]]


def test_given_mattes_multiply_subtract_and_raise(report: dict[str, Any]) -> None:
    given = report["given"]
    assert given["all"]
    assert "There are 5 images and 3 masks at include; one for all, one for each" in given["wrong number"]
    assert "must have the same size" in given["wrong size"]
    assert "The mask at include is of a picture without one: paint it, or disconnect it." in given["unpainted"]
    assert "The mask at include is empty" in given["empty"]


def test_masks_are_exactly_zero_outside_of_hints(report: dict[str, Any]) -> None:
    hints = report["hints"]
    assert hints["layers"] == 2  # a line that begins with # is none
    assert hints["outside before"] > 0.0
    assert hints["outside"] == hints["outside close up"] == hints["held"] == 0.0
    assert hints["inside"]
    assert hints["boxes"] == {"one": True, "list": True, "frames": True}
    assert "x, y, width and height in pixels are expected" in hints["no box"]
    assert "The box 900,8,30,22 holds no pixel of a frame of 64x48" in hints["far box"]


def test_names_of_layers_arrive_with_their_masks(report: dict[str, Any]) -> None:
    names = report["names"]
    assert names["brought"] == ["smoke", "star"]
    assert names["written"] == ["a", "b"]
    assert names["twice"] == ["smoke", "smoke_2", "star", "star_2"]
    assert names["strange"] == ["matte", "matte_2", "matte_3", "matte_4"]
    assert len(names["many"]) == 9


def test_mistakes_of_widgets_are_told_before_anything_runs(report: dict[str, Any]) -> None:
    said = report["mistakes"]
    assert said["prompt"].startswith("The prompt is empty: name what to segment")
    assert "begins with what to leave out: first write what to segment" in said["without"]
    assert said["setting"].startswith("Layer 'car': The feather is 'much'")
    assert said["good"] is True
    assert said["linked"] == [True] * 5
    assert "leads out of ComfyUI's output folder" in said["prefix"]
    assert "A layer cannot have the name 'one two'" in said["names"]
    assert said["levels"] == ["The white level (0.2) must lie above the black level (0.8)."] * 2
    assert said["lines"].startswith("Layer 'car': There is no setting 'sharpen'")
    assert said["size"] == "The height is 100, and models see multiples of 16: give one, or 0."
    assert said["overlap"] == "Two windows of 9 frames cannot share 8: give an overlap of up to 4, or 0."
    assert "There is no shot 'absent.mov'" in said["path"]


def test_a_layer_is_written_without_syntax(report: dict[str, Any]) -> None:
    lines = report["lines"]
    assert lines["lines"] == [
        "smoke: the smoke | -the steam | -the fog | preset: smoke",
        "the car | grow: 2 | edge blur: 1",
        "# lamp: the lamp",
    ]
    assert lines["good"] is True and lines["linked"] is True
    assert "holds '|' or a new line" in lines["part"]
    assert "does not say what to segment" in lines["empty"]
    assert "There is no setting 'sharpen'" in lines["setting"]

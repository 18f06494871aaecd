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
    assert "and the mask at hold_out 20x20; they must have the same size" in given["wrong size"]
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
    assert "The box 900,8,30,22 holds no pixel of a frame of 64x48: give x, y, width and height" in hints["far box"]


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
    assert lines["empty"].startswith("The text is empty: write what to segment")
    assert lines["parted"] == "What to leave out, 'the car | x', holds '|': write one thing a line."
    for text in ("colon", "words"):
        assert "holds a colon, before which a line of prompts has the layer's name" in lines[text]
    assert lines["off"].startswith("The text '# smoke' begins with '#'")
    assert lines["minus"].endswith("write that at leave_out.")
    assert lines["time"] is True and lines["named"] is True
    assert "There is no setting 'sharpen'" in lines["setting"]


def test_a_shot_follows_the_mask_of_one_frame_and_all_else_keeps_every_bit(report: dict[str, Any]) -> None:
    found = report["corrections"]
    assert found["as they came"] and found["exact"] and found["layers"]
    assert found["J"] > 0.7  # of masks that were empty
    assert found["held out"] == 0.0
    assert found["nothing there"] < 0.2
    assert found["searched"] == 1  # the motion, in the first of all turns


def test_key_masks_are_kept_with_the_graph_and_taken_again_from_a_folder(report: dict[str, Any]) -> None:
    found = report["corrections"]
    assert found["folder"] and found["kept is key"] and found["kept once"] and found["kept again"]
    assert "key.1004.png" in found["kept"]


def test_frames_worth_fixing_come_with_their_pictures_and_masks(report: dict[str, Any]) -> None:
    found = report["corrections"]
    assert len({*found["to fix"]} - {4}) == 2 and all(1 <= frame <= 12 for frame in found["to fix"])
    assert found["pictures to fix"] and found["masks to fix"]


def test_a_frame_is_painted_on_its_present_mask_and_knows_its_number(report: dict[str, Any]) -> None:
    painted = report["corrections"]["painted"]
    assert painted["before"] == [0, 48, 64] and painted["shows"] < 0.003
    assert painted["key"] and painted["taken"]
    assert "is not of frame 7. It is of 4: set frame" in painted["other frame"]
    assert "has no mask: paint it in the mask editor" in painted["no mask"]
    assert "'damaged.png [input]' cannot be read: empty 'image'" in painted["damaged"]
    assert "is gone: empty 'image', run, and paint it anew." in painted["gone"]


def test_key_masks_that_are_of_no_frame_get_a_sentence(report: dict[str, Any]) -> None:
    mistakes = report["corrections"]["mistakes"]
    assert "the mask at key_1 " in mistakes["size"] and "must have the same size" in mistakes["size"]
    assert "is of frame 13, and the shot has frames 1 to 12" in mistakes["outside"]
    assert "Two masks are given for frame 2: disconnect one" in mistakes["twice"]
    assert "There are 2 masks at key_1, and one is expected: of one frame and one layer." in mistakes["all layers"]
    assert "The mask at key_1 is of a picture without one: paint it" in mistakes["unpainted"]
    assert "There is 1 key mask of which the frame is not known, and frames has 0 numbers" in mistakes["no number"]
    assert "'two' in frames is no number of a frame" in mistakes["no such number"]
    assert "Layer 2 is to be corrected. There is 1 layer" in mistakes["layer"]
    assert "leads out of ComfyUI's input and output folders" in mistakes["outer folder"]
    assert "There is no folder 'none' in ComfyUI's input or output folder" in mistakes["no folder"]
    assert mistakes["stopped"] == "True"

"""Prompt lines mean what their writer meant, or are refused with a sentence; layers share pixels by plain formulas."""

from __future__ import annotations

import pytest
import torch

from rem_engine.layers import Layer, combine, combined_layers, id_map, layer_label, parse_layers, texts_of
from rem_engine.names import folder_names

# ---- reading lines


def test_a_line_names_its_layer_what_it_shows_and_what_it_leaves_out() -> None:
    line = "  smoke :  the smoke |  -the steam from the kettle|-  the fog "
    assert parse_layers([line]) == (Layer("smoke", "the smoke", ("the steam from the kettle", "the fog")),)


def test_a_plain_line_is_named_as_its_folder_always_was() -> None:
    lines = ["the smoke", "The smoke!", "the red car | -its shadow"]
    layers = parse_layers(lines)
    assert [layer.name for layer in layers] == ["the_smoke", "the_smoke_2", "the_red_car"]
    assert tuple(layer.name for layer in layers[:2]) == folder_names(lines[:2])
    assert [layer.text for layer in layers] == ["the smoke", "The smoke!", "the red car"]


@pytest.mark.parametrize("text", ["a clock at 10:30", "10:30 on the clock", "the wall (left:right)", "a 16:9 screen"])
def test_a_colon_inside_of_a_text_stays_text(text: str) -> None:
    assert parse_layers([text])[0].text == text
    assert parse_layers([f"clock: {text}"]) == (Layer("clock", text),)


@pytest.mark.parametrize("name", ["smoke", "FG_smoke-2", "smoke.v01", "дым", "7", "_"])
def test_names_of_letters_digits_and_marks_are_kept_as_given(name: str) -> None:
    assert parse_layers([f"{name}: the smoke"])[0].name == name
    assert parse_layers([f"{name}:the smoke"])[0].text == "the smoke"


def test_a_made_name_gives_way_to_a_given_one_and_to_a_runs_own_files() -> None:
    names = [layer.name for layer in parse_layers(["the smoke", "The_Smoke: the fog", "ids", "EXR"])]
    assert names == ["the_smoke_2", "The_Smoke", "ids_2", "exr_2"]


def test_a_layer_may_have_a_colour_for_overlays() -> None:
    smoke, fire = parse_layers(["smoke: the smoke | colour: #FF8800 | feather: 2", "the fire"])
    assert (smoke.colour, smoke.settings, fire.colour) == ("#ff8800", (("feather", "2"),), "")
    (plain,) = parse_layers(["smoke: the smoke | feather: 2"])
    assert combined_layers([plain, smoke], "union")[0].colour == "#ff8800"


def test_blank_lines_are_skipped_and_counted() -> None:
    assert [layer.text for layer in parse_layers(["", "the smoke", "  ", "the fire"])] == ["the smoke", "the fire"]
    with pytest.raises(ValueError, match=r"^Prompt line 3 \('the red car: its shadow'\)"):
        parse_layers(["", "the smoke", "the red car: its shadow"])


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "The prompt is empty: name what to segment, for example 'the smoke'."),
        (["", "  "], "The prompt is empty"),
        (["the red car: its dust"], "has 'the red car' before its colon, which is no name: a name is one word of"),
        (["the red car:"], "'the red car' before its colon"),
        (["smoke!: the smoke"], "'smoke!' before its colon"),
        (["..: the smoke"], "'..' before its colon"),
        ([".smoke: the smoke"], "'.smoke' before its colon"),
        (["../up: the smoke"], "'../up' before its colon"),
        (["smoke:"], "does not say what to segment: write 'name: text', for example 'smoke: the smoke'"),
        (["smoke: | -the steam"], "does not say what to segment"),
        (["-the steam"], "begins with what to leave out: first write what to segment"),
        (["| -the steam"], "does not say what to segment"),
        (["the smoke | the fire"], "has 'the fire' after a '|', where each part begins with '-'"),
        (["the smoke |"], "has nothing after a '|'"),
        (["the smoke | -"], "has '-' after a '|'"),
        (["the smoke | colour: red"], "has the colour red: write one, as in 'colour: #ff8800'"),
        (["the smoke | colour: #ff8800 | colour: #ff8801"], "has the colour #ff8800, #ff8801: write one"),
        (["the smoke | -the smoke"], "leaves out what it asks for"),
        (["a: the smoke", "the fog", "A: the fire"], "Prompt line 3 ('A: the fire') has the name 'A' of line 1"),
        (["con: the smoke"], "has the name 'con', which other files of a run or of Windows have: take another"),
        (["RGBA: the smoke"], "has the name 'RGBA', which compositing programs have for channels of their own"),
        (["forward: the car"], "take another, for example matte_forward"),
        (["nul.v1: the smoke"], "has the name 'nul.v1'"),
        (["Run.json: the smoke"], "has the name 'Run.json'"),
        ([f"{'x' * 61}: the smoke"], "has a name of 61 characters: up to 60 are possible"),
        (["the \udcff smoke"], "holds a byte that is not UTF-8: write the prompt in UTF-8."),
        (["the \0 smoke"], "holds a zero byte"),
        (["the smoke"] * 256, "There are 256 prompts, and a run takes up to 255"),
    ],
)
def test_a_line_that_cannot_be_meant_gets_a_sentence(lines: list[str], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_layers(lines)
    said = str(caught.value)
    assert sentence in said and "\n" not in said and said.endswith(".")
    if lines and any(map(str.strip, lines)) and len(lines) < 256:
        assert said.startswith(f"Prompt line {len(lines)} (")


@pytest.mark.parametrize("text", ["depth", "Forward!", "rgba", "alpha"])
def test_a_name_that_is_made_of_a_text_is_no_compositors_own(text: str) -> None:
    (layer,) = parse_layers([text])
    assert layer.name == f"matte_{text.strip('!').lower()}" and layer_label(layer) == text
    first, second = parse_layers([text, layer.name])
    assert first.name != second.name


def test_each_text_is_listed_once_in_order_of_first_use() -> None:
    layers = parse_layers(["a: x | -y", "b: y", "c: x | -z | -z"])
    assert texts_of(layers) == ("x", "y", "z")
    assert layers[2].without == ("z",)


# ---- layers share the picture

A, B, C = 0.8, 0.25, 1.4  # a soft mask may reach beyond 1; what it takes away may not


def masks(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 2, 3, 4).clone()


def test_what_is_left_out_is_subtracted_softly() -> None:
    layers = parse_layers(["x | -y | -z", "y", "w | -v"])
    soft = masks(A, B, 0.5, C, -0.3)
    assert texts_of(layers) == ("x", "y", "z", "w", "v")
    combined = combine(soft, layers)
    torch.testing.assert_close(
        combined, masks(0.8 * 0.75 * 0.5, 0.25, 1.4)
    )  # -0.3 takes nothing away, and adds nothing
    torch.testing.assert_close(combine(masks(A, C), parse_layers(["x | -y"])), masks(0.0))


def test_layers_that_leave_nothing_out_stay_as_they_are() -> None:
    layers = parse_layers(["x", "y", "x"])
    soft = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(combine(soft, layers), soft[[0, 1, 0]])
    assert combined_layers(layers, "separate") == layers


def test_a_union_takes_the_largest() -> None:
    layers = parse_layers(["x | -z", "w: y"])
    soft = masks(0.8, 0.5, 0.6)  # x, z, y
    torch.testing.assert_close(combine(soft, layers, "union"), masks(0.6))
    assert combined_layers(layers, "union") == (Layer("union", "x + y"),)
    assert combined_layers(layers[:1], "union") == layers[:1]


def test_exclusive_layers_never_overlap_and_the_first_wins_a_tie() -> None:
    layers = parse_layers(["x", "y", "z"])
    soft = torch.tensor([[0.9, 0.4, 0.2, -0.1], [0.3, 0.4, 0.7, -0.2], [0.1, 0.1, 0.7, -0.3]]).view(3, 1, 4)
    expected = torch.tensor([[0.9, 0.4, 0.0, -0.1], [0.0, 0.0, 0.7, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(3, 1, 4)
    torch.testing.assert_close(combine(soft, layers, "exclusive"), expected, rtol=0, atol=0)
    torch.testing.assert_close(id_map(soft, 0.3), torch.tensor([[1, 1, 2, 0]], dtype=torch.uint8), rtol=0, atol=0)


def test_leaving_out_comes_before_layers_compete() -> None:
    layers = parse_layers(["x | -z", "y"])
    soft = masks(0.9, 0.8, 0.5)  # x, z, y: 0.9 * 0.2 loses to 0.5
    torch.testing.assert_close(combine(soft, layers, "exclusive"), masks(0.0, 0.5))


def test_an_id_map_names_exactly_the_layer_whose_pixel_survived() -> None:
    layers = parse_layers([f"thing {number}" for number in range(7)])
    soft = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    ids, exclusive = id_map(soft, 0.5), combine(soft, layers, "exclusive")
    assert ids.dtype == torch.uint8 and ids.shape == (3, 16, 16)
    for number in range(7):
        assert torch.equal(exclusive[number] > 0.5, ids == number + 1)
    assert torch.equal(id_map(exclusive, 0.5), ids)


def test_masks_that_do_not_fit_the_layers_are_refused() -> None:
    layers = parse_layers(["x | -y", "z"])
    with pytest.raises(
        ValueError, match=r"^The layers name 3 texts, but 2 soft masks were given: give one for each\.$"
    ):
        combine(masks(A, B), layers)
    with pytest.raises(ValueError, match="Layers cannot be combined by 'max': choose separate, union, exclusive"):
        combine(masks(A, B, C), layers, "max")

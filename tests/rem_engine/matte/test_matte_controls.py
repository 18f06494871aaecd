"""What artists set beside the chain: edge blur, core and edge, given mattes, presets, settings of single layers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rem_engine.commands.options import add_matte_options
from rem_engine.layers import Layer, check_layer_is_there, parse_layers, parse_settings
from rem_engine.matte import Frame, MatteSettings, chain, core_and_edge, edge_blur, layered, matte_frames, matte_layers
from rem_engine.matte.layer_settings import derived_layers, settings_of_layers
from rem_engine.matte.presets import PRESETS, preset_values
from rem_engine.matte.settings import NEUTRAL
from rem_engine.setting import settings_of

HEIGHT, WIDTH = 60, 96
MIDDLE = 48


def half(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """A plane that is solid on the left half of the frame, [1,H,W]."""
    return (torch.arange(width) < width // 2).float().expand(1, height, width).clone()


def frame(soft: Tensor, index: int = 0, **parts: object) -> Frame:
    plate = torch.linspace(0.0, 1.0, soft.shape[-1])[None, :, None].expand(*soft.shape[-2:], 3)
    return Frame(index, soft, plate, **parts)


def alpha(soft: Tensor, settings: MatteSettings, **parts: object) -> Frame:
    return next(matte_frames([frame(soft, **parts)], settings))


# ---- edge blur


def test_the_edge_is_blurred_to_the_width_and_nothing_beyond() -> None:
    width = 4.0 * 1920 / WIDTH  # four pixels of this plate
    blurred = edge_blur(half(), width)[0, HEIGHT // 2]
    places = torch.arange(WIDTH) + 0.5 - MIDDLE
    sigma = 2.0
    within = places.abs() < 5
    exact = 0.5 * torch.erfc(places / (sigma * 2**0.5))
    assert torch.allclose(blurred[within], exact[within], atol=0.004)
    assert torch.equal(blurred[places < -6], torch.ones(MIDDLE - 6))
    assert torch.equal(blurred[places > 6], torch.zeros(MIDDLE - 6))


def test_a_blur_looks_alike_on_plates_of_every_size() -> None:
    small, large = edge_blur(half(), 96.0), edge_blur(half(4 * HEIGHT, 4 * WIDTH), 96.0)
    reduced = torch.nn.functional.avg_pool2d(large[None], 4)[0]
    assert (small - reduced).abs().max() < 0.02
    upright = edge_blur(half().mT.contiguous(), 96.0)
    assert torch.allclose(upright, small.mT, atol=1e-6)  # the longer side counts, whichever it is


def test_the_texture_of_smoke_stays_where_its_edge_is_blurred() -> None:
    generator = torch.Generator().manual_seed(0)
    smoke = half() * (0.5 + 0.05 * torch.rand(1, HEIGHT, WIDTH, generator=generator))
    blurred = edge_blur(smoke, 60.0)
    body = (slice(None), slice(10, 50), slice(10, 30))
    assert (blurred - smoke)[body].abs().max() < 0.01
    assert blurred[body].std() > 0.9 * smoke[body].std()
    assert 0.1 < blurred[0, 30, MIDDLE] < 0.4  # where there was nothing, and a hard edge beside it


# ---- core and edge


def test_core_and_edge_lie_as_far_from_the_edge_as_was_asked() -> None:
    core, edge = core_and_edge(half(), 5.0 * 1920 / WIDTH)
    x = torch.arange(WIDTH)
    assert torch.equal(core, (x < MIDDLE - 5).float().expand(HEIGHT, WIDTH))
    assert torch.equal(edge, ((x >= MIDDLE - 5) & (x < MIDDLE + 5)).float().expand(HEIGHT, WIDTH))


def test_core_and_edge_are_of_the_finished_matte_of_every_layer() -> None:
    soft = torch.cat([half(), 1.0 - half()])
    result = alpha(soft, replace(NEUTRAL, edge_mattes=20.0, grow=3))
    assert result.derived.shape == (4, HEIGHT, WIDTH)
    assert torch.equal(result.derived, core_and_edge(result.alpha, 20.0))
    assert result.derived[0, 0].sum() == MIDDLE + 3 - 1  # a pixel within the edge that growing moved by three
    assert torch.equal(result.derived[2:].flip(-1), result.derived[:2])


def test_edge_mattes_have_names_of_their_own() -> None:
    settings = [replace(NEUTRAL, edge_mattes=2.0), NEUTRAL]
    assert derived_layers(["car", "smoke"], settings) == ("car_core", "car_edge")
    with pytest.raises(ValueError, match="called 'car_edge', as an edge matte of another"):
        derived_layers(["car", "car_edge"], settings)
    with pytest.raises(ValueError, match="too long a name for edge mattes: give it one of up to 55 characters"):
        derived_layers(["c" * 56, "smoke"], settings)


# ---- given mattes


def test_given_mattes_multiply_subtract_and_raise() -> None:
    soft = torch.full((2, 1, 4), 0.8)
    given = {
        "include": torch.tensor([[[1.0, 0.5, 0.0, 1.0]]]),
        "hold_out": torch.tensor([[[0.0, 0.5, 0.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]]]),
        "add": torch.tensor([[[0.0, 0.1, 0.9, 0.3]]]),
    }
    expected = torch.tensor([[[0.8, 0.2, 0.9, 0.3]], [[0.8, 0.4, 0.9, 0.8]]])
    assert torch.allclose(alpha(soft, NEUTRAL, given=given).alpha, expected)


def test_nothing_is_left_outside_whatever_the_chain_makes_of_the_edge() -> None:
    given = {"include": half(), "hold_out": torch.zeros(1, HEIGHT, WIDTH)}
    given["hold_out"][:, :10] = 1.0
    settings = MatteSettings(grow=6, feather=9.0, edge_blur=100.0, invert=True, edge_mattes=0.0)
    result = alpha(torch.zeros(1, HEIGHT, WIDTH), settings, given=given).alpha
    assert result.max() == 1.0
    assert not result[..., MIDDLE:].any()
    assert not result[:, :10].any()


# ---- neutral is not computed


@pytest.mark.parametrize("name", ["edge_blur", "core_and_edge", "with_given", "decontaminate", "refine", "threshold"])
def test_what_is_neutral_is_never_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object) -> None:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(chain, name, called)
    assert torch.equal(alpha(half(), NEUTRAL).alpha, half())


def test_layers_of_equal_settings_go_through_the_stage_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = []

    def counted(frames: object, settings: MatteSettings, **options: object) -> Iterator[Frame]:
        stages.append(settings)
        return matte_frames(frames, settings, **options)

    monkeypatch.setattr(layered, "matte_frames", counted)
    blurred = replace(NEUTRAL, edge_blur=8.0)
    list(matte_layers([frame(torch.cat([half()] * 3))], [NEUTRAL] * 3))
    assert stages == [NEUTRAL]
    list(matte_layers([frame(torch.cat([half()] * 3))], [NEUTRAL, blurred, NEUTRAL]))
    assert stages[1:] == [NEUTRAL, blurred]


# ---- layers of their own settings


def test_layers_of_different_settings_are_as_if_each_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # The estimate itself is another test's, and compiled first.
    monkeypatch.setattr(chain, "decontaminate", lambda plate, mask: mask[..., None] * plate)
    generator = torch.Generator().manual_seed(1)
    frames = [frame(torch.rand(3, HEIGHT, WIDTH, generator=generator), index) for index in range(5)]
    frames = [replace(one, given={"hold_out": torch.rand(3, HEIGHT, WIDTH, generator=generator)}) for one in frames]
    settings = [
        replace(NEUTRAL, feather=3.0, edge_mattes=20.0),
        replace(NEUTRAL, smooth=1, decontaminate=True),
        replace(NEUTRAL, edge_mattes=40.0, invert=True),
    ]
    together = list(matte_layers(frames, settings))
    assert [one.index for one in together] == list(range(5))
    for layer, own in enumerate(settings):
        row = slice(layer, layer + 1)
        single = [replace(one, soft=one.soft[row], given={"hold_out": one.given["hold_out"][row]}) for one in frames]
        for whole, alone in zip(together, matte_frames(single, own), strict=True):
            assert torch.equal(whole.alpha[row], alone.alpha)
            colour = alone.plate[None] if alone.foreground is None else alone.foreground
            assert torch.equal(whole.foreground[row], colour)
            if own.edge_mattes:
                place = 0 if layer == 0 else 2
                assert torch.equal(whole.derived[place : place + 2], alone.derived)


def test_a_line_sets_what_is_its_layers_own() -> None:
    layers = parse_layers([
        "car: the red car | preset: solid | -the driver | edge blur: 1.5 | decontaminate: on",
        "the smoke | threshold: off | refine: 0",
        "# the fog",
        "the rain",
    ])  # fmt: skip
    assert [layer.name for layer in layers] == ["car", "the_smoke", "the_rain"]
    assert layers[0].without == ("the driver",)
    common = MatteSettings(threshold=0.4, black=0.1)
    car, smoke, rain = settings_of_layers(common, layers)
    assert car == replace(common, **PRESETS["solid"], edge_blur=1.5, decontaminate=True)
    assert smoke == replace(common, threshold=None, refine=0)
    assert rain == common


def test_what_a_layer_sets_itself_stands_above_its_preset() -> None:
    for line in ("the smoke | preset: smoke | white: 0.8", "the smoke | white: 0.8 | preset: smoke"):
        (settings,) = settings_of_layers(MatteSettings(), parse_layers([line]))
        assert settings.white == 0.8
        assert settings.smooth == PRESETS["smoke"]["smooth"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("car: the car | sharpen: 2", "Layer 'car': There is no setting 'sharpen': choose preset, black, white"),
        ("car: the car | sharpen_it: 2", "There is no setting 'sharpen it': .* fill holes, .* edge blur, edge mattes"),
        ("car: the car | threshold: 0.5 | matte-threshold: 0.4", "Layer 'car': 'threshold' is set twice"),
        ("car: the car | feather: much", "Layer 'car': The feather is 'much', and a number, 0 to 1024 pixels, is"),
        ("car: the car | grow: 5000", "Layer 'car': A growth of 5000 pixels is not possible"),
        ("car: the car | invert: perhaps", "Layer 'car': The invert is 'perhaps', and on or off is expected"),
        ("car: the car | grow: 1 | Grow: 2", "Layer 'car': 'grow' is set twice: leave one of them out."),
        ("car: the car | preset: hair | preset: smoke", "Layer 'car': 'preset' is set twice"),
        ("car: the car | edge blur: 1 | edge-blur: 1", "Layer 'car': 'edge blur' is set twice"),
        ("car: the car | preset: mud", "Layer 'car': There is no preset 'mud': choose solid, hair, smoke, fire, water"),
        ("car: the car | black: 1.0", "Layer 'car': The white level"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_told_with_its_layer(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        settings_of_layers(MatteSettings(), parse_layers([line]))


def test_every_setting_of_a_layer_is_called_as_its_option_is() -> None:
    """Of `segment`, whose --threshold is another's; with spaces, hyphens and underscores alike."""
    parser = argparse.ArgumentParser()
    add_matte_options(parser)
    values = {"edges": "soft", "decontaminate": "on", "invert": "on", "refine": "7", "white": "0.9"}
    for action in parser._actions:
        option = action.option_strings[0].removeprefix("--")
        if option in ("-h", "preset"):
            continue
        name = action.dest.removeprefix("matte_")
        text = values.get(name, "0.5" if action.type is float else "2")
        for written in (option, option.replace("-", " "), option.replace("-", "_")):
            (settings,) = settings_of_layers(MatteSettings(), parse_layers([f"star: the star | {written}: {text}"]))
            changed = [own for own, value in vars(settings).items() if value != getattr(MatteSettings(), own)]
            assert changed == [name], written


def test_what_a_layer_that_is_there_cannot_set_is_told() -> None:
    with pytest.raises(ValueError, match="Layer 'a': A colour is one in overlays, and belongs to a prompt line"):
        settings_of_layers(MatteSettings(), [Layer("a", "", settings=parse_settings("a | colour: red")[1])])
    with pytest.raises(ValueError, match="There is no layer 'q' to set something for: the layer is s."):
        check_layer_is_there("q", ["s"])
    with pytest.raises(ValueError, match="'decontaminate' has no value, and a switch .*: 'decontaminate: on'"):
        parse_settings("a | decontaminate")
    with pytest.raises(ValueError, match="or sets something, as 'feather: 2' and 'decontaminate: on' do"):
        parse_layers(["star: the star | decontaminate"])


def test_settings_without_a_text_are_those_of_a_layer_that_is_there() -> None:
    assert parse_settings("smoke | preset: smoke | Edge Blur: 2") == (
        "smoke",
        (("preset", "smoke"), ("edge_blur", "2")),
    )
    for line in ("smoke", "| feather: 2", "smoke | -the steam", "smoke | feather"):
        with pytest.raises(ValueError, match="write its name and what is set"):
            parse_settings(line)


def test_the_page_says_what_each_preset_sets() -> None:
    page = (Path(__file__).parents[3] / "docs" / "mattes.md").read_text("utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page.split("| preset | sets |")[1].split("\n\n")[0], re.M))
    for name, values in PRESETS.items():
        read = {}
        for part in told.pop(name).replace("`", "").split(", "):
            setting, _, text = part.partition(": ")
            read[setting] = settings_of(MatteSettings)[setting].of_text(text or "on")
        assert read == values, name
    assert not told


@pytest.mark.parametrize("name", [*PRESETS])
def test_every_preset_is_settings_that_the_stage_takes(name: str) -> None:
    assert MatteSettings(**preset_values(name)) != MatteSettings()

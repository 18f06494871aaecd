"""Settings: what stands at a field is what is checked, and what command line, nodes and help pages are made from."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import pytest

from docs import make_node_help
from rem_engine.commands import options
from rem_engine.commands.cli import build_parser
from rem_engine.commands.options import add_option
from rem_engine.matte import MatteSettings
from rem_engine.run.delivery_settings import DeliverySettings
from rem_engine.segment.settings import MaskSettings, SegmentSettings
from rem_engine.setting import About, check_values, setting, settings_of
from rem_engine.shapes import ShapeSettings


@dataclass(frozen=True)
class BlurSettings:
    radius: int = setting(3, About("Blurs over that much.", unit="pixels", minimum=0, soft=(0, 64)))
    sigma: float | None = setting(
        None, About("By 100%.", minimum=0.0, maximum=5.0, exclusive=True, soft=(0.1, 4.0), none="half the radius")
    )
    shape: Literal["disk", "square"] = setting("disk", About("Of the kernel."))
    sides: tuple[str, ...] = setting(("left",), About("Where.", noun="side", choices=("left", "right")))
    twice: bool = setting(False, About("EXR too.", rare=True))
    seen: int = 0

    def __post_init__(self) -> None:
        check_values(BlurSettings, **vars(self))


def test_a_fields_type_and_default_say_what_it_is() -> None:
    settings = settings_of(BlurSettings)
    assert {name: one.kind for name, one in settings.items()} == {
        "radius": int, "sigma": float, "shape": str, "sides": object, "twice": bool,
    }  # fmt: skip
    assert settings["shape"].choices == ("disk", "square")
    assert [one.default for one in settings.values()] == [3, None, "disk", ("left",), False]
    assert BlurSettings(twice=True) == BlurSettings(3, None, "disk", ("left",), True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"radius": -1}, "A radius of -1 pixels is not possible; give 0 pixels or more."),
        ({"sigma": 0.0}, "A sigma of 0 is not possible; give more than 0 and less than 5."),
        ({"sigma": 5.0}, "A sigma of 5 is not possible; give more than 0 and less than 5."),
        ({"sigma": float("nan")}, "The sigma is nan; a finite number is expected."),
        ({"shape": "star"}, "The shape is one of disk, square, not 'star'."),
        ({"sides": ("left", "top")}, "The side is one of left, right, not 'top'."),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:
        BlurSettings(**values)
    assert str(refusal.value) == sentence


def test_values_beyond_a_sliders_ends_are_right() -> None:
    BlurSettings(radius=1000, sigma=0.01, shape="square", sides=(), twice=True)


def test_in_a_widget_0_stands_for_none() -> None:
    settings = settings_of(BlurSettings)
    radius, sigma = settings["radius"], settings["sigma"]
    assert (sigma.widget_default, sigma.widget_bounds, sigma.widget_range) == (0.0, (0.0, 4.0), "0 to 4")
    assert sigma.widget_help == "By 100%. 0: half the radius."
    assert (sigma.of_widget(0.0), sigma.of_widget(0.5)) == (None, 0.5)
    assert (radius.widget_default, radius.widget_bounds, radius.widget_range) == (3, (0, 64), "0 to 64 pixels")
    assert (radius.widget_help, radius.of_widget(0)) == ("Blurs over that much.", 0)


def test_another_value_may_stand_for_none_where_0_is_one() -> None:
    start = settings_of(DeliverySettings)["start"]
    assert (start.default, start.widget_default, start.widget_bounds) == (None, 1001, (0, 999_999_999))
    assert (start.of_widget(1001), start.of_widget(0), start.of_widget(1002)) == (None, 0, 1002)
    assert start.widget_help.endswith(" 1001: a sequence's own numbers; all else counts from 1001.")


def test_an_option_is_made_of_what_stands_at_the_field(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser("blur")
    for name, one in settings_of(BlurSettings).items():
        add_option(parser, one, **({"type": lambda text: tuple(text.split(","))} if name == "sides" else {}))
    assert vars(parser.parse_args([])) == {
        name: value for name, value in vars(BlurSettings()).items() if name != "seen"
    }
    given = parser.parse_args(["--radius", "7", "--sigma", "2", "--shape", "square", "--sides", "right", "--twice"])
    assert BlurSettings(**vars(given)) == BlurSettings(7, 2.0, "square", ("right",), True)
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for line in (
        "--radius PX blurs over that much (3)",
        "--sigma X by 100% (half the radius)",
        "--shape {disk,square} of the kernel (disk)",
        "--twice EXR too",
    ):
        assert line in shown


def test_a_new_matte_setting_reaches_command_line_and_help_page_from_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Longer(MatteSettings):
        sharpen: int = setting(2, About("Steepens the edge.", unit="pixels", minimum=0, soft=(0, 9)))

    monkeypatch.setattr(options, "MatteSettings", Longer)
    monkeypatch.setitem(make_node_help.OWNERS, "matte", Longer)
    parser = argparse.ArgumentParser()
    options.add_matte_options(parser)
    assert options.matte_settings(parser.parse_args(["--sharpen", "5"])) == Longer(sharpen=5)
    page = make_node_help.with_tables("<!-- settings: matte -->\n<!-- end -->\n")
    assert page.endswith("| sharpen | 2 | 0 to 9 pixels | Steepens the edge. |\n<!-- end -->\n")


@pytest.mark.parametrize(
    "name",
    ["size", "window", "overlap", "fill_holes", "remove_islands", "grow", "feather", "refine", "smooth", "start"],
)
def test_what_makes_work_grow_ends_alike_for_options_and_widgets(name: str) -> None:
    (owner,) = (one for one in (MatteSettings, DeliverySettings, SegmentSettings) if name in settings_of(one))
    one = settings_of(owner)[name]
    number = int if one.kind is object else one.kind
    assert one.maximum is not None and replace(one, kind=number).widget_bounds[1] == one.maximum
    most, beyond = number(one.maximum), number(one.maximum + 1)
    owner(**{name: (most, most) if one.kind is object else most})
    with pytest.raises(ValueError, match=f"{one.noun} of .* is not possible"):
        owner(**{name: (most, beyond) if one.kind is object else beyond})


@pytest.mark.parametrize("owner", [MatteSettings, DeliverySettings, ShapeSettings, SegmentSettings, MaskSettings])
def test_every_field_is_a_setting_explained_in_whole_sentences(owner: type) -> None:
    settings = settings_of(owner)
    own = [
        field for field in fields(owner) if not is_dataclass(field.default_factory)
    ]  # others are settings themselves
    assert list(settings) == [field.name for field in own]
    for one in settings.values():
        assert one.help.endswith("."), one.name
        assert bool(one.none) == (one.default is None), one.name
        if one.kind in (int, float):
            least, largest = one.widget_bounds
            assert least <= one.widget_default <= largest, one.name


@pytest.mark.parametrize("name", ["close_up", "combine", "threshold"])
def test_how_masks_are_made_is_said_by_segments_help_as_by_the_nodes_pages(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        build_parser().parse_args(["segment", "--help"])
    sentence = settings_of(MaskSettings)[name].help.removesuffix(".")
    assert sentence[0].lower() + sentence[1:] in capsys.readouterr().out
    assert sentence in (make_node_help.PAGES / "SegmentVideo.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"combine": "max"}, "The way to combine layers is one of separate, union, exclusive, not 'max'."),
        ({"threshold": 50.0}, "A threshold of 50 is not possible; give 0 to 1."),
    ],
)
def test_masks_that_cannot_be_made_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as refusal:
        MaskSettings(**values)
    assert str(refusal.value) == sentence


def test_settings_are_there_without_waiting_for_torch() -> None:
    """A command line asks for their defaults before it knows whether anything is to be computed."""
    program = (
        "import sys; from rem_engine.commands.cli import build_parser; build_parser(); "
        "print(sorted({'torch', 'cv2', 'numpy', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@dataclass(frozen=True)
class OddSettings:
    linear: bool = setting(True, About("Holds light."))
    most: int = setting(2_000_000, About("At most so many.", unit="pixels", maximum=3_000_000))


def test_a_switch_that_is_on_is_given_to_turn_it_off(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    for one in settings_of(OddSettings).values():
        add_option(parser, one)
    assert parser.parse_args([]).linear is True
    assert parser.parse_args(["--no-linear"]).linear is False
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    assert "(2000000)" in capsys.readouterr().out


def test_a_range_may_have_an_upper_end_alone() -> None:
    with pytest.raises(ValueError, match="^A most of 4000000 pixels is not possible; give at most 3000000 pixels.$"):
        check_values(OddSettings, most=4_000_000)


def test_a_choice_that_may_be_none_is_refused_where_it_is_declared() -> None:
    @dataclass(frozen=True)
    class Choice:
        shape: Literal["disk"] | None = setting(None, About("Of the kernel."))

    with pytest.raises(TypeError, match="shape is a choice that may be None"):
        settings_of(Choice)

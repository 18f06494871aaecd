"""Prompts as the list of layers takes them apart and puts them together, in a real browser, against the engine."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from browser import browser_path, chromium_page

from rem_engine.layers import Layer, parse_layers

ROOT = Path(__file__).parents[1]
TEXTS = (
    "the smoke",
    "smoke: the smoke | -the steam from the kettle | -the clouds\nfire: the fire\n\n  the red car  ",
    "smoke:the smoke|-the steam|preset: Smoke|edge blur: 2|colour: #FF8800",
    "a clock at 10:30 | -the hand",
    "rauch_2.a: der Rauch über dem Dach\n火: 火焰",
    "star: the red star | feather: 2 | grow: -1 | colour: #00ff00",
)
PARSE = """async ([source, texts]) => {
    const { layersOf, textOf } = await import(`data:text/javascript;base64,${source}`)
    return texts.map((text) => [layersOf(text), textOf(layersOf(text)), textOf(layersOf(textOf(layersOf(text))))])
}"""


def parsed(texts: tuple[str, ...]) -> list[tuple[list[dict[str, Any]], str, str]]:
    """Of each text its layers, what these are written as, and that once more."""
    source = base64.b64encode((ROOT / "web" / "layer_lines.js").read_bytes()).decode()
    with chromium_page(browser_path()) as page:
        page.goto("about:blank")
        return page.evaluate(PARSE, [source, list(texts)])


@pytest.mark.slow
def test_a_list_of_layers_says_what_the_engine_reads_and_writes_what_it_reads_the_same() -> None:
    left_out = "# fire: the fire | -the sparks\nsmoke: the smoke"
    odd = "the smoke |  | -\nb b: the car"
    found = parsed((*TEXTS, left_out, odd))
    for text, (layers, written, again) in zip(TEXTS, found):
        expected = parse_layers(text.splitlines())
        assert _unordered(parse_layers(written.splitlines())) == _unordered(expected) and again == written
        assert [layer["text"] for layer in layers] == [layer.text for layer in expected]
        assert [tuple(layer["without"]) for layer in layers] == [layer.without for layer in expected]
        assert [layer["colour"].lower() for layer in layers] == [layer.colour for layer in expected]
        for layer, known in zip(layers, expected):
            assert layer["name"] in ("", known.name) and layer["shown"]
            assert layer["preset"] == dict(known.settings).get("preset", "").lower()
    (fire, smoke), written, _ = found[-2]
    assert (fire["shown"], fire["name"], fire["without"], smoke["shown"]) == (False, "fire", ["the sparks"], True)
    assert written == left_out
    _, written, _ = found[-1]
    assert written == odd  # what cannot be read stays, for the sentence that says so


def _unordered(layers: tuple[Layer, ...]) -> list[tuple[object, ...]]:
    return [
        (one.name, one.text, one.without, {name: value.lower() for name, value in one.settings}, one.colour)
        for one in layers
    ]

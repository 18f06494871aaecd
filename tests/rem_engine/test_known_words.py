"""A model of few words says which words of a prompt it has never seen, before it works in vain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from red_model import RedBackbone

import rem_engine.segment.load
from rem_engine.commands.cli import main
from rem_engine.known_words import unknown_words, words_of
from rem_engine.layers import parse_layers

KNOWN = frozenset({"the", "red", "star", "smoke", "on", "left"})


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        (["the red star", "The red star!"], []),
        (["the person"], ["'person'"]),
        (["the star on the car's roof"], ["'car's' and 'roof'"]),
        (["fog: the smoke | -the steam", "the star"], ["'steam'"]),
        (["die Übung 7", "a star"], ["'die', 'übung' and '7'", "'a'"]),
    ],
)
def test_words_that_were_never_seen_are_named(prompts: list[str], told: list[str]) -> None:
    sentences = [warning["sentence"] for warning in unknown_words(parse_layers(prompts), "Mini", KNOWN)]
    assert [sentence.partition(":")[0] for sentence in sentences] == [f"Mini does not know {words}" for words in told]


def test_a_model_of_open_language_knows_every_word() -> None:
    assert unknown_words(parse_layers(["a zebra"]), "REM", frozenset()) == []


def test_punctuation_and_case_are_no_words() -> None:
    assert words_of("The red star, (the RED one): white-hot!") == ["the", "red", "star", "one", "white", "hot"]


class OfFewWords(RedBackbone):
    known_words = KNOWN


def test_the_command_line_says_it_once_and_run_json_keeps_it(
    tmp_path: Path, shot: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rem_engine.segment.load, "load_backbone", lambda *args, **kwargs: OfFewWords())
    assert main(["segment", str(shot), "-p", "the red star", "-p", "the person", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert said.count("does not know 'person'") == 1
    warnings = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))["warnings"]
    assert [(warning["layer"], warning["what"]) for warning in warnings if warning["what"] == "words"] == [
        ("the_person", "words")
    ]


def test_words_with_capitals_are_told_of_which_the_model_knows_the_small_ones() -> None:
    """Its tokens are those of small letters; a sentence may begin with a determiner's capital, as in its training."""
    known = {"the", "orange", "circle"}
    (told,) = unknown_words(parse_layers(["a: Orange Circle"]), "REM-mini", known)
    assert told["sentence"] == "REM-mini was trained with small letters: write 'orange' and 'circle'. Layer: a."
    assert unknown_words(parse_layers(["a: The orange circle"]), "REM-mini", known) == []

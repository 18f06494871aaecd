"""What REM-mini's card and its page say of the weights is true of those that are shipped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from docs.make_mini_card import DATA, PAGES, weights_hash, with_parts
from rem_engine.backbones.load import MINI_FOLDER

TELLS_A_FILE = re.compile(r"\| (?P<count>[\d.]+) M \| `(?P<file>[\w/.]+)` \| (?P<size>[\d.]+) MiB \|")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_made_of_the_weights_is_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert with_parts(text) == text, "run python -m docs.make_mini_card"


def test_parameters_and_sizes_of_files_are_those_that_lie_there() -> None:
    told = {found["file"]: found for found in TELLS_A_FILE.finditer(PAGES[0].read_text("utf-8"))}
    there = {file.relative_to(MINI_FOLDER).as_posix(): file for file in MINI_FOLDER.rglob("*.safetensors")}
    assert told.keys() == there.keys()
    for name, file in there.items():
        assert float(told[name]["count"]) == round(sum(each.size for each in load_file(file).values()) / 1e6, 1)
        assert float(told[name]["size"]) == round(file.stat().st_size / 2**20, 1)


def test_it_says_the_size_that_it_works_at() -> None:
    settings = json.loads((MINI_FOLDER / "rem.json").read_text())
    height, width = settings["size"]
    assert f"{height}x{width} pixels, in windows of {settings['window']} frames" in PAGES[0].read_text("utf-8")


def test_its_figures_are_those_of_the_weights_that_are_shipped() -> None:
    """And of whole samples: sixty shots a split, each with something that is not there."""
    figures = json.loads(DATA.read_text("utf-8"))
    assert figures["weights"] == weights_hash(MINI_FOLDER), "run python -m benchmarks.mini --write"
    assert len(figures["splits"]) == 4
    assert all(split["shots"] == split["absent"] == 60 for split in figures["splits"].values())

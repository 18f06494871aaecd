"""Help pages of the nodes say what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.make_node_help import PAGES, with_tables
from rem_engine.matte import MatteSettings
from rem_engine.setting import settings_of


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_help_page_is_up_to_date_with_the_settings(page: Path) -> None:
    text = page.read_text("utf-8")
    assert with_tables(text) == text, "run make docs"


def test_tables_are_made_where_a_page_asks_for_them() -> None:
    page = "# Page\n\n<!-- settings: matte at neutral feather invert threshold -->\nold\n<!-- end -->\n\nText.\n"
    assert with_tables(page).splitlines()[2:] == [
        "<!-- settings: matte at neutral feather invert threshold -->",
        "| widget | at first | range | what it does |",
        "|---|---|---|---|",
        "| feather | 0 | 0 to 1024 pixels | Softens the edge over about that many pixels to either side. |",
        "| invert | off | on, off | Keeps the rest of the picture instead. |",
        "| threshold | 0 | 0 to 0.99 | Puts an edge at this value, for solid things; without it the mask keeps its own "
        "softness, as smoke, fire and hair want it. 0: off. |",
        "<!-- end -->",
        "",
        "Text.",
    ]
    with pytest.raises(KeyError, match="sharpen"):
        with_tables(page.replace("feather", "sharpen"))


@pytest.mark.parametrize("node", ["MaskToAlpha", "SegmentShot"])
def test_nodes_with_the_matte_stage_explain_every_setting_of_it(node: str) -> None:
    page = (PAGES / f"{node}.md").read_text("utf-8")
    for name in settings_of(MatteSettings):
        assert f"\n| {name} |" in page

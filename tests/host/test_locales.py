"""What the page shows in other languages: every node, input and output has its words, and help pages are there."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from comfy_hosts import PACK
from comfy_server import ComfyServer
from test_served import NODES, PACK_NAME

LANGUAGES = ("en", "zh", "ja", "ko", "de", "fr", "es")
HELP_LANGUAGES = ("zh", "ja")
"""Those that have help pages and tooltips."""
NEWER_INPUTS = {"levels", "box"}  # of kinds that older hosts do not know
PIPE = "{'|'}"  # as vue-i18n writes a bar that parts nothing


@pytest.fixture(scope="module")
def definitions(comfy: ComfyServer) -> dict[str, Any]:
    return {node: comfy.get(f"/object_info/{node}")[node] for node in NODES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_words_for_every_node_input_and_output(
    comfy: ComfyServer, definitions: dict[str, Any], language: str
) -> None:
    served = comfy.get("/i18n")[language]
    assert served["nodeCategories"]["ReferEverything"]
    words = {node: served["nodeDefs"][node] for node in NODES}
    for node, definition in definitions.items():
        given = definition["input"]
        names = [*given["required"], *given.get("optional", {})]
        outputs = {str(place) for place in range(len(definition["output"]))}
        assert {*words[node]["inputs"]} - NEWER_INPUTS == {*names} - NEWER_INPUTS, node
        assert {*names} <= {*words[node]["inputs"]}, node
        assert outputs <= {*words[node]["outputs"]}, node
        assert len(words[node]["outputs"]) <= len(outputs) + 1, node  # LAYERS, which older hosts lack
        texts = [words[node]["display_name"], words[node]["description"]]
        texts += [entry["name"] for part in ("inputs", "outputs") for entry in words[node][part].values()]
        assert all(texts), node
        assert not any(bar in text.replace(PIPE, "") for text in texts for bar in "|@{}"), node  # vue-i18n reads them
        if language == "en":
            assert words[node]["display_name"] == definition["display_name"]
            assert words[node]["description"].replace(PIPE, "|") == definition["description"]
        else:
            assert words[node]["description"] != definition["description"]


@pytest.mark.parametrize("language", HELP_LANGUAGES)
def test_a_language_has_tooltips_with_the_numbers_of_the_english_ones(
    comfy: ComfyServer, definitions: dict[str, Any], language: str
) -> None:
    """A tooltip whose English one has changed its facts is found by what needs no translation."""
    words, checked = comfy.get("/i18n")[language]["nodeDefs"], 0
    for node, definition in definitions.items():
        given = definition["input"]["required"] | definition["input"].get("optional", {})
        english = {("inputs", name): spec[1].get("tooltip") for name, spec in given.items()}
        english |= {("outputs", str(place)): text for place, text in enumerate(definition["output_tooltips"])}
        for (part, name), text in english.items():
            if not text:
                continue
            own = words[node][part][name]["tooltip"]
            assert not own.isascii() and not any(bar in own.replace(PIPE, "") for bar in "|@{}"), (node, name)
            assert {*re.findall(r"\d+", text)} <= {*re.findall(r"\d+", own)}, (node, name)
            checked += 1
    assert checked > 140


def test_languages_have_folders_and_no_others() -> None:
    assert sorted(folder.name for folder in (PACK / "locales").iterdir()) == sorted(LANGUAGES)
    for language in LANGUAGES:
        for file in ("main.json", "nodeDefs.json"):
            assert json.loads((PACK / "locales" / language / file).read_text("utf-8"))


@pytest.mark.parametrize("language", HELP_LANGUAGES)
def test_every_node_has_a_help_page_in_a_language(comfy: ComfyServer, language: str) -> None:
    for node in NODES:
        page = comfy.get_bytes(f"/extensions/{quote(PACK_NAME)}/docs/{node}/{language}.md").decode()
        assert page.startswith("# ") and not page.isascii()

"""What the documents name is there: links, files, commands with their options, make targets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import rem_engine.commands.cli
import trainer.commands.cli
from docs.images.diagrams import PICTURES

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not {"build", "node_modules"} & set(page.relative_to(ROOT).parts)
    and not any(part.startswith(".") and part != ".github" for part in page.relative_to(ROOT).parts)
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# Paths from the checkout's top, in which `*` stands for anything; with `<name>` or `{a,b}` in them they are not read.
MADE = ("build", "demo")  # by make, and not in the repository
TOPS = sorted(
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and path.name not in MADE and not path.name.startswith((".", "_"))
)
PATH = re.compile(rf"(?<![\w/.<{{-])(?:{'|'.join(TOPS)}|\.github)/[\w*./-]*(?![\w*./<{{-])")
MODULE = re.compile(rf"-m ((?:{'|'.join(TOPS)})[\w.]*)")
COMMAND = re.compile(r"(?:-m (?:rem_engine|trainer)|rem-segment|rem-trainer) (?:\\\n|[^\n`])*")


def of_pages(pattern: re.Pattern[str], *, fenced: bool | None = None) -> Iterator[tuple[str, str]]:
    """(page, match) of all pages; of fenced blocks alone, of the rest alone, or of both."""
    for page in PAGES:
        text = page.read_text("utf-8")
        if fenced is not None:
            text = "\n".join(FENCE.findall(text)) if fenced else FENCE.sub("", text)
        for match in pattern.finditer(text):
            yield page.relative_to(ROOT).as_posix(), match[match.lastindex or 0]


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_relative_link_resolves() -> None:
    broken = []
    for page, target in of_pages(LINK, fenced=False):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (anchor and anchor not in headings(file)):
            broken.append(f"{page}: {target}")
    assert broken == []


def test_every_file_that_is_named_is_there() -> None:
    missing = [f"{page}: {path}" for page, path in of_pages(PATH) if not any(ROOT.glob(path.rstrip("./")))]
    assert missing == []


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = [*of_pages(re.compile(r"`make ([\w-]+)")), *of_pages(re.compile(r"^make ([\w-]+)", re.MULTILINE))]
    assert [f"{page}: make {target}" for page, target in named if target not in targets] == []
    assert named


def test_every_module_that_is_run_is_there() -> None:
    named = [*of_pages(MODULE)]
    files = [(page, module, ROOT / module.rstrip(".").replace(".", "/")) for page, module in named]
    missing = [
        (page, module) for page, module, file in files if not (file.is_dir() or file.with_suffix(".py").is_file())
    ]
    assert missing == []
    assert named


def test_pictures_are_what_their_script_draws() -> None:
    for name, draw in PICTURES.items():
        assert (ROOT / "docs" / "images" / f"{name}.svg").read_text("utf-8") == draw().svg()


def commands() -> list[tuple[str, str]]:
    """Command lines of the packages in fenced blocks; not those that are cut short, by [brackets] or dots."""
    found = [(page, line.replace("\\\n", " ")) for page, line in of_pages(COMMAND, fenced=True)]
    return [(page, line) for page, line in found if "[" not in line and "..." not in line]


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_of_the_documents_is_one(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line.removeprefix("-m "), comments=True)
    parser = rem_engine.commands.cli if words[0] in ("rem_engine", "rem-segment") else trainer.commands.cli
    try:
        parser.build_parser().parse_args(words[1:])
    except SystemExit:
        pytest.fail(f"{page}: {line}\n{capsys.readouterr().err}")

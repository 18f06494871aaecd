"""What delivered files say of how they were made: software, model, prompt, settings and graph, as named texts."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__
from ..names import GIVEN_MODES
from .png_check import SIGNATURE, chunks_before_pixels

_PREFIX = "rem/"
_LONGEST = 4000  # characters of a text
_LONGEST_COMMENT = 65_535  # bytes of a ZIP archive's
_MOST_CHUNKS = 64  # that are looked at before the pixels


@dataclass(frozen=True)
class MadeBy:
    """Where the masks and mattes of a run come from; what is not known is "".

    Attributes:
        model: name of the model.
        checkpoint: name of the file of its weights, or of several, in their order.
        prompts: what was asked for, by layer.
        matte: settings of the matte stage, by layer; core and edge mattes have those of theirs.
        given: names of mattes that bounded or raised them, by layer and mode (`names.GIVEN_MODES`).
        graph: the graph of a host that made them, as texts by the names under which that finds them in files again.
    """

    model: str = ""
    checkpoint: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    matte: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    given: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    graph: Mapping[str, str] = field(default_factory=dict)

    def texts(self, layers: Sequence[str], matted: bool = True) -> dict[str, str]:
        """Named texts for a file, `rem/software`, `rem/prompt`, ... and those of the graph: never dates, so that a run
        made anew gives the same file.

        Args:
            layers: those that it holds; prompts of several have their layer's name before them.
            matted: whether it holds mattes, and not masks as the model gives them.
        """
        prompts = [(layer, self.prompts.get(layer, "")) for layer in layers]
        told = [text if len(layers) == 1 else f"{layer}: {text}" for layer, text in prompts if text]
        found = {
            "software": "ReferEverything",
            "version": __version__,
            "model": self.model,
            "checkpoint": self.checkpoint,
            "layer": ", ".join(layers),
            "prompt": "; ".join(told),
        }
        texts = {name: safe_text(text) for name, text in found.items() if text}
        if matted and (settings := _by_layer(self.matte, layers)):
            texts["matte"] = settings
        # Masks are bounded as mattes are, and never raised.
        given = {
            layer: {mode: names for mode, names in of_it.items() if matted or mode != "add"}
            for layer, of_it in self.given.items()
        }
        if bounds := _by_layer(given, layers):
            texts["given"] = bounds
        return {f"{_PREFIX}{name}": text for name, text in texts.items()} | {**self.graph}


def _by_layer(told: Mapping[str, Mapping[str, Any]], layers: Sequence[str]) -> str:
    """What is told of layers as one line of JSON: once where it is the same of all, else by the layer's name. "" for
    nothing. It is not cut, since a part of it could not be read."""
    of_each = {layer: dict(told.get(layer, {})) for layer in layers}
    first, *others = of_each.values()
    if all(other == first for other in others):
        return _printable(json.dumps(first, ensure_ascii=False)) if first else ""
    return _printable(json.dumps({layer: one for layer, one in of_each.items() if one}, ensure_ascii=False))


def safe_text(text: str) -> str:
    """A text as any reader of file headers takes it: without control characters and halves of characters, and not
    longer than 4000 characters, after which it ends in an ellipsis."""
    kept = _printable(text).strip()
    return kept if len(kept) <= _LONGEST else f"{kept[: _LONGEST - 1]}…"


def _printable(text: str) -> str:
    return "".join(" " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in text)


def png_texts(texts: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Named texts as chunks of a PNG, kind and content: tEXt, and iTXt in UTF-8 where a text is not ASCII (PNG, third
    edition, 11.3.3)."""
    return [
        (b"tEXt", f"{name}\0{text}".encode())
        if text.isascii()
        else (b"iTXt", f"{name}\0\0\0\0\0{text}".encode())  # uncompressed, and no language
        for name, text in texts.items()
    ]


def zip_comment(texts: Mapping[str, str]) -> bytes:
    """Named texts as the comment of a ZIP archive, such as soft.npz."""
    told = json.dumps(texts).encode()
    return told if len(told) <= _LONGEST_COMMENT else b"{}"


class Said(NamedTuple):
    """What masks say of how they were made; "" and {} for what they do not say.

    Attributes:
        model, checkpoint, prompt: what they were made by.
        given: names of the mattes that bounded them, by mode.
    """

    model: str
    checkpoint: str
    prompt: str
    given: dict[str, list[str]]


def read_made_by(masks: Path) -> Said:
    """What masks of a run, a PNG or soft.npz, say; nothing, where others made them."""
    texts = _texts_of_zip(masks) if masks.suffix.lower() == ".npz" else _texts_of_png(masks)
    model, checkpoint, prompt = (
        safe_text(str(texts.get(f"{_PREFIX}{name}", ""))) for name in ("model", "checkpoint", "prompt")
    )
    return Said(model, checkpoint, prompt, _given_in(texts))


def _given_in(texts: Mapping[str, Any]) -> dict[str, list[str]]:
    try:
        told = json.loads(str(texts.get(f"{_PREFIX}given", "{}")))
    except (ValueError, RecursionError):  # another program's
        return {}
    if not isinstance(told, dict) or not all(isinstance(names, list) for names in told.values()):
        return {}
    return {mode: [safe_text(str(name)) for name in told[mode]] for mode in GIVEN_MODES if mode in told}


def _texts_of_zip(archive: Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            texts = json.loads(opened.comment or b"{}")
    except (zipfile.BadZipFile, ValueError, RecursionError):  # another's, which has no texts of ours
        return {}
    return texts if isinstance(texts, dict) else {}


def _texts_of_png(png: Path) -> dict[str, str]:
    texts = {}
    with open(png, "rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return {}
        for kind, length in islice(chunks_before_pixels(file), _MOST_CHUNKS):
            if kind in (b"tEXt", b"iTXt") and length < 8 * _LONGEST:
                name, _, text = file.read(length).partition(b"\0")
                text = text.removeprefix(b"\0\0\0\0" if kind == b"iTXt" else b"")
                texts[name.decode("latin-1")] = text.decode("utf-8", "replace")
    return texts

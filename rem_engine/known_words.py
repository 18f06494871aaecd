"""What a prompt says in words that a model has never seen.

REM's published weights were fine-tuned from models of open language, and may be asked for anything. A small model that
was made from rendered shots alone knows the words of their sentences and no others; its rem.json lists them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from .layers import Layer

_WORD = re.compile(r"\w+(?:['’]\w+)?")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, each once, in its order; digits are words, punctuation is none.

    >>> words_of("The red star, and the white-hot fire")
    ['the', 'red', 'star', 'and', 'white', 'hot', 'fire']
    """
    return list(dict.fromkeys(_WORD.findall(text.lower())))


def unknown_words(layers: Sequence[Layer], model: str, known: Collection[str]) -> list[dict[str, Any]]:
    """For run.json: what is to be said of layers whose texts have words that a model has never seen.

    Args:
        layers: that are asked for; what is taken away from them counts too.
        model: its name.
        known: its words, in lower case. None: it knows open language.

    Returns:
        a dict with the layer's name and a sentence for each layer that there is something to say of.
    """
    found = []
    for layer in layers if known else ():
        new = [f"'{word}'" for word in words_of(" ".join((layer.text, *layer.without))) if word not in known]
        if new:
            sentence = (
                f"{model} does not know {_enumerated(new)}: the {len(known)} words it was trained with are listed in "
                f"its rem.json, and what it makes of others is chance. Layer: {layer.name}."
            )
            found.append({"layer": layer.name, "what": "words", "state": "unknown", "sentence": sentence})
        capital = [f"'{word.lower()}'" for word in _capitalised(" ".join((layer.text, *layer.without)), known)]
        if capital:
            sentence = f"{model} was trained with small letters: write {_enumerated(capital)}. Layer: {layer.name}."
            found.append({"layer": layer.name, "what": "words", "state": "unknown", "sentence": sentence})
    return found


def _capitalised(text: str, known: Collection[str]) -> list[str]:
    """Known words of a text that have capitals, but for a determiner, with which sentences of the training begin."""
    words = dict.fromkeys(_WORD.findall(text))
    return [w for w in words if w != w.lower() and w.lower() in known and w not in ("The", "A", "An", "All", "Both")]


def _enumerated(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))

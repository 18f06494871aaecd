"""Brings what REM-mini's card and docs/rem-mini.md say of its weights up to date, from the weights and their figures.

    python -m docs.make_mini_card

A page says where a part stands; what is between the two comments is made anew:

    <!-- mini: size -->       pixels and window that it works at, from rem.json
    <!-- mini: parts -->      architecture, parameters and size of each file, from the folder itself
    <!-- mini: figures -->    J and the like, from docs/data/rem-mini.json, made by `python -m benchmarks.mini --write`
    <!-- mini: limits -->     what it finds worst, by the same figures, and what of the shipped shot it does not find
    <!-- mini: bounds -->     masks through the VAE alone, from there, too
    <!-- mini: words -->      what it can be asked for, from the words of rem.json
    <!-- end -->
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from rem_engine.backbones.load import MINI_FOLDER
from rem_engine.content_hash import content_hash
from rem_engine.known_words import words_of
from trainer.synth.rich import vocabulary as said
from trainer.synth.rich.thing import ATTACHED

_ROOT = Path(__file__).resolve().parents[1]
DATA = _ROOT / "docs" / "data" / "rem-mini.json"
PAGES = (MINI_FOLDER / "README.md", _ROOT / "docs" / "rem-mini.md")
SPLITS = {
    "plain-seen": ("plain", False),
    "plain-unseen": ("plain", True),
    "rich-seen": ("rich", False),
    "rich-unseen": ("rich", True),
}
"""Of what is scored: name -> world, and whether it is of what no training shot showed."""
_PARTS = {
    "denoiser": "transformer/rem_mini.safetensors",
    "VAE": "vae/rem_mini_vae.safetensors",
    "text encoder": "text_encoder/model.safetensors",
    "mask decoder": "mask_decoder.safetensors",
    "text-to-video weights it was fine-tuned from": "t2v/rem_mini_t2v.safetensors",
}
_ABSENT = "-"
_HEADING = re.compile(r"(?P<verb>.+?) (?P<way>(to the |up|down|left|right).*)")
_ALL_OR_NONE = ("relations", "how many")
"""Groups of which a model knows single words for other reasons."""
_PART = re.compile(r"(?P<head><!-- mini: (?P<name>\w+) -->\n).*?(?P<foot><!-- end -->)", re.DOTALL)


def main() -> None:
    write_pages()


def write_pages() -> None:
    """Bring both pages up to date."""
    for page in PAGES:
        page.write_text(with_parts(page.read_text("utf-8")), "utf-8")


def with_parts(page: str) -> str:
    """A page's text with the parts that it asks for.

    Raises:
        KeyError: it asks for a part that is none.
    """
    return _PART.sub(lambda found: found["head"] + "\n".join([*_MAKERS[found["name"]](), found["foot"]]), page)


def weights_hash(folder: Path, parts: Sequence[str] = ("denoiser", "VAE", "text encoder")) -> str:
    """Of the weights of some of the parts; by default of those that masks by the VAE's decoder depend on."""
    return content_hash([folder / _PARTS[part] for part in parts])


def parameters(file: Path) -> int:
    """How many numbers a safetensors file holds."""
    with safe_open(file, "pt") as weights:
        return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118, no dict


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _size() -> Iterator[str]:
    told = _json(MINI_FOLDER / "rem.json")
    size, window = "x".join(map(str, told["size"])), told["window"]
    yield f"It works at {size} pixels, in windows of {window} frames that overlap by {told['overlap']}."


def _parts() -> Iterator[str]:
    denoiser, text, vae = (_json(MINI_FOLDER / part / "config.json") for part in ("transformer", "text_encoder", "vae"))
    heads, width = denoiser["num_attention_heads"], denoiser["attention_head_dim"]
    is_what = {
        "denoiser": f"Wan2.1 text-to-video: width {heads * width} ({heads} heads of {width}), {denoiser['num_layers']} "
        f"layers, feed-forward {denoiser['ffn_dim']}, text width {denoiser['text_dim']}, patch "
        f"({','.join(map(str, denoiser['patch_size']))})",
        "VAE": f"Wan2.1's, {vae['base_dim']} channels at full resolution (Wan2.1: 96), {vae['z_dim']} latent channels, "
        f"factors {', '.join(map(str, vae['dim_mult']))}",
        "text encoder": f"UMT5, width {text['d_model']}, {text['num_layers']} layers, a sentencepiece vocabulary of "
        f"{text['vocab_size']} pieces",
        "mask decoder": "distilled from the VAE's",
    }
    yield from ("| part | architecture | parameters | file | size |", "|---|---|---|---|---|")
    for part, name in _PARTS.items():
        file = MINI_FOLDER / name
        if file.is_file():
            count, size = parameters(file) / 1e6, file.stat().st_size / 2**20
            yield f"| {part} | {is_what.get(part, 'as the denoiser')} | {count:.1f} M | `{name}` | {size:.1f} MiB |"


def _figures() -> Iterator[str]:
    data = _json(DATA)
    columns: dict[str, Callable[[dict[str, float]], str]] = {
        "J": _share("J"),
        "objects": _share("J_objects"),
        "processes": _share("J_processes"),
        "small": _share("J_small"),
        "thin": _share("J_thin"),
        "shadows, reflections": _share("J_attached"),
        "several things": _share("J_groups"),
        "referring accuracy": _share("referring_accuracy"),
        "absent area": lambda one: f"{100 * one['absent_area']:.1f} %",
        "best threshold (J there)": lambda one: f"{one['best_threshold']:.2f} ({one['J_best']:.3f})",
        "sentences": lambda one: str(int(one["expressions"])),
    }
    yield f"| {data['shots']} shots a split | {' | '.join(columns)} |"
    yield "|" + "---|" * (len(columns) + 1)
    for name, figures in data["splits"].items():
        yield f"| {name.replace('-', ', ')} | {' | '.join(tell(figures) for tell in columns.values())} |"


def _share(name: str) -> Callable[[dict[str, float]], str]:
    return lambda one: f"{one[name]:.3f}" if name in one else _ABSENT


def _bounds() -> Iterator[str]:
    vae = _json(DATA)["vae"]
    names = {"J_objects": "objects", "J_processes": "processes", "J_thin": "thin things"}
    names |= {"J_attached": "shadows and reflections"}
    parts = ", ".join(f"{told} {vae[name]:.3f}" for name, told in names.items() if name in vae)
    yield f"Exact masks that go through its VAE and nothing else come back at J {vae['J']:.3f}, which bounds what it"
    yield f"can reach ({parts}; {int(vae['masks'])} masks of the rich world's shots)."


def _limits() -> Iterator[str]:
    rich = _json(DATA)["splits"]["rich-seen"]
    names = {"J_objects": "objects", "J_processes": "processes", "J_small": "small things", "J_thin": "thin things"}
    names |= {"J_attached": "shadows and reflections", "J_groups": "several things at once"}
    worse = sorted((rich[name], told) for name, told in names.items() if name in rich and rich[name] < rich["J"])
    yield f"Below its mean in the rich world: {', '.join(f'{told} (J {j:.2f})' for j, told in worse)}. Of"
    yield f"{100 * (1 - rich['referring_accuracy']):.0f} % of the sentences its mask is rather over another thing."
    listed = _json(_ROOT / "assets" / "sample_shot.json")
    missed = [f'"{text}" (J {entry["J"]:.2f})' for text, entry in listed["not_found"].items()]
    if missed:
        yield f"Of the shipped shot it does not find {', '.join(missed)}."


def _words() -> Iterator[str]:
    known = {*_json(MINI_FOLDER / "rem.json")["words"]}
    yield from ("| | |", "|---|---|")
    told: set[str] = set()
    for group, phrases in _vocabulary():
        asked = list(dict.fromkeys(phrases))
        kept = [phrase for phrase in asked if known >= {*words_of(phrase)}]
        if kept and (group not in _ALL_OR_NONE or kept == asked):
            told |= {word for phrase in kept for word in words_of(phrase)}
            yield f"| {group} | {_directions(kept) if group == 'motions' else ', '.join(kept)} |"
    yield f"| and | {', '.join(sorted(known - told | known & {'a', 'the'}))} |"


def _directions(phrases: Iterable[str]) -> str:
    """Motions, those of one way of saying them together: "moving or going left, right or up", then all others."""
    ways: dict[str, list[str]] = {}
    others = []
    for phrase in phrases:
        if found := _HEADING.fullmatch(phrase):
            ways.setdefault(found["verb"], []).append(found["way"])
        else:
            others.append(phrase)
    by_ways: dict[tuple[str, ...], list[str]] = {}
    for verb, where in ways.items():
        by_ways.setdefault(tuple(where), []).append(verb)
    return "; ".join([f"{_or(verbs)} {_or(where)}" for where, verbs in by_ways.items()] + [", ".join(others)])


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _vocabulary() -> Iterator[tuple[str, Iterable[str]]]:
    names = [name for names in said.KIND_NAMES.values() for name in names]
    yield "things", names
    yield "all or both of them", [said.plural(name) for name in names]
    yield "whatever it is", (*said.ANYTHING, *said.THINGS)
    yield "processes", (name for names in said.PROCESS_NAMES.values() for name in names)
    yield "of things", (f"{kind} of" for kind in ATTACHED)
    yield "colours", (name for names in said.COLOUR_NAMES.values() for name in names)
    yield "patterns", (name for names in said.PATTERN_NAMES.values() for name in names)
    yield "sizes", (*(name for names in said.SIZE_NAMES.values() for name in names), "thin")
    yield "motions", (phrase for phrases in said.MOTION_PHRASES.values() for phrase in phrases)
    yield "places", (phrase for phrases in said.PLACE_PHRASES.values() for phrase in phrases)
    yield "relations", (phrase for phrases in said.RELATION_PHRASES.values() for phrase in phrases)
    yield "how many", (form.replace(" {}", "") for form in (*said.ALL, *said.BOTH))


_MAKERS: dict[str, Callable[[], Iterator[str]]] = {
    "size": _size,
    "parts": _parts,
    "figures": _figures,
    "bounds": _bounds,
    "limits": _limits,
    "words": _words,
}


if __name__ == "__main__":
    main()

"""EncodeText: prompts to REM's 77 rows, and back out of any CONDITIONING."""

from __future__ import annotations

import textwrap
from typing import Any

import torch
from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..rem_engine.backbone import TEXT_ROWS, TEXT_WIDTH, check_prompt, fit_text_rows, warn_cut_prompt
from .host import node_schema, show_text

Conditioning = list[list[Any]]

_TOKENS = "umt5xxl"  # under this name the host's tokenizer for Wan returns its tokens
_END = 1  # </s> in UMT5's vocabulary
_SHOWN_CHARACTERS = 120  # of cut words on the node; the log has all of them
_PROMPT = "refereverything_prompt"  # the prompt's text, for legends


class EncodeText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="EncodeText",
            display_name="Encode Text (REM)",
            description="Encodes what to segment. One prompt a line; SegmentVideo looks for each of them.",
            search_aliases=["prompt", "text encode", "referring expression", "clip text encode"],
            inputs=[
                io.Clip.Input("clip", tooltip="Wan's text encoder: LoadREM's CLIP, or Load CLIP with the type wan."),
                io.String.Input(
                    "text",
                    multiline=True,
                    placeholder="the smoke",
                    tooltip="What to segment, in plain words: 'the smoke', 'the red car on the left'. "
                    "One prompt a line, each gets a mask of its own. Up to 77 tokens (some 50 words) a line are read.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="One entry a prompt. Conditioning (Combine) joins several."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, clip: CLIP, text: str) -> io.NodeOutput:
        prompts = [line.strip() for line in text.splitlines() if line.strip()]
        if not prompts:
            check_prompt("")
        entries = []
        for prompt in prompts:
            rows, cut = encode_prompt(clip, prompt)
            if cut:
                shown = textwrap.shorten(cut, _SHOWN_CHARACTERS, placeholder=" ...")
                show_text(f"Longer than {TEXT_ROWS} tokens; not read: {shown}", cls)
            entries.append([rows[None], {"pooled_output": None, _PROMPT: prompt}])
        return io.NodeOutput(entries)


def encode_prompt(clip: CLIP, prompt: str) -> tuple[Tensor, str]:
    """Encode one prompt with the host's text encoder.

    Returns:
        float32 rows [77,4096], zero after the text, and the words past the 77th token, which are cut (mostly "").

    Raises:
        ValueError: a CLIP that is not Wan's.
    """
    token_count = _count_tokens(clip, prompt)
    cut = ""
    if token_count > TEXT_ROWS:
        cut = _words_past_the_limit(clip, prompt)
        warn_cut_prompt(token_count, cut)
    # Weights off: a prompt such as "the (red) car" means what it says.
    encoded = clip.encode_from_tokens(clip.tokenize(prompt, disable_weights=True))
    return fit_text_rows(encoded[0, : min(token_count, TEXT_ROWS)].cpu()), cut


def read_prompts(conditioning: Conditioning) -> tuple[list[str], Tensor]:
    """Prompts of a CONDITIONING, from EncodeText or from the host's own nodes.

    Returns:
        P texts for a legend, and float32 rows [P,77,4096].

    Raises:
        ValueError: nothing in it, or made by a text encoder of another width.
    """
    if not conditioning:
        raise ValueError("The CONDITIONING is empty: connect EncodeText.")
    labels, rows = [], []
    for number, (embeds, extras) in enumerate(conditioning, start=1):
        if embeds.shape[-1] != TEXT_WIDTH:
            raise ValueError(
                f"The CONDITIONING is {embeds.shape[-1]} wide and Wan's text encoder gives {TEXT_WIDTH}: "
                "make it with EncodeText."
            )
        labels.append(extras.get(_PROMPT, f"prompt {number}"))
        rows.append(fit_text_rows(embeds[0]))
    return labels, torch.stack(rows)


def _count_tokens(clip: CLIP, text: str) -> int:
    """Tokens of a text, with the end token and without padding."""
    tokens = clip.tokenize(text, disable_weights=True)
    if _TOKENS not in tokens:
        raise ValueError(
            f"The CLIP is of another kind ({', '.join(tokens)}), and REM reads text with Wan's UMT5: "
            "connect LoadREM's CLIP, or Load CLIP with umt5_xxl and the type wan."
        )
    ids = [token for token, *_ in tokens[_TOKENS][0]]
    return ids.index(_END) + 1


def _words_past_the_limit(clip: CLIP, prompt: str) -> str:
    words = prompt.split()
    for count in range(1, len(words) + 1):
        if _count_tokens(clip, " ".join(words[:count])) - 1 > TEXT_ROWS:
            return " ".join(words[count - 1 :])
    return ""

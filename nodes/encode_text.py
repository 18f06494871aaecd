"""EncodeText: prompts, one layer a line, to REM's 77 rows of each."""

from __future__ import annotations

import textwrap

from comfy.sd import CLIP
from comfy_api.latest import io
from torch import Tensor

from ..rem_engine.backbones.base import TEXT_ROWS, WAN, fit_text_rows, warn_cut_prompt
from ..rem_engine.layers import texts_of
from .host.conditioning import write_layers
from .host.schema import check_connected, node_schema, show_text
from .widgets.checks import first_mistake
from .widgets.layer_settings import checked_layers

_TOKENS = "umt5xxl"  # under this name the host's tokenizer for Wan returns its tokens
_CLIP_TOKENS = "h"  # and under this one that for ModelScope's CLIP
_END = 1  # </s> in UMT5's vocabulary
_SHOWN_CHARACTERS = 120  # of cut words on the node; the log has all of them


class EncodeText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="EncodeText",
            display_name="Encode Text (REM)",
            description="Encodes what to segment. One prompt a line, each a layer of its own: 'the smoke', or "
            "'smoke: the smoke | -the steam' with a name and something to leave out.",
            search_aliases=["prompt", "negative prompt", "text encode", "referring expression", "clip text encode"],
            inputs=[
                io.Clip.Input(
                    "clip", tooltip="The model's text encoder: LoadREM's CLIP, or for Wan Load CLIP with the type wan."
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    placeholder="the smoke",
                    tooltip="What to segment, in plain words: 'the smoke', 'the red car on the left'. "
                    "One prompt a line, each gets a mask of its own. 'smoke: the smoke | -the steam from the kettle' "
                    "names the layer and leaves out what follows '-'; '| preset: smoke' or '| feather: 2' sets the "
                    "matte of this layer alone in Segment Shot, '| colour: #ff8800' its colour in overlays. A line "
                    "that begins with '#' is left out. Up to 77 tokens (some 50 words) of each text are read.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning",
                    tooltip="The layers, one entry for each distinct text. Conditioning (Combine) joins several.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, text: str | None = None) -> bool | str:
        return first_mistake(lambda: None if text is None else checked_layers(text.splitlines()))

    @classmethod
    def execute(cls, clip: CLIP, text: str) -> io.NodeOutput:
        check_connected(clip=clip)
        layers = checked_layers(text.splitlines())
        rows = {}
        for prompt in texts_of(layers):
            rows[prompt], cut = encode_prompt(clip, prompt)
            if cut:
                shown = textwrap.shorten(cut, _SHOWN_CHARACTERS, placeholder=" ...")
                show_text(f"Longer than {TEXT_ROWS} tokens; not read: {shown}", cls)
        return io.NodeOutput(write_layers(layers, rows))


def encode_prompt(clip: CLIP, prompt: str) -> tuple[Tensor, str]:
    """Encode one prompt with the host's text encoder.

    Returns:
        float32 rows [77,D], and the words past the 77th token, which are cut (mostly ""). Of Wan's UMT5 rows are zero
        after the text; of ModelScope's CLIP they are those of its padding.

    Raises:
        ValueError: a CLIP of another kind.
    """
    token_count = _count_tokens(clip, prompt)
    cut = ""
    if token_count > TEXT_ROWS:
        cut = _words_past_the_limit(clip, prompt)
        warn_cut_prompt(token_count, cut)
    # Weights off: a prompt such as "the (red) car" means what it says.
    tokens = clip.tokenize(prompt, disable_weights=True)
    encoded = clip.encode_from_tokens(tokens)
    if _CLIP_TOKENS in tokens:
        return encoded[0, :TEXT_ROWS].float().cpu(), cut
    return fit_text_rows(encoded[0, : min(token_count, TEXT_ROWS)].cpu(), WAN.text_width), cut


def _count_tokens(clip: CLIP, text: str) -> int:
    """Tokens of a text, with the end token (and CLIP's start token) and without padding."""
    tokens = clip.tokenize(text, disable_weights=True)
    if _CLIP_TOKENS in tokens:
        # In groups of 77, each from a start to an end token.
        end = clip.tokenize("")[_CLIP_TOKENS][0][1][0]
        groups = [[token for token, *_ in group] for group in tokens[_CLIP_TOKENS]]
        return 2 + sum(group.index(end) - 1 for group in groups)
    if _TOKENS not in tokens:
        raise ValueError(
            f"The CLIP is of another kind ({', '.join(tokens)}), and REM reads text with Wan's UMT5 or "
            "ModelScope's CLIP: connect LoadREM's CLIP, or Load CLIP with umt5_xxl and the type wan."
        )
    ids = [token for token, *_ in tokens[_TOKENS][0]]
    return ids.index(_END) + 1


def _words_past_the_limit(clip: CLIP, prompt: str) -> str:
    # UMT5's end mark may be cut; CLIP's always closes the 77.
    most = TEXT_ROWS if _CLIP_TOKENS in clip.tokenize("") else TEXT_ROWS + 1
    words = prompt.split()
    for count in range(1, len(words) + 1):
        if _count_tokens(clip, " ".join(words[:count])) > most:
            return " ".join(words[count - 1 :])
    return ""

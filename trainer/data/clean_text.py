"""How a dataset's sentences are cleaned before they are encoded."""

from __future__ import annotations

import html
import re


def clean_prompt(text: str) -> str:
    """Mend mis-decoded characters, resolve HTML entities and make white space single; case is kept.

    The authors clean the sentences that Wan is trained on so, with the function that diffusers' Wan pipeline has for
    it; at inference they do not (REM's released code, utils/encode_wantxt_T5.py).
    """
    import ftfy

    # twice, since some web text is escaped twice
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip()


def lower_case(text: str) -> str:
    """Lower case with single spaces: what the authors make of the sentences that ModelScope is trained on (REM's
    released code, datasets/ytvos_clip.py)."""
    return " ".join(text.lower().split())

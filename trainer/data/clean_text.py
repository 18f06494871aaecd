"""How a dataset's sentences are cleaned before they are encoded."""

from __future__ import annotations

import html
import re


def clean_prompt(text: str) -> str:
    """Mend mis-decoded characters, resolve HTML entities and make white space single; case is kept.

    The authors clean the sentences of training so, with the function that diffusers' Wan pipeline has for it; at
    inference they do not (REM's released code).
    """
    import ftfy

    # twice, since some web text is escaped twice
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return re.sub(r"\s+", " ", text).strip()

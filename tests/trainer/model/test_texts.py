"""Sentences reach each model as the authors' training gives them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trainer.model.trainable import ModelScopeTrainable, WanTrainable


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [(WanTrainable, "A Man & his \u00a3 Dog"), (ModelScopeTrainable, "a man &amp; his \u00a3 dog")],
    ids=["wan", "modelscope"],
)
def test_wan_is_trained_on_sentences_as_they_stand_and_modelscope_on_lower_case(kind: Any, encoded: str) -> None:
    """utils/encode_wantxt_T5.py encodes what prompt_clean makes of 'exp'; datasets/ytvos_clip.py lowers it."""
    seen: list[str] = []
    model = SimpleNamespace(backbone=SimpleNamespace(encode_text=seen.append))
    kind.encode_text(model, " A  Man &amp; his \u00a3\nDog ")
    assert seen == [encoded]

"""What the rounds of `interactive` can be of; apart from the measuring, so that help is quick."""

from __future__ import annotations

from typing import Literal

Choice = Literal["suggest", "even"]
"""How frames are chosen: one after the other by `suggest`, or evenly over the shot."""
KeyKind = Literal["exact", "hand"]
"""Masks that are given: exact ones, or such as hands make: edges off by up to two pixels, and holes."""
Start = Literal["model", "nothing", "wrong"]
"""What is corrected: masks of the model; empty ones, as of a model that finds nothing; or the exact ones of another
thing of the shot."""

"""Base models by their name on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SMALL = ("*.json", "*.txt", "*.model")
"""Of a model in diffusers' layout: configurations, and its tokenizer's lists."""
_WEIGHTS = "*.safetensors"
_SAID = 200  # letters of the hub's own words


def base_model(model: str, weights: bool = True) -> str:
    """A model folder: as named, or, for `owner/name`, where no such folder is, what the hub has under that name.

    It is downloaded once, to the folder that huggingface_hub keeps (`HF_HOME`); with `HF_HUB_OFFLINE=1` it is only
    looked for there. Processes of one machine wait for one another.

    Args:
        model: a folder, "mini", or a name on the hub.
        weights: wanted too, not its configurations and tokenizer alone.

    Raises:
        FileNotFoundError: neither a folder, nor anything on the hub, or the hub cannot be reached.
    """
    if Path(model).exists() or not _HUB_ID.fullmatch(model):
        return model
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return snapshot_download(model, allow_patterns=[*_SMALL, _WEIGHTS] if weights else [*_SMALL])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"There is no folder {model}, and the Hugging Face hub gives nothing under that name "
            f"({' '.join(str(error).split())[:_SAID]}); check the name, or download it and name its folder."
        ) from error

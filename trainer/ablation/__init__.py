"""The paper's ablations in miniature, as switches of the one objective."""

"""The commands of `python -m rem_engine`, one a file: `add_parser` declares its options, `run` does it."""

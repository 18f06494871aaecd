"""The commands of `python -m trainer`, one a file: `add_parser` declares its options and sets `run`, which does it."""

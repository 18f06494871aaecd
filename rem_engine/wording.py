"""Numbers of things in sentences."""

from __future__ import annotations


def number_of(count: int, thing: str) -> str:
    """`1 layer`, `2 layers`: a word whose plural has an s."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def there_are(count: int, thing: str) -> str:
    """`There is 1 layer`, `There are 2 layers`; see `number_of`."""
    return f"There {'is' if count == 1 else 'are'} {number_of(count, thing)}"

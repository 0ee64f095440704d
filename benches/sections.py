"""Sections of docs/benchmarks.md: each benchmark writes its own and leaves those of others as they are."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def split(text: str) -> tuple[str, dict[str, str]]:
    """What comes before the first section, and the sections by heading."""
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return head.strip(), {part.splitlines()[0]: part.strip() for part in parts}


def merged(page: str, text: str) -> str:
    """`page` with the sections of `text` in the place of those with the same headings, or at the end. If `text` has a beginning
    before its first section, it is a page itself: its own comes first, and what is left of the old one behind it.
    """
    head, old = split(page)
    new_head, new = split(text)
    order = [*new, *old] if new_head else [*old, *new]
    both = {**old, **new}
    return "\n\n".join([new_head or head, *(both[heading] for heading in dict.fromkeys(order))]) + "\n"


def write(text: str) -> None:
    """Into the page, as `merged` says."""
    PAGE.write_text(merged(PAGE.read_text() if PAGE.exists() else "", text))

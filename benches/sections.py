"""Sections of docs/benchmarks.md: each benchmark writes its own and leaves those of others as they are."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def split(text: str) -> tuple[str, dict[str, str]]:
    """The text before the first section, and the sections by heading."""
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return head.strip(), {part.splitlines()[0]: part.strip() for part in parts}


def merged(page: str, text: str) -> str:
    """`page` with its sections replaced by those of `text` with the same headings; new ones are added at the end. If `text` begins
    before its first section, it is a whole page: its sections come first, then the remaining ones of `page`.
    """
    head, old = split(page)
    new_head, new = split(text)
    order = [*new, *old] if new_head else [*old, *new]
    both = {**old, **new}
    return "\n\n".join([new_head or head, *(both[heading] for heading in dict.fromkeys(order))]) + "\n"


def write(text: str) -> None:
    """Merges `text` into the page (see `merged`) and writes it."""
    PAGE.write_text(merged(PAGE.read_text() if PAGE.exists() else "", text))

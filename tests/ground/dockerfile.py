"""Assembles the final stage of the repository's Dockerfile as Docker would, but from a binary that is built already."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from .oci import File, Image


class Unknown(AssertionError):
    """The Dockerfile has an instruction that this reader does not know, so that its image would differ from Docker's."""


def instructions(text: str) -> list[tuple[str, str]]:
    """Pairs of instruction and arguments, without comments and with continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def final_stage(dockerfile: Path, built: Path, arguments: dict[str, str]) -> Image:
    """The image of the final stage. `built` has what it copies from earlier stages; `arguments` are its build arguments."""
    stages: list[list[tuple[str, str]]] = []
    for instruction in instructions(dockerfile.read_text()):
        if instruction[0] == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    values: dict[str, str] = {}
    files: dict[str, File] = {}
    labels: dict[str, str] = {}
    user, entrypoint = "", []

    def expand(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: values[found.group(1)], text)

    for word, rest in stages[-1]:
        if word == "FROM" and rest == "scratch":
            pass
        elif word == "ARG":
            name, _, default = rest.partition("=")
            values[name] = arguments.get(name) or default
        elif word == "LABEL":
            labels |= {key: expand(value) for key, _, value in (pair.partition("=") for pair in shlex.split(rest))}
        elif word == "USER":
            user = rest
        elif word == "ENTRYPOINT":
            entrypoint = json.loads(rest)
        elif word == "COPY" and (found := re.fullmatch(r"--from=\w+ /(\S+) /(\S+)", rest)) and not files:
            files[found.group(2)] = File(built.read_bytes())
        else:
            raise Unknown(f"{dockerfile}: `{word} {rest}` in the final stage: teach {Path(__file__).name} what it does")
    return Image(files, entrypoint, user, labels)

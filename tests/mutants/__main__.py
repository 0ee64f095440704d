"""Breaks one safety rule after the other in a copy of the code, and runs the tests that must notice.

Usage: mutants [NAME…], parts of names; all without one. The exit status is 1 if a mutant survives, or no longer fits the code.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from seeded import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "mutants"
COPY = WORK / "tree"
FAILED = re.compile(r"^test (\S+) \.\.\. FAILED$", re.MULTILINE)
# Longer than any of the tests takes; a mutant that hangs is noticed, too.
LIMIT = 900


def copy() -> None:
    """All that git knows of, as it is in the working directory; files that did not change keep their times, for cargo."""
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
    names = [name for name in files.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    for old in sorted(COPY.rglob("*.rs")):
        if str(old.relative_to(COPY)) not in names:
            old.unlink()
    for name in names:
        target, content = COPY / name, (ROOT / name).read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod((ROOT / name).stat().st_mode)


def cargo(args: tuple[str, ...]) -> tuple[int | None, str]:
    """The status, `None` if the tests took too long, and the output."""
    env = os.environ | {"CARGO_TARGET_DIR": str(WORK / "target"), "CARGO_PROFILE_DEV_OPT_LEVEL": "0", "RUST_BACKTRACE": "0"}
    try:
        done = subprocess.run(["cargo", "test", "--locked", *args], cwd=COPY, env=env, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def verdict(mutant: Mutant) -> tuple[bool, str]:
    """Whether a test noticed, and which, or why not."""
    path = COPY / mutant.file
    text = path.read_text()
    if (count := text.count(mutant.old)) != 1:
        return False, f"does not fit the code any more: {count} places in {mutant.file} have its text"
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        status, output = cargo(mutant.tests)
    finally:
        path.write_text(text)
    if status is None:
        return True, f"tests that went on for more than {LIMIT} s"
    if "could not compile" in output:
        return False, "does not compile: " + next((line for line in output.splitlines() if line.startswith("error")), "")
    if failed := FAILED.findall(output):
        rest = f" and {len(failed) - 2} more" if len(failed) > 2 else ""
        return True, ", ".join(failed[:2]) + rest
    return False, "SURVIVED" if status == 0 else f"cargo test ended with {status}, but no test failed:\n{output[-2000:]}"


def main(parts: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not parts or any(part in mutant.name for part in parts)]
    if not chosen:
        print(f"no mutant has any of {parts} in its name", file=sys.stderr)
        return 2
    copy()
    for tests in sorted({mutant.tests for mutant in chosen}):
        print(f"unchanged: cargo test {' '.join(tests)}", flush=True)
        status, output = cargo(tests)
        if status != 0:
            print(f"these tests must pass before anything is broken:\n{output[-4000:]}", file=sys.stderr)
            return 1
    caught, start = 0, time.monotonic()
    for number, mutant in enumerate(chosen, 1):
        noticed, by = verdict(mutant)
        caught += noticed
        print(f"{number:3} of {len(chosen)}  {'caught' if noticed else 'NOT CAUGHT'}  {mutant.name}\n            {by}", flush=True)
    print(f"{caught} of {len(chosen)} mutants caught in {time.monotonic() - start:.0f} s")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

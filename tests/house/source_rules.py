"""Rules of the source that ruff has no check for; `make lint` runs this file.

- A module has at most 400 lines, a function at most 50, counted from `def` to its last line with
  its docstring. Compiled functions are exempt: splitting one can cost it its speed.
- A docstring under a field or constant starts with a noun and can be read alone:
  "Largest share of a run's time spent saving journals.", never "Of the time at most goes into ...".
- No public class name stands twice in the two packages.
- Nothing is called a piece: what it is has a name of its own (docs/explain/glossary.md).

It needs nothing but Python, and prints one line for every place that breaks a rule.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("unetmm", "unetmm_cli", "tests", "benchmarks", "training")
PACKAGES = ("unetmm", "unetmm_cli")
MODULE_LINES = 400
FUNCTION_LINES = 50

EXCEPTIONS = {
    "unetmm/engine/cpu/simd.py:_tile_intrinsics": "compiled functions that share their types",
    "unetmm/engine/cpu/tiles.py:_tile_intrinsics": "compiled functions that share their types",
}
"""Reason for each place that may be longer, by `path` or `path:function`."""

COMPILERS = frozenset({"njit", "intrinsic", "triton"})
"""Decorators whose functions become machine code."""

WRONG_WORDS = frozenset(
    """
    about above after against along although always among and are around as asked at because been
    before begins behind being below beneath beside besides between beyond both but by can comes
    could did do does done during either else empty false far for from given gives had has have
    here holds how if in inside into is it its itself kept later let made makes may means might
    must neither never no none nor not of off often on once only onto or otherwise outside over per
    said says seen set should since so stands such taken takes than that their them then there
    these they this those though through to told too true twice unless until up upon was were what
    whatever when whenever where wherever whether which while who whom whose why will with within
    without would yet
    """.split()
)
"""First words of docstrings that cannot be read alone."""
WRONG_PHRASES = re.compile(
    r"the same\b|all of (it|them)\b|(as|so) many\b|one of\b|(larger|longer|more) (is|ones)\b"
    r"|(added|read|used) (by|for|to)\b|[(0-9]"
)
"""Beginnings of docstrings that point at something else, or show a shape without its owner."""
BANNED_WORD = re.compile(r"(?<!in one )(?<![a-z])piece(s|wise)?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class SourceFile:
    """One Python file of the project."""

    path: str
    """Path relative to the project, with slashes."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def check_lengths(file: SourceFile) -> Iterator[Finding]:
    """Modules and functions that are too long and not among the exceptions."""
    lines = len(file.text.splitlines())
    if lines > MODULE_LINES and file.path not in EXCEPTIONS:
        yield Finding(file.path, 1, f"module of {lines} lines; at most {MODULE_LINES}")
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_compiled(node):
            continue
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        if lines > FUNCTION_LINES and f"{file.path}:{node.name}" not in EXCEPTIONS:
            text = f"function {node.name} of {lines} lines; at most {FUNCTION_LINES}"
            yield Finding(file.path, node.lineno, text)


def check_attribute_docstrings(file: SourceFile) -> Iterator[Finding]:
    """Docstrings under fields and constants that do not start with a noun."""
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Module | ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            text = _text(below)
            if text is None or not isinstance(field, ast.Assign | ast.AnnAssign):
                continue
            if not reads_alone(text, _is_boolean(field)):
                shown = " ".join(text.split())[:60]
                yield Finding(
                    file.path, below.lineno, f'docstring must start with a noun: "{shown}"'
                )


def reads_alone(docstring: str, is_boolean: bool) -> bool:
    """Whether the docstring starts with a noun; one of a boolean may start with "Whether"."""
    beginning = " ".join(docstring.lower().split())
    first = beginning.split(" ")[0].rstrip(",.:;")
    if is_boolean and first == "whether":
        return True
    return first not in WRONG_WORDS and not WRONG_PHRASES.match(beginning)


def check_words(file: SourceFile) -> Iterator[Finding]:
    """Names and sentences with the banned word; this file and its test have to say it."""
    if Path(file.path).parts[:2] == ("tests", "house"):
        return
    for number, line in enumerate(file.text.splitlines(), start=1):
        if found := BANNED_WORD.search(line):
            text = f'"{found[0]}" says nothing: part, slice, segment, share, chunk, tile ...?'
            yield Finding(file.path, number, text)


def check_class_names(files: Sequence[SourceFile]) -> Iterator[Finding]:
    """Public classes of the packages whose name another module has given away already."""
    homes: dict[str, str] = {}
    for file in files:
        if file.path.split("/")[0] not in PACKAGES:
            continue
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                home = homes.setdefault(node.name, file.path)
                if home != file.path:
                    text = f"class name {node.name} is taken by {home}"
                    yield Finding(file.path, node.lineno, text)


def check_exceptions(files: Sequence[SourceFile]) -> Iterator[Finding]:
    """Exceptions that nothing needs any more."""
    texts = {file.path: file.text for file in files}
    for place in EXCEPTIONS:
        path, _, function = place.partition(":")
        if path not in texts:
            yield Finding(path, 1, "is an exception of tests/house/source_rules.py, but not there")
        elif function and f"def {function}(" not in texts[path]:
            yield Finding(path, 1, f"has no function {function}, which is an exception")


def check_all(files: Sequence[SourceFile]) -> list[Finding]:
    """Everything that breaks a rule, by path and line."""
    found = [*check_exceptions(files), *check_class_names(files)]
    for file in files:
        found += check_lengths(file)
        found += check_attribute_docstrings(file)
        found += check_words(file)
    return sorted(found, key=lambda one: (one.path, one.line))


def read_sources(root: Path) -> list[SourceFile]:
    """Every Python file of the project."""
    paths = sorted(path for name in FOLDERS for path in (root / name).rglob("*.py"))
    return [SourceFile(p.relative_to(root).as_posix(), p.read_text("utf-8")) for p in paths]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what breaks a rule; exit code 1 if anything does."""
    parser = argparse.ArgumentParser(description="Rules of the source that ruff does not check.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    findings = check_all(read_sources(parser.parse_args(arguments).root))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def _is_compiled(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {
        node.id
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
        if isinstance(node, ast.Name)
    }
    return not names.isdisjoint(COMPILERS)


def _text(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None


def _is_boolean(field: ast.Assign | ast.AnnAssign) -> bool:
    if isinstance(field, ast.AnnAssign):
        return "bool" in ast.unparse(field.annotation)
    return isinstance(field.value, ast.Constant) and isinstance(field.value.value, bool)


if __name__ == "__main__":
    sys.exit(main())

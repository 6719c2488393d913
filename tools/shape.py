#!/usr/bin/env python3
"""Measures the product's shape and holds it to limits, so that it stays small: `tools/shape.py bridge handlers`.

Exit code 1 names each file or function past its limit. The limits are for a reader: a file is read at one sitting, a
function at one glance, and an `except` says what can happen.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

LONGEST_FILE = 350
LONGEST_FUNCTION = 60
MOST_BROAD_EXCEPTS = 2
BROAD = {"Exception", "BaseException"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, methods and inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines, from `def` to the last."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def broad_excepts(tree: ast.AST) -> Iterator[int]:
    """Lines of handlers that catch everything and do not raise it again."""
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    for node in (node for node in handlers if node.type is None or ast.unparse(node.type) in BROAD):
        if not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node)):
            yield node.lineno


def main(folders: list[str]) -> int:
    """Print the figures; the exit code."""
    paths = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    files = {path: path.read_text(encoding="utf-8").count("\n") for path in paths}
    sizes = {f"{path}:{node.lineno} {node.name}": length(node) for path in paths for node in functions(trees[path])}
    broad = [f"{path}:{line}" for path in paths for line in broad_excepts(trees[path])]
    tall, long = files.values(), sizes.values()
    print(f"files: {len(files)}, lines: {sum(tall)}, median {median(tall):.0f}, most {max(tall)}")
    print(f"functions: {len(sizes)}, median {median(long):.0f}, 95 of 100 up to {quantiles(long, n=20)[18]:.0f}")
    wrong = [f"{at}: {lines} lines, {LONGEST_FILE} at most" for at, lines in files.items() if lines > LONGEST_FILE]
    wrong += [
        f"{at}: {lines} lines, {LONGEST_FUNCTION} at most" for at, lines in sizes.items() if lines > LONGEST_FUNCTION
    ]
    wrong += [f"{at}: catches everything" for at in broad] if len(broad) > MOST_BROAD_EXCEPTS else []
    print("\n".join(wrong) or "all within their limits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["bridge", "handlers"]))

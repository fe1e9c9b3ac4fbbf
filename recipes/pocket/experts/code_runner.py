"""A Python interpreter for snippets in a prompt, run in the package's sandbox.

The sandbox is not a security boundary: for untrusted code use a container or a virtual machine.
"""

from __future__ import annotations

import ast
import builtins
import re

from recipes.pocket.experts.base import DONT_KNOW, safely
from zooter_lite.scoring.sandbox import Limits, run_python

FENCED = re.compile(r"```(?:python|py)?\n(.*?)```", re.DOTALL)
FORBIDDEN_WORDS = (
    "breakpoint compile delattr dir eval exec exit getattr globals help input locals memoryview "
    "object open quit setattr super type vars"
)
FORBIDDEN_NAMES = frozenset(FORBIDDEN_WORDS.split())
FORBIDDEN_NODES = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Await, ast.AsyncWith)
OPERATION = (ast.Call, ast.BinOp, ast.Compare, ast.BoolOp, ast.Subscript, ast.ListComp)
MAX_CODE = 1_000
MAX_OUTPUT = 200
LIMITS = Limits(cpu_seconds=1, wall_seconds=5.0, memory_bytes=256 * 2**20)


@safely
def code_runner(prompt: str) -> str:
    """Find Python in the prompt, run it, and return what it prints."""
    source = find_code(prompt)
    if source is None or refusal(source) is not None:
        return DONT_KNOW
    output = run(source, LIMITS)
    return DONT_KNOW if output is None else " ".join(output.split())


def find_code(prompt: str) -> str | None:
    """Return the program of a prompt, as code that prints its result, or None.

    A fenced block wins, then trailing lines that parse, then anything in backticks or after a
    colon or a few words that is an expression with an operation in it.
    """
    fenced = FENCED.search(prompt)
    if fenced:
        return _printing(fenced[1])
    lines = prompt.splitlines()
    for start in range(len(lines)):
        for end in range(len(lines), start, -1):
            source = "\n".join(lines[start:end])
            if "print(" in source and _parsed(source) is not None:
                return source
    inline = re.findall(r"`([^`\n]+)`", prompt)
    return next((code for piece in inline + _tails(prompt) if (code := _printing(piece))), None)


def _tails(prompt: str) -> list[str]:
    """Return the pieces of a prompt that start at a word and may be an expression."""
    pieces = []
    for line in prompt.splitlines():
        body = line.rstrip(" ?.!:")
        starts = [0, *(match.end() for match in re.finditer(r"\s", body))]
        ends = [len(body), *[match.start() for match in re.finditer(r"\s", body)][::-1]]
        pieces += [body[a:b].rstrip("?.,") for a in starts[:24] for b in ends[:24] if b - a > 4]
    return pieces


def _parsed(source: str) -> ast.Module | None:
    if len(source) > MAX_CODE:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _printing(source: str) -> str | None:
    """Return code that prints: the code itself, or its single expression inside print()."""
    tree = _parsed(source.strip())
    if tree is None or not tree.body:
        return None
    if any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree)):
        return source.strip()
    single = tree.body[0]
    if len(tree.body) > 1 or not isinstance(single, ast.Expr):
        return None
    loaded = {node.id for node in ast.walk(single) if isinstance(node, ast.Name)}
    bound = {n.target.id for n in ast.walk(single) if isinstance(n, ast.comprehension)
             and isinstance(n.target, ast.Name)}  # fmt: skip
    if not isinstance(single.value, OPERATION) or loaded - bound - set(dir(builtins)):
        return None
    return f"print({ast.unparse(single.value)})"


def refusal(source: str) -> str | None:
    """Return why a program is not run, or None if nothing speaks against it.

    Imports, names that reach the interpreter or the file system, and every name or attribute
    with two leading underscores are refused before anything runs.
    """
    tree = _parsed(source)
    if tree is None:
        return "not Python, or too long"
    for node in ast.walk(tree):
        if isinstance(node, FORBIDDEN_NODES):
            return f"line {getattr(node, 'lineno', 0)}: {type(node).__name__} is not allowed"
        for name in (getattr(node, "id", None), getattr(node, "attr", None)):
            if isinstance(name, str) and (name in FORBIDDEN_NAMES or name.startswith("_")):
                return f"the name {name!r} is not allowed"
        if isinstance(node, ast.Attribute) and node.attr in ("format", "format_map"):
            return "str.format can reach attributes and is not allowed"
    return None


def run(source: str, limits: Limits) -> str | None:
    """Run a program in the sandbox; return the start of what it printed, or None if it failed."""
    done = run_python([source], limits)
    if not done.passed:
        return None
    return done.output[: 4 * MAX_OUTPUT].decode("utf-8", "replace")[:MAX_OUTPUT]

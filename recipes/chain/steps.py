"""Run the commands of README.md one after another, and write how long each took.

`python -m recipes.chain.steps recipes/chain/results.md`, from the repository root and with the
LLM served; `run.sh` does both. The test of the tutorial runs the same commands.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).with_name("README.md")
_BLOCK = re.compile(r"^```sh\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command of the tutorial.

    Attributes
    ----------
    name
        Name of the command, such as collect.
    arguments
        What follows `python`.
    expected
        Lines that the tutorial shows of its output, ... where it leaves some out.
    """

    name: str
    arguments: list[str]
    expected: list[str]


def steps(text: str) -> list[Step]:
    r"""Return the commands of the `sh` blocks of a tutorial, each with the `text` block after it.

    >>> steps("```sh\npython -m zooter_lite.fit --out x\n```\n\n```text\ndone\n```\n")
    [Step(name='fit', arguments=['-m', 'zooter_lite.fit', '--out', 'x'], expected=['done'])]
    """
    found = []
    for command, expected in _BLOCK.findall(text):
        words = shlex.split(command.replace("\\\n", " "))
        if words[:2] == ["python", "-m"]:
            name = words[2].removeprefix("zooter_lite.")
            found.append(Step(name, words[1:], expected.splitlines()))
    return found


def main(path: str) -> None:
    """Run every step, print the times, and write them as a Markdown table."""
    lines = ["| stage | seconds |", "|---|---:|"]
    for step in steps(README.read_text("utf-8")):
        print(f"\n$ python {shlex.join(step.arguments)}", flush=True)
        started = time.monotonic()
        subprocess.run([sys.executable, *step.arguments], check=True)
        dry = " (dry run)" if "--dry-run" in step.arguments else ""
        lines.append(f"| {step.name}{dry} | {time.monotonic() - started:.1f} |")
    table = "\n".join(lines)
    Path(path).write_text(table + "\n", "utf-8")
    print(f"\n{table}")


if __name__ == "__main__":
    main(sys.argv[1])

"""`zooter-lite` and `python -m zooter_lite`: list the commands, or run one of them."""

import sys
from importlib import import_module

from zooter_lite.cli import run

COMMANDS = {
    "collect": "ask every expert every query, and keep what each said",
    "score": "score the responses that collect gathered; write the reward table",
    "feedback": "make a reward table of logged decisions and the rewards that came later",
    "tag": "tag queries by an LLM, by tagged queries or by clusters; choose those to learn from",
    "fit": "fit a router on a reward table, evaluate it, write the router directory",
    "evaluate": "evaluate a router on a reward table beside baselines",
    "explain": "tell why queries go where they go",
    "export": "export a router's graphs again: fp32, int8, one file with the tokeniser",
    "route": "route files of prompts",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the first argument names; without one, list the commands."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in COMMANDS:
        command = import_module(f"zooter_lite.{name}")
        return run(command.Options, command.main, name, command.__doc__ or "", rest)
    if name not in ("-h", "--help"):
        print(f"error: no command {name!r}; expected {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    print("zooter-lite: route each prompt to the LLM that answers it best.\n")
    for each, purpose in COMMANDS.items():
        print(f"  zooter-lite {each:10} {purpose}")
    print("\nEach explains itself with --help; python -m zooter_lite.NAME is the same command.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m zooter_lite` lists the commands."""

import sys

COMMANDS = {
    "collect": "ask every expert every query, and keep what each said",
    "score": "score the responses that collect gathered; write the reward table",
    "tag": "tag queries by an LLM, by tagged queries or by clusters; choose those to learn from",
    "fit": "fit a router on a reward table, evaluate it, write the router directory",
    "evaluate": "evaluate a router on a reward table beside baselines",
    "explain": "tell why queries go where they go",
    "export": "export a router's graphs again: fp32, int8, one file with the tokeniser",
    "route": "route a CSV or JSON-lines file of prompts",
}


def main(arguments: list[str]) -> int:
    """Print the list; a command given as an argument is pointed to."""
    if arguments and arguments not in (["-h"], ["--help"]):
        print(f"error: run python -m zooter_lite.{arguments[0]} instead", file=sys.stderr)
        return 2
    print("zooter-lite: route each prompt to the LLM that answers it best.\n")
    for name, purpose in COMMANDS.items():
        print(f"  python -m zooter_lite.{name:10} {purpose}")
    print("\nEach explains itself with --help.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

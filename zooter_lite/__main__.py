"""`python -m zooter_lite` lists the commands."""

COMMANDS = {
    "fit": "fit a router on a reward table, evaluate it, write the router directory",
    "evaluate": "evaluate a router on a reward table beside baselines",
    "route": "route a CSV or JSON-lines file of prompts",
}

if __name__ == "__main__":
    print("zooter-lite: route each prompt to the LLM that answers it best.\n")
    for name, purpose in COMMANDS.items():
        print(f"  python -m zooter_lite.{name:10} {purpose}")
    print("\nEach explains itself with --help.")

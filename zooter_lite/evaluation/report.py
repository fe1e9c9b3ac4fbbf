"""The comparison in words: a text table, a verdict, and the files for people."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from zooter_lite.evaluation.chart import bar_chart
from zooter_lite.evaluation.compare import CERTAIN, ROUTER, Comparison
from zooter_lite.evaluation.metrics import Estimate

BAR = 24
PRECISION_MARKS = ("<!-- precision -->", "<!-- /precision -->")


def text_table(comparison: Comparison) -> str:
    """Methods as rows: mean over queries and over subsets (x100) with 95% intervals, and a bar."""
    top = max((s.micro.value for s in comparison.methods if s.micro.value > 0), default=1.0)
    width = max(len(score.name) for score in comparison.methods)
    head = f"{'':{width}}  {'micro':>21}  {'macro':>21}"
    lines = [
        f"split {comparison.split}: {comparison.rows} queries, "
        f"{len(comparison.subset_rows)} subsets; mean reward x100 with 95% interval",
        head,
    ]
    for score in comparison.methods:
        value = score.micro.value if score.micro.value > 0 else 0.0  # may be NaN
        bar = "█" * round(BAR * value / top)
        means = f"{_interval(score.micro):>21}  {_interval(score.macro):>21}"
        lines.append(f"{score.name:{width}}  {means}  {bar}")
    return "\n".join(lines)


def _interval(estimate: Estimate) -> str:
    return f"{100 * estimate.value:6.2f} [{100 * estimate.low:5.1f}, {100 * estimate.high:5.1f}]"


def verdict(comparison: Comparison) -> str:
    """Say in words whether the router beats the best single expert, and best per subset."""
    router = comparison.method(ROUTER)
    gap = 100 * comparison.gap
    chance = comparison.micro_gain
    if math.isnan(chance):
        words = (
            f"cannot be compared with the best single expert ({comparison.best_single}): "
            "no query has an observed reward for both"
        )
    elif chance >= CERTAIN:
        words = f"beats the best single expert ({comparison.best_single}) by {gap:.2f} points"
    elif chance <= 1 - CERTAIN:
        words = (
            f"is WORSE than the best single expert ({comparison.best_single}) "
            f"by {-gap:.2f} points: do not route with it"
        )
    else:
        words = (
            f"does NOT reliably beat the best single expert ({comparison.best_single}): "
            f"{gap:+.2f} points, within noise"
        )
    text = f"By the mean over the queries of {comparison.split}, the router {words}" + (
        "." if math.isnan(chance) else f" (paired probability of a gain {chance:.3f})."
    )
    if not math.isnan(comparison.gap_closed):
        text += (
            f" It closes {100 * comparison.gap_closed:.0f}% of the gap from random to the oracle."
        )
    names = ("best per subset", "kNN", "random", "always")
    rivals = [s for s in comparison.methods if s.name.startswith(names)]
    ahead = [s.name for s in rivals if s.micro.value > router.micro.value]
    if ahead:
        text += f" Ahead of it: {', '.join(ahead)}."
    if comparison.unobserved:
        text += (
            f" {comparison.unobserved} rows are left out of its mean: "
            "the chosen expert has no observed reward there."
        )
    return text


def parity_lines(config: dict[str, Any]) -> list[str]:
    """One line per precision: what the exported graph changes, on training queries."""
    lines = []
    parity = config["parity"]
    for name in ("fp32", "int8"):
        if name not in parity:
            continue
        found = parity[name]
        reference = "model2vec" if config["encoder"].get("pooling") == "static" else "torch"
        against = reference if name == "fp32" else "fp32"
        line = (
            f"{name} against {against} on {found['queries']} training queries: largest difference "
            f"of a probability {found['max_difference']:.1e}, {found['changed_decisions']:.2%} of "
            f"the decisions changed, {found['lost']:.3f} points of mean reward lost"
        )
        if name == "int8":
            line += (
                f"; auto asks fp32 again for {found['repeats']:.1%} of them, which leaves "
                f"{found['changed_after_repeats']:.2%} changed"
            )
        lines.append(line)
    if "text" in parity:
        found = parity["text"]
        lines.append(
            f"router.text.onnx against router.onnx on {found['queries']:.0f} prompts: other tokens "
            f"for {found['changed_tokens']:.2%}, {found['changed_decisions']:.2%} of the decisions "
            f"changed, largest difference of a probability {found['max_difference']:.1e}"
        )
    return lines


def precision_section(config: dict[str, Any]) -> list[str]:
    """Lines of the model card about the graphs, between two marks that `export` looks for."""
    lines = [f"- {line}" for line in parity_lines(config)]
    return [PRECISION_MARKS[0], "## Precision", "", *lines, "", PRECISION_MARKS[1], ""]


def with_precision_section(card: str, config: dict[str, Any]) -> str:
    """Return a model card whose section on precision says what `config` says."""
    before, start, rest = card.partition(PRECISION_MARKS[0])
    _, end, after = rest.partition(PRECISION_MARKS[1])
    if not (start and end):
        return card
    return before + "\n".join(precision_section(config)[:-1]) + after


def model_card(config: dict[str, Any], comparisons: Sequence[Comparison], command: str) -> str:
    """README.md of a router directory, from what was measured."""
    encoder, labels = config["encoder"], config["labels"]
    lines = [
        f"# Router over {len(config['experts'])} experts",
        "",
        "Sends each prompt to the expert most likely to answer it best. "
        f"Made by zooter-lite with `{command}`.",
        "",
        f"- experts: {', '.join(config['experts'])}",
        f"- encoder: {encoder['name']} ({encoder['dim']} dimensions, "
        f"at most {encoder['max_length']} tokens, {encoder['pooling']} pooling)",
        f"- head: {config['head']['kind']}; tags: {labels['tags'] or 'none'} "
        f"({labels['n_tags']}); temperature {labels['temperature']:.4g}, beta {labels['beta']}, "
        f"L2 {config['head']['l2']}",
        f"- fitted on {config['training']['rows']} queries; settings chosen by "
        f"{config['training']['folds']}-fold cross-validation on them alone",
        "",
    ]
    if comparisons:
        lines += ["![mean rewards](report.svg)", ""]
    for comparison in comparisons:
        lines += [f"## Measured on `{comparison.split}`", "", verdict(comparison), ""]
        lines += [*markdown_table(comparison), ""]
    if not comparisons:
        lines += ["Not evaluated: the table had no split besides `train`.", ""]
    lines += precision_section(config)
    lines += ["## Use", "", "```python", "from zooter_lite import Router", ""]
    lines += [
        'router = Router.load("path/of/this/folder")',
        'router.route(["a prompt"])',
        "```",
        "",
    ]
    return "\n".join(lines)


def documents(
    config: dict[str, Any],
    comparisons: Sequence[Comparison],
    details: dict[str, Any],
    command: str,
) -> dict[str, bytes]:
    """Content of the files for people: report.json, report.svg and README.md.

    `details` stand in report.json beside the comparisons.
    """
    report = details | {"comparisons": [comparison.to_json() for comparison in comparisons]}
    return {
        "report.json": (json.dumps(report, sort_keys=True, indent=1) + "\n").encode(),
        "README.md": model_card(config, comparisons, command).encode(),
        "report.svg": bar_chart(comparisons).encode(),
    }


def markdown_table(comparison: Comparison) -> list[str]:
    """Lines of a Markdown table, mean reward x100 with 95% intervals."""
    lines = ["| method | micro | macro |", "|---|---|---|"]
    for score in comparison.methods:
        name = f"**{score.name}**" if score.name == ROUTER else score.name.replace("|", "\\|")
        lines.append(
            f"| {name} | {_interval(score.micro).strip()} | {_interval(score.macro).strip()} |"
        )
    return lines

"""The files for people in a router directory: model card, picture and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zooter_lite.measure.results import SliceReport
from zooter_lite.report.figures import chart
from zooter_lite.report.terminal import summary
from zooter_lite.router.directory.config import STATIC_POOLING, RouterConfig
from zooter_lite.router.directory.store import read_router, rewrite_router

PRECISION_MARKS = ("<!-- precision -->", "<!-- /precision -->")


def documents(
    config: RouterConfig, slices: Sequence[SliceReport], details: Mapping[str, Any], command: str
) -> dict[str, bytes]:
    """Return the content of report.json, report.svg and README.md.

    `details` stand in report.json beside the slices. Whoever gets the router can read these
    files, so the texts of the evaluated queries are left out of them; their ids stay.
    """
    measured = [one.to_dict() for one in slices]
    for row in [row for one in measured for row in one["regret"]["worst"]]:
        row["query"] = None
    report = {**details, "command": command, "slices": measured}
    return {
        "report.json": (json.dumps(report, sort_keys=True, indent=1) + "\n").encode(),
        "README.md": model_card(config, slices, command).encode(),
        "report.svg": chart(slices).encode(),
    }


def rewrite_card(folder: Path, slices: Sequence[SliceReport], evaluated_by: str) -> None:
    """Write what a command measured later into a router directory; how it was fitted is kept."""
    router = read_router(folder)
    old = json.loads(router.read("report.json")[:])
    kept = {key: value for key, value in old.items() if key != "slices"}
    fitted_by = kept.pop("command", "python -m zooter_lite.fit")
    details = kept | {"evaluated_by": evaluated_by}
    rewrite_router(folder, router, documents(router.config, slices, details, fitted_by))


def model_card(config: RouterConfig, slices: Sequence[SliceReport], command: str) -> str:
    """Return README.md of a router directory, from what was measured."""
    encoder, labels, head, training = config.encoder, config.labels, config.head, config.training
    observed = training.observed or [training.rows] * len(config.experts)
    experts = [
        name if count == training.rows else f"{name} (measured on {count} queries)"
        for name, count in zip(config.experts, observed, strict=True)
    ]
    words = f", {encoder.words} of them the prompt's words" if encoder.words else ""
    layers = f"the first {encoder.layers} layers, " if encoder.layers else ""
    lines = [
        f"# Router over {len(experts)} experts",
        "",
        "Sends each prompt to the expert most likely to answer it best. "
        f"Made by zooter-lite with `{command}`.",
        "",
        f"- experts: {', '.join(experts)}",
        f"- encoder: {encoder.name} ({layers}{encoder.dim} dimensions{words}, "
        f"at most {encoder.max_length} tokens, {encoder.pooling} pooling)",
        f"- head: {head.kind}; tags: {labels.tags or 'none'} ({labels.n_tags}); "
        f"temperature {labels.temperature:.4g}, beta {labels.beta}, L2 {head.l2}",
        f"- fitted on {training.rows} queries; settings chosen by "
        f"{training.folds}-fold cross-validation on them alone",
    ]
    if config.decisions.why:
        default, advice = config.decisions.default, config.decisions.recommended
        lines.append(
            f"- decides at the point `{default}` unless asked otherwise; recommended is "
            f"`{advice}`: {config.decisions.why}"
        )
    shown = "![mean rewards](report.svg)"
    lines += ["", shown if slices else "Not evaluated: the table had no split besides `train`.", ""]
    for one in slices:
        lines += [f"## Measured on `{one.split}`", "", one.verdict.text, "", *summary(one), ""]
    lines += [*_precision_section(config), "## Use", "", "```python"]
    lines += ["from zooter_lite import Router", "", 'router = Router.load("path/of/this/folder")']
    return "\n".join([*lines, 'router.route(["a prompt"])', "```", ""])


def with_precision_section(card: str, config: RouterConfig) -> str:
    """Return a model card whose section on precision says what `config` says."""
    before, start, rest = card.partition(PRECISION_MARKS[0])
    _, end, after = rest.partition(PRECISION_MARKS[1])
    if not (start and end):
        return card
    return before + "\n".join(_precision_section(config)[:-1]) + after


def parity_lines(config: RouterConfig) -> list[str]:
    """Return a line per graph: what exporting it changes, on training queries."""
    lines, parity = [], config.parity
    reference = "model2vec" if config.encoder.pooling == STATIC_POOLING else "torch"
    graphs = (("fp32", reference, parity.fp32), ("int8", "fp32", parity.int8))
    for name, against, one in (*graphs, ("fp16", "fp32", parity.fp16)):
        if one is None:
            continue
        lines.append(
            f"{name} against {against} on {one.queries} training queries: largest difference "
            f"of a probability {one.max_difference:.1e}, {one.changed_decisions:.2%} of "
            f"the decisions changed, {one.expected_loss:.3f} points of mean reward lost as "
            f"expected (at most {one.expected_loss_bound:.3f}, one-sided at 95%)"
        )
        if one.spared:
            lines[-1] += f"; {one.spared} of its products stay in fp32"
    if parity.text is not None:
        text = parity.text
        lines.append(
            f"router.text.onnx against router.onnx on {text.queries:.0f} prompts: other tokens "
            f"for {text.changed_tokens:.2%}, {text.changed_decisions:.2%} of the decisions "
            f"changed, largest difference of a probability {text.max_difference:.1e}"
        )
    return lines


def _precision_section(config: RouterConfig) -> list[str]:
    """Return the lines about the graphs, between two marks that `export` looks for."""
    lines = [f"- {line}" for line in parity_lines(config)]
    return [PRECISION_MARKS[0], "## Precision", "", *lines, "", PRECISION_MARKS[1], ""]

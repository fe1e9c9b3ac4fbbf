"""The report in words: a text table, a verdict, and the files for people.

A slice here is one of the `slices` of the report dictionary that `analysis.analyse` makes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zooter_lite.compare.baselines import BEST_SINGLE
from zooter_lite.report.chart import bar_chart
from zooter_lite.router.directory.config import RouterConfig

Json = dict[str, Any]

CERTAIN = 0.975  # paired probability above which a difference is called one
BAR = 24
PRECISION_MARKS = ("<!-- precision -->", "<!-- /precision -->")


def label(system: Json, one: Json) -> str:
    """Name of a system as the tables show it: the best single expert is named too."""
    name: str = system["name"]
    return f"{name} ({one['best_single']})" if name == BEST_SINGLE else name


def text_table(one: Json) -> str:
    """Systems as rows: mean over queries and over subsets (x100) with 95% intervals, and a bar."""
    systems = one["systems"]
    values = [system["micro"]["value"] or 0.0 for system in systems]  # None over nothing
    top = max((value for value in values if value > 0), default=1.0)
    names = [label(system, one) for system in systems]
    width = max(len(name) for name in names)
    lines = [
        f"split {one['split']}: {one['rows']} queries, "
        f"{len(one['subset_rows'])} subsets; mean reward x100 with 95% interval",
        f"{'':{width}}  {'micro':>21}  {'macro':>21}",
    ]
    for name, system, value in zip(names, systems, values, strict=True):
        bar = "█" * round(BAR * max(value, 0.0) / top)
        means = f"{interval(system['micro']):>21}  {interval(system['macro']):>21}"
        lines.append(f"{name:{width}}  {means}  {bar}")
    return "\n".join(lines)


def ranking_table(ranking: Json) -> str:
    """Systems as rows: mean reward (x100) over tasks, mean task rank, share of first places."""
    groups = sorted({group for system in ranking["systems"] for group in system["groups"]})
    width = max((len(system["name"]) for system in ranking["systems"]), default=0)
    lines = [
        f"{ranking['subsets']} subsets of {', '.join(ranking['slices'])}: mean reward x100, mean "
        "rank (MTR, 1 is best), share of subsets where no system is better (uplift), with 95% "
        "intervals" + (f"; MTR by group: {', '.join(groups)}" if groups else ""),
        f"{'':{width}}  {'average':>21}  {'MTR':>21}  {'uplift x100':>21}",
    ]
    for system in ranking["systems"]:
        cells = [
            interval(system["average"]),
            interval(system["mtr"], 1),
            interval(system["uplift"]),
        ]
        ranks = [system["groups"].get(group) for group in groups]
        by_group = "  ".join("   -" if rank is None else f"{rank:4.1f}" for rank in ranks)
        line = f"{system['name']:{width}}  {'  '.join(f'{cell:>21}' for cell in cells)}"
        lines.append(f"{line}  {by_group}".rstrip())
    return "\n".join(lines)


def interval(estimate: Mapping[str, float | None], unit: float = 100) -> str:
    """Write a value with its 95% interval; nan for what cannot be known."""
    value, low, high = (
        float("nan") if estimate[key] is None else unit * float(estimate[key] or 0.0)
        for key in ("value", "low", "high")
    )
    return f"{value:6.2f} [{low:5.1f}, {high:5.1f}]"


def verdict(one: Json) -> str:
    """Say in words whether the router beats the best single expert, and who is ahead of it."""
    router, *others = one["systems"]
    single = next((s for s in others if s["name"] == BEST_SINGLE), None)
    gap = None if single is None or single["gap"] is None else single["gap"]["value"]
    chance = one["gain"]["micro"]
    best = one["best_single"]
    if gap is None or chance is None:
        words = (
            f"cannot be compared with the best single expert ({best}): "
            "no query has an observed reward for both."
        )
    else:
        words = _standing(100 * gap, chance, best)
        words += f" (paired probability of a gain {chance:.3f})."
    text = f"By the mean over the queries of {one['split']}, the router {words}"
    if one["gap_closed"] is not None:
        text += f" It closes {100 * one['gap_closed']:.0f}% of the gap from random to the oracle."
    ahead = [
        s["name"]
        for s in others
        if s["name"] not in (BEST_SINGLE, "oracle") and _above(s["micro"], router["micro"])
    ]
    if ahead:
        text += f" Ahead of it: {', '.join(ahead)}."
    if router["unobserved"]:
        text += (
            f" {router['unobserved']} rows are left out of its mean: "
            "the chosen expert has no observed reward there."
        )
    return text


def _standing(gap: float, chance: float, best: str) -> str:
    if chance >= CERTAIN:
        return f"beats the best single expert ({best}) by {gap:.2f} points"
    if chance <= 1 - CERTAIN:
        return (
            f"is WORSE than the best single expert ({best}) by {-gap:.2f} points: "
            "do not route with it"
        )
    return (
        f"does NOT reliably beat the best single expert ({best}): {gap:+.2f} points, within noise"
    )


def _above(first: Json, second: Json) -> bool:
    values = (first["value"], second["value"])
    return None not in values and values[0] > values[1]


def parity_lines(config: RouterConfig) -> list[str]:
    """One line per precision: what the exported graph changes, on training queries."""
    lines = []
    parity = config.parity
    for name in ("fp32", "int8"):
        found = getattr(parity, name)
        if found is None:
            continue
        reference = "model2vec" if config.encoder.pooling == "static" else "torch"
        against = reference if name == "fp32" else "fp32"
        line = (
            f"{name} against {against} on {found.queries} training queries: largest difference "
            f"of a probability {found.max_difference:.1e}, {found.changed_decisions:.2%} of "
            f"the decisions changed, {found.lost:.3f} points of mean reward lost"
        )
        if name == "int8":
            line += (
                f"; auto asks fp32 again for {found.repeats:.1%} of them, which leaves "
                f"{found.changed_after_repeats:.2%} changed"
            )
            if found.spared:
                line += f"; its last {found.spared:.0f} products stay in fp32"
        lines.append(line)
    if parity.text is not None:
        found = parity.text
        lines.append(
            f"router.text.onnx against router.onnx on {found.queries:.0f} prompts: other tokens "
            f"for {found.changed_tokens:.2%}, {found.changed_decisions:.2%} of the decisions "
            f"changed, largest difference of a probability {found.max_difference:.1e}"
        )
    return lines


def precision_section(config: RouterConfig) -> list[str]:
    """Lines of the model card about the graphs, between two marks that `export` looks for."""
    lines = [f"- {line}" for line in parity_lines(config)]
    return [PRECISION_MARKS[0], "## Precision", "", *lines, "", PRECISION_MARKS[1], ""]


def with_precision_section(card: str, config: RouterConfig) -> str:
    """Return a model card whose section on precision says what `config` says."""
    before, start, rest = card.partition(PRECISION_MARKS[0])
    _, end, after = rest.partition(PRECISION_MARKS[1])
    if not (start and end):
        return card
    return before + "\n".join(precision_section(config)[:-1]) + after


def model_card(config: RouterConfig, slices: Sequence[Json], command: str) -> str:
    """README.md of a router directory, from what was measured."""
    encoder, labels = config.encoder, config.labels
    lines = [
        f"# Router over {len(config.experts)} experts",
        "",
        "Sends each prompt to the expert most likely to answer it best. "
        f"Made by zooter-lite with `{command}`.",
        "",
        f"- experts: {', '.join(config.experts)}",
        f"- encoder: {encoder.name} ({encoder.dim} dimensions, "
        f"at most {encoder.max_length} tokens, {encoder.pooling} pooling)",
        f"- head: {config.head.kind}; tags: {labels.tags or 'none'} "
        f"({labels.n_tags}); temperature {labels.temperature:.4g}, beta {labels.beta}, "
        f"L2 {config.head.l2}",
        f"- fitted on {config.training.rows} queries; settings chosen by "
        f"{config.training.folds}-fold cross-validation on them alone",
        "",
    ]
    if slices:
        lines += ["![mean rewards](report.svg)", ""]
    for one in slices:
        lines += [f"## Measured on `{one['split']}`", "", one["verdict"], ""]
        lines += [*markdown_table(one), "", *_calibration_lines(one), ""]
    if not slices:
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


def _calibration_lines(one: Json) -> list[str]:
    """Lines of the model card on what the probabilities are worth, and where reward is lost."""
    before, after = (one["calibration"][when]["ece"] for when in ("before", "after"))
    lines = [
        f"- expected calibration error x100: {interval(after).strip()}, "
        f"{interval(before).strip()} without calibration"
    ]
    parts = [part for part in one["regret"]["by_subset"] if part["share"] is not None]
    if len(parts) > 1:
        worst = max(parts, key=lambda part: part["share"])
        lines.append(
            f"- mean regret against the oracle x100: {interval(one['regret']['mean']).strip()}; "
            f"{worst['share']:.0%} of it on subset {worst['name']}"
        )
    return lines


def documents(
    config: RouterConfig, slices: Sequence[Json], details: dict[str, Any], command: str
) -> dict[str, bytes]:
    """Content of the files for people: report.json, report.svg and README.md.

    `details` stand in report.json beside the slices. Whoever gets the router can read these
    files, so the texts of the evaluated queries are left out of them.
    """
    report = details | {"command": command, "slices": [without_queries(one) for one in slices]}
    return {
        "report.json": (json.dumps(report, sort_keys=True, indent=1) + "\n").encode(),
        "README.md": model_card(config, slices, command).encode(),
        "report.svg": bar_chart(slices).encode(),
    }


def rewritten_card(
    config: RouterConfig, slices: Sequence[Json], old: Mapping[str, Any], evaluated_by: str
) -> dict[str, bytes]:
    """Content of the files for people after a later evaluation.

    Parameters
    ----------
    config
        config.json of the router.
    slices
        What was found.
    old
        Content of the router's report.json: how it was fitted is kept.
    evaluated_by
        Command of the evaluation.
    """
    kept = {key: value for key, value in old.items() if key not in ("slices", "comparisons")}
    fitted_by = kept.pop("command", "python -m zooter_lite.fit")
    details = kept | {"evaluated_by": evaluated_by}
    return documents(config, slices, details, fitted_by)


def without_queries(one: Json) -> Json:
    """Return a slice without the text of any query; the ids stay."""
    worst = [row | {"query": None} for row in one["regret"]["worst"]]
    noise = one["robustness"]
    return one | {
        "regret": one["regret"] | {"worst": worst},
        "robustness": noise and [row | {"example": None} for row in noise],
    }


def markdown_table(one: Json) -> list[str]:
    """Lines of a Markdown table, mean reward x100 with 95% intervals."""
    lines = ["| method | micro | macro |", "|---|---|---|"]
    for system in one["systems"]:
        text = label(system, one)
        name = f"**{text}**" if system["role"] == "router" else text.replace("|", "\\|")
        lines.append(
            f"| {name} | {interval(system['micro']).strip()} "
            f"| {interval(system['macro']).strip()} |"
        )
    return lines

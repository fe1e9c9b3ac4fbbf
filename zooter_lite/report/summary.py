"""The report's answer over all slices, and the captions of what spans them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from zooter_lite.report.captions import Caption, best_rival_of, best_single_of, router_of
from zooter_lite.report.words import (
    STANDING_WORDS,
    counted,
    listed,
    number,
    percent,
    said,
    side,
    standing,
)

Json = dict[str, Any]


def verdict_rows(report: Json) -> list[Json]:
    """Per slice what the first table shows: router, best single, best rival and the gaps."""
    rows = []
    for one in report["slices"]:
        single, rival = best_single_of(one), best_rival_of(one)
        gap = single and single["gap"]
        row: Json = {
            "name": one["name"],
            "rows": one["rows"],
            "router": router_of(one)["micro"],
            "single_name": one["best_single"],
            "single": single and single["micro"],
            "gap": gap,
            "standing": standing(gap),
            "rival_name": rival and rival["name"],
            "rival": rival and rival["micro"],
            "rival_gap": rival and rival["gap"],
            "rival_standing": standing(rival and rival["gap"]),
            "gap_closed": percent(one["gap_closed"]),
        }
        rows.append(row | {"sentence": _against_single(row)})
    return rows


def answer(rows: list[Json]) -> tuple[str, list[str]]:
    """Say in a headline and a few sentences whether routing pays."""
    counts = Counter(row["standing"] for row in rows)
    if not rows:
        return "Nothing was evaluated", []
    if len(rows) == 1:
        headline = {
            "better": "Routing pays here",
            "worse": "Routing does not pay here",
            "unclear": "Routing is not shown to pay here",
            "unknown": "No comparison is possible",
        }[rows[0]["standing"]]
    elif counts["better"] == len(rows):
        headline = f"Routing pays on all {len(rows)} test sets"
    elif counts["better"]:
        headline = f"Routing pays on {counts['better']} of {len(rows)} test sets"
        headline += f", and costs reward on {counts['worse']}" if counts["worse"] else ""
    elif counts["worse"]:
        headline = "Routing does not pay on any test set"
    else:
        headline = "Routing is not shown to pay on any test set"
    return headline, [*(row["sentence"] for row in rows), *_against_rivals(rows)]


def _against_single(row: Json) -> str:
    start = f"{row['name']}: the router "
    if row["standing"] == "unknown":
        return start + "cannot be compared with the best single expert."
    gap, expert = said(row["gap"], 2, signed=True), row["single_name"]
    if row["standing"] == "better":
        return start + f"earns {gap} points over always asking {expert}, the best expert on train."
    if row["standing"] == "worse":
        return start + (
            f"is WORSE than always asking {expert}, the best expert on train: {gap} points. "
            "Do not route there with it."
        )
    text = start + f"is within noise of always asking {expert}: {gap} points."
    if side(row["gap"]):
        text += (
            " This interval alone leaves 0 out, but the Holm-corrected p is "
            f"{row['gap']['p_holm']:.3f}."
        )
    return text


def _against_rivals(rows: list[Json]) -> list[str]:
    """Say how the router stands against the strongest baseline of each slice."""
    known = [row for row in rows if row["rival_standing"] != "unknown"]
    if not known:
        return []
    if len(known) == 1:
        row = known[0]
        return [
            f"Against the strongest baseline there ({row['rival_name']}): "
            f"{STANDING_WORDS[row['rival_standing']]}, "
            f"{said(row['rival_gap'], 2, signed=True)} points."
        ]
    groups = {
        standing: [row["name"] for row in known if row["rival_standing"] == standing]
        for standing in ("better", "unclear", "worse")
    }
    words = {"better": "ahead on", "unclear": "within noise on", "worse": "behind on"}
    parts = [
        f"{words[standing]} {len(names)} ({listed(names)})"
        for standing, names in groups.items()
        if names
    ]
    return [f"Against the strongest baseline of each test set the router is {listed(parts)}."]


def ranking(report: Json) -> Caption:
    """Mean task rank of the systems present everywhere."""
    ranked = report["ranking"]
    shows = (
        f"Mean task rank (MTR) over {counted(ranked['subsets'], 'subset')} of "
        f"{counted(len(ranked['slices']), 'test set')}: 1 would be first everywhere, ties are "
        "averaged. 95% intervals from resampling the queries of each subset."
    )
    systems = [s for s in ranked["systems"] if s["mtr"]["value"] is not None]
    systems.sort(key=lambda system: system["mtr"]["value"])
    place = next((i for i, s in enumerate(systems) if s["role"] == "router"), None)
    if place is None:
        return shows, "The router is not ranked."
    router = systems[place]
    means = (
        f"The router is number {place + 1} of {len(systems)} by MTR: {said(router['mtr'], 2, 1)}"
    )
    means += f"; it is first in {said(router['uplift'], unit='%')} of the subsets (%Uplift)."
    close = [s["name"] for s in systems if s is not router and _overlap(s["mtr"], router["mtr"])]
    if close:
        means += f" Intervals overlap with {listed(close)}: their order is not settled."
    return shows, means


def _overlap(first: Json, second: Json) -> bool:
    ends = (first["low"], first["high"], second["low"], second["high"])
    if None in ends:
        return True
    return bool(first["low"] <= second["high"] and second["low"] <= first["high"])


def slices_of(rows: list[Json]) -> list[str]:
    """Return the slices that any setting of an ablation was measured on, in order."""
    return list(dict.fromkeys(name for row in rows for name in row["values"]))


def ablation(rows: list[Json], what: str) -> Caption:
    """Compare the settings of one choice: whether any differs from another beyond its interval."""
    shows = f"Mean reward ×100 with {what}, everything else fixed; 95% intervals."
    found = []
    for name in slices_of(rows):
        measured = [row for row in rows if name in row["values"]]
        known = [row for row in measured if row["values"][name]["micro"]["value"] is not None]
        if len(known) > 1:
            known.sort(key=lambda row: row["values"][name]["micro"]["value"])
            ends = [known[place]["values"][name]["micro"] for place in (-1, 0)]
            words = f"{name}: {known[-1]['label']} over {known[0]['label']}"
            found.append((ends[0]["value"] - ends[1]["value"], words, _overlap(*ends)))
    if not found:
        return shows, "Too few settings were measured to compare."
    apart = [words for _, words, overlap in found if not overlap]
    distance, words, _ = max(found)
    means = (
        f"The best and the worst setting are at most {number(distance)} points apart ({words}). "
    )
    if apart:
        means += (
            f"Their intervals do not overlap on {len(apart)} of {len(found)} ({listed(apart)})."
        )
    else:
        means += "Their intervals overlap on every test set: no setting is shown to be better."
    return shows, means + " The intervals are of each setting alone, not of paired differences."


def learning(curve: dict[str, list[Json]]) -> Caption:
    """Reward over the number of training rows."""
    shows = "Mean reward ×100 of the head fitted on a share of the training rows; 95% bands."
    parts = []
    for name, points in curve.items():
        known = [point for point in points if point["micro"]["value"] is not None]
        if len(known) < 2:
            continue
        first, last = known[0]["micro"], known[-1]["micro"]
        change = number(last["value"] - first["value"], signed=True)
        clear = "within noise" if _overlap(first, last) else "beyond the intervals"
        parts.append(f"{name} {change} points from {known[0]['rows']:,} to "
                     f"{known[-1]['rows']:,} rows ({clear})")  # fmt: skip
    return shows, ("; ".join(parts) + ".") if parts else "Too few sizes to compare."

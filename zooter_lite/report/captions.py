"""What each figure of one slice shows and what its numbers mean, bad news included.

Every function takes a slice of the report dictionary and returns two sentences (or a few):
what is drawn, and what it says.
"""

from __future__ import annotations

from typing import Any

from zooter_lite.report.words import (
    MISSING,
    counted,
    listed,
    number,
    percent,
    said,
    side,
    standing,
)

Json = dict[str, Any]
Caption = tuple[str, str]


def router_of(one: Json) -> Json:
    """Return the router among the systems of a slice."""
    return next(system for system in one["systems"] if system["role"] == "router")


def best_single_of(one: Json) -> Json | None:
    """Return the system that always asks the expert that was best on train."""
    named = [s for s in one["systems"] if s["name"].startswith("best single")]
    same = [s for s in one["systems"] if s["name"] == f"always {one['best_single']}"]
    return next(iter(named + same), None)


def best_rival_of(one: Json) -> Json | None:
    """Return the baseline with the highest mean over queries, other than the best single."""
    rivals = [
        s
        for s in one["systems"]
        if s["role"] == "baseline" and s["micro"]["value"] is not None and s != best_single_of(one)
    ]
    return max(rivals, key=lambda s: s["micro"]["value"], default=None)


def compared(one: Json) -> list[Json]:
    """Systems with a gap to the router that counts, the best single expert once."""
    best = best_single_of(one)
    twin = f"always {one['best_single']}" if best and best["role"] == "baseline" else None
    rivals = [s for s in one["systems"] if s["role"] in ("baseline", "single")]
    return [s for s in rivals if s["gap"] and s["name"] != twin]


def systems(one: Json) -> Caption:
    """Mean rewards of all systems."""
    shows = (
        f"Mean reward ×100 over {counted(one['rows'], 'query')}, with 95% bootstrap intervals. "
        "Bold: the router."
    )
    ranked = [s for s in one["systems"] if s["role"] != "bound" and s["micro"]["value"] is not None]
    ranked.sort(key=lambda s: -s["micro"]["value"])
    router = router_of(one)
    if router not in ranked:
        return shows, "The router has no observed reward here."
    place = ranked.index(router)
    means = (
        f"By its mean the router is number {place + 1} of {len(ranked)}: {said(router['micro'])}."
    )
    if place:
        means += f" Above it: {listed(s['name'] for s in ranked[:place])}."
    bounds = [f"{s['name']} {said(s['micro'])}" for s in one["systems"] if s["role"] == "bound"]
    if bounds:
        means += f" Not drawn, to keep the scale: {listed(bounds)}."
    return shows, means


def gaps(one: Json) -> Caption:
    """Paired differences between the router and every other system."""
    shows = (
        "Router minus each other system on the same queries (paired bootstrap). Right of 0 the "
        "router is ahead. Hollow: not significant once Holm's correction counts all comparisons."
    )
    found: dict[str, list[str]] = {"better": [], "unclear": [], "worse": [], "unknown": []}
    for system in compared(one):
        found[standing(system["gap"])].append(system["name"])
    if not any(found.values()):
        return shows, "There is nothing to compare with."
    parts = [f"reliably ahead of {len(found['better'])}"]
    if found["unclear"]:
        parts.append(f"within noise of {len(found['unclear'])} ({listed(found['unclear'])})")
    if found["worse"]:
        parts.append(f"reliably behind {len(found['worse'])} ({listed(found['worse'])})")
    means = f"Of {counted(len(compared(one)), 'system')} the router is {listed(parts)}."
    if found["unknown"]:
        means += f" Not comparable: {listed(found['unknown'])}."
    return shows, means


def subsets(one: Json, rows: list[Json]) -> Caption:
    """Router against best single and best rival in every subset; rows of `page`."""
    shows = (
        "Mean reward ×100 in each subset; shaded where the router is ahead (▲, blue) or behind "
        "(▼, orange) by more than 0.5 points."
    )
    known = [row for row in rows if row["over_single"] is not None]
    if not known:
        return shows, "No subset has rewards of both."
    ahead = [row for row in known if row["over_single"] > 0]
    best, worst = (pick(known, key=lambda row: row["over_single"]) for pick in (max, min))
    means = f"The router is above the best single expert in {len(ahead)} of {len(known)} subsets; "
    means += f"most in {best['name']} ({number(best['over_single'], signed=True)}), "
    means += f"least in {worst['name']} ({number(worst['over_single'], signed=True)}). "
    small = [row for row in known if row["rows"] < 200]
    means += "Single subsets carry no interval here"
    means += f"; {len(small)} of them have fewer than 200 queries." if small else "."
    return shows, means


def shares(one: Json) -> Caption:
    """Where the router sends queries, beside where the oracle would."""
    shows = (
        "Share of the queries sent to each expert by the router, and by the oracle "
        "(ties shared among the best)."
    )
    ordered = sorted(one["shares"].items(), key=lambda item: -item[1])
    used = [name for name, share in ordered if share >= 0.01]
    top, share = ordered[0]
    means = f"{len(used)} of {len(ordered)} experts get 1% or more; {top} gets {percent(share)}."
    if share >= 0.95:
        means += " It hardly routes: almost everything goes to one expert."
    return shows, means


def confusion(one: Json) -> Caption:
    """Chosen expert against the oracle's."""
    shows = (
        "Per cent of all queries. Row: the best expert (ties shared); column: the chosen one; "
        "the diagonal is agreement."
    )
    experts, matrix = one["confusion"]["experts"], one["confusion"]["matrix"]
    agreed = sum(matrix[i][i] for i in range(len(experts)))
    wrong = [
        (matrix[i][j], experts[i], experts[j])
        for i in range(len(experts))
        for j in range(len(experts))
        if i != j
    ]
    share, best, chosen = max(wrong)
    means = f"{percent(agreed)} of the queries lie on the diagonal; choosing at random would put "
    means += f"{percent(1 / len(experts))} there. The most common miss: {chosen} where "
    means += f"{best} is best ({percent(share)} of all queries)."
    return shows, means


def regret(one: Json, part: str) -> Caption:
    """Lost reward by subset or by tag; `part` is `by_subset` or `by_tag`."""
    noun = "subset" if part == "by_subset" else "tag"
    shows = f"Reward ×100 lost against the oracle per query, by {noun}, with 95% intervals."
    rows = [row for row in one["regret"][part] if row["regret"]["value"] is not None]
    if not rows:
        return shows, "Nothing was observed."
    worst = max(rows, key=lambda row: row["regret"]["value"])
    means = f"Over all queries {said(one['regret']['mean'])} points are lost"
    means += f"; most per query in {worst['name']}: {said(worst['regret'])}."
    largest = max(rows, key=lambda row: row["share"] or 0)
    if part == "by_subset" and largest["share"] is not None:
        means += f" {largest['name']} alone holds {percent(largest['share'])} of the whole loss."
    return shows, means


def calibration(one: Json) -> Caption:
    """Reliability before and after temperature scaling."""
    shows = (
        "How often the chosen expert was a best one, over the probability stated for it; on the "
        "dashed line they agree. Before: temperature 1."
    )
    before, after = one["calibration"]["before"]["ece"], one["calibration"]["after"]["ece"]
    means = f"The expected calibration error goes from {said(before)} to {said(after)} points: "
    ends = (before["low"], before["high"], after["low"], after["high"])
    if None in ends:
        return shows, means + "without intervals nothing can be concluded."
    if after["high"] < before["low"]:
        means += "calibration helps."
    elif after["low"] > before["high"]:
        means += "calibration makes it WORSE."
    else:
        means += "the intervals overlap, so no clear change."
    if after["low"] > 0.05:
        means += " The stated probabilities are still off by more than 5 points."
    return shows, means


def selective(one: Json) -> Caption:
    """Reward over the most confident share of queries."""
    curve = one["selective"]
    shows = (
        "Mean reward ×100 over the queries that the router is most confident about, with its 95% "
        "band; the dashed line is the mean over all."
    )
    overall = curve["overall"]
    known = [i for i, c in enumerate(curve["coverage"]) if curve["reward"][i] is not None and c]
    if overall is None or not known:
        return shows, "Nothing was observed."
    half = min(known, key=lambda i: abs(curve["coverage"][i] - 0.5))
    estimate = {"value": curve["reward"][half]} | {end: curve[end][half] for end in ("low", "high")}
    means = f"The most confident {percent(curve['coverage'][half])} earn {said(estimate)}, "
    means += f"all of them {number(overall)}: "
    if estimate["low"] is not None and estimate["low"] > overall:
        means += "confidence is worth something."
    elif estimate["high"] is not None and estimate["high"] < overall:
        means += "the MORE confident, the worse; do not trust its confidence."
    else:
        means += "within noise, so its confidence says little about the reward."
    return shows, means


def entropy(one: Json) -> Caption:
    """Reward entropy against the quality of the choice (the paper's Figure 3)."""
    shows = (
        "Reward ×100 of the router's choice above the mean of all experts (dashed: none), over the "
        "entropy in nats of the softmax of the query's rewards (the paper's Figure 3), by bins, "
        "with 95% intervals."
    )
    rank = one["entropy"]["spearman"]
    means = f"Rank correlation {said(rank, 2, 1.0)}: "
    means += {
        -1: "the more alike the rewards are, the less the choice gains.",
        0: "no clear relation.",
        1: "the choice gains more where the rewards are more alike.",
    }[side(rank)]
    return shows, means


def costs(one: Json) -> Caption:
    """Cost against quality."""
    spent = one["costs"]
    shows = (
        "Mean reward ×100 over mean cost per query. Dots: settings of the cost weight; lines: "
        "their non-decreasing hull, for the router and the three baselines with the largest area. "
        "Numbered triangles: single experts, cheapest first. The dotted line needs no router: it "
        "mixes single experts at random, picked on these rows, which favours it."
    )
    known = [s for s in spent["systems"] if s["aiq"]["value"] is not None]
    areas = sorted(known, key=lambda s: -float(s["aiq"]["value"]))
    place = next((i for i, s in enumerate(areas) if s["role"] == "router"), None)
    if place is None:
        means = "The area under the router's hull (AIQ) is not known."
    else:
        means = f"By the area under its hull (AIQ) the router is number {place + 1} of "
        means += f"{len(areas)}: {said(areas[place]['aiq'])}."
        if place:
            means += f" First is {areas[0]['name']}: {said(areas[0]['aiq'])}."
    means += f" Between {spent['weak']} (weak) and {spent['strong']} (strong) the router recovers "
    means += f"{said(spent['apgr'], 2, 1.0)} of the gap on average (APGR"
    means += "; 0.5 is what random mixing gets). "
    if spent["apgr"]["low"] is not None and not spent["apgr"]["low"] > 0.5:
        better = spent["apgr"]["high"] >= 0.5
        means += "That is within noise of random mixing. " if better else "WORSE than random. "
    for share, estimate in spent["cpt"].items():
        reached = f"takes {said(estimate, unit='%')} strong calls"
        reached = reached if estimate["value"] is not None else "is not reached"
        means += f"Recovering {share}% of the gap {reached} (CPT). "
    on_frontier = listed(spent["frontier"], 8) or MISSING
    return shows, means + f"Not beaten at their cost: {on_frontier}."


def robustness(one: Json) -> Caption:
    """Flipped choices and lost reward under changed wording."""
    shows = (
        "Share of the choices that change when the prompt is reworded, and the reward ×100 lost "
        "by it, with 95% intervals."
    )
    kinds = [k for k in one["robustness"] if k["flips"]["value"] is not None]
    if not kinds:
        return shows, "Nothing was measured."
    most = max(kinds, key=lambda kind: kind["flips"]["value"])
    means = f"{most['name']} flips most: {said(most['flips'], unit='%')}. "
    costly = [k for k in kinds if side(k["lost"]) > 0]
    names = listed(f"{k['name']} ({said(k['lost'])} points)" for k in costly)
    means += f"Reward is lost beyond noise with {names}." if costly else "No loss beyond noise."
    return shows, means

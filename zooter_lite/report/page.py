"""The report as one HTML file that needs nothing else: no network, no script, no font."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.files.atomic import atomic_text
from zooter_lite.report import captions, figures, summary, words
from zooter_lite.report.captions import best_rival_of, best_single_of, router_of

if TYPE_CHECKING:
    from jinja2 import Environment

Json = dict[str, Any]

FORMAT = 1
FOLDED = 240  # characters of a prompt that stand on the page unfolded
LONGEST = 4000  # characters of a prompt that the page holds at all
NEAR = 0.005  # difference of rewards below which a cell is not shaded


def write_report(report: Json, path: str) -> None:
    """Render a report dictionary and write it to `path`, complete or not at all.

    Raises
    ------
    DataError
        The path cannot be written, or the dictionary has another format.
    MissingPackageError
        jinja2 or matplotlib is not installed.
    """
    page = render(report)
    with atomic_text(path) as stream:
        stream.write(page)


def render(report: Json) -> str:
    """Return the HTML page of a report dictionary; equal dictionaries give equal pages.

    Every text in it is shown as text, whatever it holds.

    Raises
    ------
    DataError
        The dictionary has another format.
    MissingPackageError
        jinja2 or matplotlib is not installed.
    """
    if report.get("format") != FORMAT:
        raise DataError(f"report: format {report.get('format')!r}; expected {FORMAT}")
    template = _environment().get_template("report.html.j2")
    shown = words.visible(report)
    rows = summary.verdict_rows(shown)
    headline, sentences = summary.answer(rows)
    return template.render(
        report=shown,
        verdicts=rows,
        headline=headline,
        sentences=sentences,
        slices=[_slice(*numbered, shown, rows) for numbered in enumerate(shown["slices"])],
        overall=figures.of_all(shown),
        ranked=_ranked(shown),
        ablations=_ablations(shown),
    )


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingPackageError(str(error.name), "report", "the HTML report") from error
    environment = Environment(
        loader=PackageLoader("zooter_lite.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "interval": words.interval,
        "percent": words.percent,
        "p_value": words.p_value,
        "standing": words.standing,
        "counted": words.counted,
    }
    environment.globals |= {
        "marks": words.MARKS,
        "standing_words": words.STANDING_WORDS,
        "folded": FOLDED,
        "longest": LONGEST,
    }
    return environment


def _slice(place: int, one: Json, report: Json, verdicts: list[Json]) -> Json:
    """Collect what the template needs of one slice; the first is unfolded."""
    name = f"s{place + 1}"
    subsets = _subset_rows(one)
    alone = len(report["slices"]) == 1
    return {
        "data": one,
        "id": name,
        "open": place == 0,
        "verdict": verdicts[place],
        "figures": figures.of_slice(one, name),
        "leaderboard": _leaderboard(one),
        "ranks": {s["name"]: s for s in report["ranking"]["systems"]} if alone else None,
        "subsets": subsets,
        "subsets_caption": captions.subsets(one, subsets),
        "rival_name": (best_rival_of(one) or {"name": None})["name"],
        "confusion_caption": captions.confusion(one),
        "worst": [{**w, "shown": w["query"][:LONGEST]} for w in one["regret"]["worst"]],
    }


def _leaderboard(one: Json) -> list[Json]:
    """Systems by mean over queries, the highest first; bounds stand where they fall."""

    def key(system: Json) -> float:
        value = system["micro"]["value"]
        return float("-inf") if value is None else float(value)

    return sorted(one["systems"], key=key, reverse=True)


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _subset_rows(one: Json) -> list[Json]:
    """Per subset the means of the router, the best single and the best rival, by group."""
    router, single, rival = router_of(one), best_single_of(one), best_rival_of(one)
    rows = []
    for name, count in one["subset_rows"].items():
        means = [None if s is None else s["subsets"].get(name) for s in (router, single, rival)]
        rows.append(
            {
                "name": name,
                "group": one["groups"].get(name, ""),
                "rows": count,
                "router": means[0],
                "single": means[1],
                "rival": means[2],
                "over_single": _difference(means[0], means[1]),
                "over_rival": _difference(means[0], means[2]),
            }
        )
    for row in rows:
        for key in ("over_single", "over_rival"):
            row[f"{key}_class"], row[f"{key}_strength"] = _shade(row[key])
    return sorted(rows, key=lambda row: (row["group"], row["name"]))


def _shade(difference: float | None) -> tuple[str, str]:
    """Class of a cell, and its strength from 0 to 1, which 15 points reach."""
    if difference is None or abs(difference) <= NEAR:
        return "near", "0"
    strength = f"{min(1.0, 0.2 + abs(difference) / 0.19):.2f}"
    return ("ahead" if difference > 0 else "behind"), strength


def _ranked(report: Json) -> Json:
    """Systems by MTR, and the groups in order of name."""
    systems = report["ranking"]["systems"]
    groups = sorted({group for system in systems for group in system["groups"]})
    known = [system for system in systems if system["mtr"]["value"] is not None]
    return {"systems": sorted(known, key=lambda s: float(s["mtr"]["value"])), "groups": groups}


def _ablations(report: Json) -> list[Json]:
    """Every ablation as a table: settings as rows, slices as columns."""
    titles = {"beta": "β", "labels": "labels", "kl": "KL divergence", "encoder": "encoder"}
    found = report["ablations"] or {}
    return [
        {"title": titles[key], "slices": summary.slices_of(found[key]), "rows": found[key]}
        for key in titles
        if found.get(key)
    ]

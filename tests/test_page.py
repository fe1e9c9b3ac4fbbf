"""The HTML report: one file, its numbers, its honesty, and strangers' text shown as text."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from base64 import b64decode
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report_example import HOSTILE, around, example, one_slice
from zooter_lite.errors import MissingPackageError
from zooter_lite.measure.ranks import Ranking
from zooter_lite.measure.results import Report, Verdict
from zooter_lite.measure.significance import Outcome
from zooter_lite.report import page, readable
from zooter_lite.report.page import headline, notebook, render

VOID = {"meta", "br"}


class Document(HTMLParser):
    """Tags, attributes and visible text of a page; raises where the nesting is broken."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def full() -> str:
    return render(example(2))


@pytest.fixture(scope="module")
def document(full: str) -> Document:
    return Document(full)


def words(text: str) -> str:
    """Visible text on one line."""
    return " ".join(" ".join(Document(text).text).split())


def bare(**changed: Any) -> Report:
    """Return one slice, so changed, without anything that may be absent."""
    one = replace(one_slice(), **({"costs": None, "points": ()} | changed))
    return Report({one.name: one}, example().ranking)


def test_equal_reports_give_equal_bytes(full: str) -> None:
    assert render(example(2)) == full


def test_nothing_is_loaded_and_nothing_runs(full: str, document: Document) -> None:
    banned = {"script", "img", "iframe", "link", "object", "image", "foreignobject"}
    assert not banned & set(document.tags)
    for tag, key, value in document.attributes:
        assert not key.startswith("on"), (tag, key)
        assert key not in ("src", "srcset", "action", "xlink:href"), (tag, key)
        assert key != "href" or value.startswith("#"), (tag, value)
    assert not re.search(r"url\(|@import", full)
    policy = [v for _, k, v in document.attributes if k == "content" and "default-src" in v]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_ids_are_unique_and_every_reference_has_its_target(document: Document) -> None:
    ids = [value for _, key, value in document.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for _, k, v in document.attributes if k == "href"} <= set(ids)


def test_hostile_text_is_shown_as_text(full: str, document: Document) -> None:
    shown = "".join(document.text)
    for part in (HOSTILE.partition("\u202e")[0], "⟨U+202E⟩", "␀␇␛[31m", "⟨U+D800⟩", "السلام"):
        assert part in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", full)
    assert "</script" not in full


def test_hostile_names_are_shown_as_text() -> None:
    name = '"><svg onload=alert(1)>$\\frac$ \u202e</title>-->'
    one = one_slice()
    systems = [*(replace(system, name=name) for system in one.systems), one.systems[1]]
    report = bare(
        name=name,
        best_expert=name,
        systems=systems,
        shares={name: 1.0},
        best_shares={name: 1.0},
        verdict=Verdict("better", 0.01, name),
        regret=replace(
            one.regret, by_subset=[replace(part, name=name) for part in one.regret.by_subset]
        ),
    )
    for made in (render(replace(report, made={name: name})), notebook(report)):
        parsed = Document(made.replace("<img ", "<br "))
        assert not [key for _, key, _ in parsed.attributes if key.startswith("on")]
        assert '"><svg onload=alert(1)>$\\frac$ ⟨U+202E⟩</title>-->' in "".join(parsed.text)


def test_numbers_stand_with_their_intervals_and_the_verdict_first() -> None:
    one = one_slice()
    router, single, *others = one.systems
    assert single.gap is not None
    each = dict.fromkeys(one.subset_rows, 0.03)
    gap = replace(single.gap, value=0.0123, low=0.0043, high=0.0203, subsets=each)
    systems = [
        replace(router, micro=around(0.61234, 0.0125)),
        replace(single, gap=gap),
        *others,
    ]
    report = bare(systems=systems, verdict=Verdict("better", 0.01, "The router beats bee."))
    text = words(render(report))
    assert "61.2 [60.0, 62.5]" in text
    assert "+1.23 [0.43, 2.03]" in text
    assert "▲ +3.0" in text
    places = [
        text.index(part) for part in ("Routing pays here", "The router beats bee.", "Leaderboard")
    ]
    assert places == sorted(places)


def test_the_leaderboard_falls_and_what_is_unknown_stands_last() -> None:
    first, single, *others = one_slice().systems
    values = {"low-x": 0.3, "hidden-x": math.nan, "high-x": 0.5}
    named = [replace(others[-1], name=n, micro=around(v)) for n, v in values.items()]
    text = words(render(bare(systems=[first, single, *named]))).partition("Leaderboard")[2]
    assert text.index("high-x") < text.index("low-x") < text.index("hidden-x")


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([], "Nothing was evaluated"),
        (["better"], "Routing pays here"),
        (["better", "worse", "better"], "Routing pays on 2, does not pay on 1 of 3 test sets"),
    ],
)
def test_the_headline_counts_the_test_sets_where_routing_pays(
    outcomes: list[Outcome], said: str
) -> None:
    one = one_slice()
    assert headline([replace(one, verdict=Verdict(o, 0.5, "")) for o in outcomes]) == said


def test_parts_that_were_not_measured_are_absent(full: str) -> None:
    headings = ("Cost against", "How it")
    partial, whole = words(render(bare())), words(full)
    assert not [heading for heading in headings if heading in partial]
    assert [heading for heading in headings if heading in whole] == list(headings)
    points = one_slice().points
    assert [point.name for point in points] == ["quality", "match"]
    assert all(point.verdict in whole for point in points)


def test_a_report_of_unknown_numbers_is_still_a_page() -> None:
    def holed(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: holed(getattr(value, f.name)) for f in fields(value)})
        if isinstance(value, dict):
            return {key: holed(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(holed, value))
        return math.nan if isinstance(value, float) else value

    shown = words(render(holed(example())))
    assert "nan" not in shown.lower().split()
    assert "None" not in shown
    render(Report({}, Ranking(0, [], [])))


def test_a_notebook_shows_the_verdicts_and_a_picture_that_needs_nothing() -> None:
    report = example(2)
    shown = notebook(report)
    for one in report.slices.values():
        assert f"<p>{escape(one.verdict.text)}</p>" in shown
    data = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', shown)
    assert "routerdc ood: mean reward ×100" in b64decode(data[0]).decode()
    assert shown.count("src=") == 1


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    page._template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'zooter-lite\[report\]'"):
        render(bare())


def test_numbers_shares_p_values_and_counts() -> None:
    given = ((0.0123, 2, True), (-0.00001, 2, True), (123.4, 0, False), (math.nan, 1, True))
    shown = [readable.number(value, digits, signed=signed) for value, digits, signed in given]
    assert shown == ["+1.23", "0.00", "12,340", "–"]
    shares = [readable.percent(p) for p in (0.5, 0.0951, 0.0996, math.nan)]
    assert shares == ["50%", "9.5%", "10%", "–"]
    assert [readable.p_value(p) for p in (0.0009, 0.001, math.nan)] == ["<0.001", "0.001", "–"]
    assert [readable.counted(n, "query") for n in (1, 1200)] == ["1 query", "1,200 queries"]
    assert readable.interval(around(math.nan)) == ""


def test_visible_shows_what_would_act() -> None:
    assert readable.visible("a\x00b\x1b\x7f\n\t") == "a␀b␛␡\n\t"
    assert readable.visible("\u202eevil\u2066") == "⟨U+202E⟩evil⟨U+2066⟩"
    assert readable.visible("\ud800\uffff\u2028\x85") == "⟨U+D800⟩⟨U+FFFF⟩⟨U+2028⟩⟨U+0085⟩"
    assert readable.visible("السلام 列出 é 👩‍💻") == "السلام 列出 é 👩‍💻"


@given(st.text(st.characters()))
def test_visible_text_is_utf8_without_controls_and_stays_so(text: str) -> None:
    shown = readable.visible(text)
    shown.encode("utf-8")
    assert not {unicodedata.category(c) for c in shown if c not in "\n\t"} & {"Cc", "Cs"}
    assert readable.visible(shown) == shown

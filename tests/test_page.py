"""The HTML report: one file, its numbers, its honesty, and strangers' text shown as text."""

from __future__ import annotations

import copy
import random
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.report_example import HOSTILE, example
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.report import page
from zooter_lite.report.page import render, write_report

pytest.importorskip("matplotlib")

VOID = {"meta", "br", "path", "use", "rect"}


class Document(HTMLParser):
    """Tags, attributes and visible text of a page; raises where the nesting is broken."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        self.ids += [value or "" for key, value in attrs if key == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
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


def bare(slices: int = 1) -> dict[str, Any]:
    """A report without anything that may be absent."""
    report = example(slices, costs=False)
    report |= dict.fromkeys(("ablations", "learning_curve", "reward_ranking"))
    for one in report["slices"]:
        one["robustness"] = None
    return report


def test_equal_reports_give_equal_bytes_and_the_report_is_left_alone(full: str) -> None:
    report = example(2)
    before = copy.deepcopy(report)
    assert render(report) == full
    assert report == before


def test_nothing_is_loaded_and_nothing_runs(document: Document) -> None:
    assert not {"script", "img", "iframe", "link", "object", "image", "foreignobject"} & set(
        document.tags
    )
    for tag, key, value in document.attributes:
        assert not key.startswith("on"), (tag, key)
        assert key not in ("src", "srcset", "action"), (tag, key)
        if key in ("href", "xlink:href"):
            assert value.startswith("#"), (tag, value)
        if "url(" in value:
            assert "url(#" in value, (tag, value)
    policy = [v for _, k, v in document.attributes if k == "content" and "default-src" in v]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_style_sheet_asks_for_nothing(full: str) -> None:
    style = re.findall(r"<style>(.*?)</style>", full, re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    assert "prefers-color-scheme: dark" in style[0]


def test_ids_are_unique_and_every_reference_has_its_target(document: Document) -> None:
    assert len(document.ids) == len(set(document.ids))
    used = {v[1:] for _, k, v in document.attributes if k == "href"}
    used |= {v[5:-1] for _, k, v in document.attributes if k == "clip-path"}
    assert used <= set(document.ids)


def test_every_colour_of_a_figure_is_a_variable_that_both_themes_know(full: str) -> None:
    figures = "".join(re.findall(r'<svg class="plot".*?</svg>', full, re.DOTALL))
    assert not re.search(r"(fill|stroke): ?#", figures)
    light, dark = full.split("@media (prefers-color-scheme: dark)")[:2]
    for name in set(re.findall(r"var\(--([\w-]+)\)", figures)):
        assert f"--{name}:" in light, name
        assert f"--{name}:" in dark.split("* { box-sizing")[0], name


def test_hostile_text_is_shown_as_text(full: str, document: Document) -> None:
    assert "b" in document.tags
    shown = "".join(document.text)
    start = HOSTILE.partition("\u202e")[0]
    assert start in shown
    assert "⟨U+202E⟩" in shown
    assert "␀␇␛[31m" in shown
    assert "⟨U+D800⟩" in shown
    assert "السلام" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", full)
    assert "</script" not in full


def test_hostile_names_are_shown_as_text() -> None:
    report = bare()
    one = report["slices"][0]
    name = '"><svg onload=alert(1)>$\\frac$ \u202e</title>-->'
    one["name"] = one["best_single"] = name
    one["systems"][2]["name"] = name
    one["experts"][0] = one["confusion"]["experts"][0] = name
    one["shares"] = {name: 0.5} | one["shares"]
    one["regret"]["by_tag"][0]["name"] = name
    one["regret"]["worst"][0]["subset"] = name
    report["made"]["command"] = name
    document = Document(render(report))
    assert not [key for _, key, _ in document.attributes if key.startswith("on")]
    assert "script" not in document.tags
    assert '"><svg onload=alert(1)>$\\frac$ ⟨U+202E⟩</title>-->' in "".join(document.text)


def test_numbers_stand_with_their_intervals() -> None:
    report = bare()
    router = report["slices"][0]["systems"][0]
    router["micro"] = {"value": 0.61234, "low": 0.6, "high": 0.625}
    report["slices"][0]["systems"][1]["gap"] = {
        "value": 0.0123, "low": 0.004, "high": 0.02, "p": 0.002, "p_holm": 0.01,
    }  # fmt: skip
    text = words(render(report))
    assert "61.2 [60.0, 62.5]" in text
    assert "+1.23 [0.40, 2.00]" in text
    assert "Routing pays here" in text
    assert "earns +1.23 (95% interval 0.40 to 2.00) points over always asking" in text


@pytest.mark.parametrize(
    ("gap", "headline", "said"),
    [
        ((-0.03, -0.05, -0.01, 0.01), "Routing does not pay here", "is WORSE than always asking"),
        ((0.01, -0.01, 0.03, 0.4), "Routing is not shown to pay here", "is within noise of"),
        ((0.01, 0.001, 0.02, 0.2), "Routing is not shown to pay here", "Holm-corrected p is 0.200"),
        ((None, None, None, None), "No comparison is possible", "cannot be compared"),
    ],
)
def test_bad_news_is_said_first(gap: tuple[float | None, ...], headline: str, said: str) -> None:
    report = bare()
    keys = ("value", "low", "high", "p_holm")
    report["slices"][0]["systems"][1]["gap"] = {"p": 0.5} | dict(zip(keys, gap, strict=True))
    text = words(render(report))
    assert text.index(headline) < text.index(said) < text.index("Leaderboard")


def test_parts_that_were_not_measured_are_absent() -> None:
    text = words(render(bare()))
    for heading in ("Ablations", "Reward ranking", "Would more", "Cost against", "Robustness"):
        assert heading not in text
    full = words(render(example(1)))
    for heading in ("Ablations", "Reward ranking", "Would more", "Cost against", "Robustness"):
        assert heading in full


def test_one_table_has_the_ranks_beside_the_rewards_and_several_refer_to_the_ranking() -> None:
    one, two = words(render(bare(1))), words(render(bare(2)))
    assert "Macro ×100 MTR %Uplift Role" in one
    assert "Macro ×100 Role" in two
    assert "see the ranking" in two


def test_long_prompts_are_folded_and_very_long_ones_cut() -> None:
    report = bare()
    worst = report["slices"][0]["regret"]["worst"]
    report["slices"][0]["regret"]["worst"] = worst[:2]
    worst[0]["query"] = "a" * 240
    worst[1]["query"] = "b" * 5000
    text = render(report)
    assert text.count("whole prompt") == 1
    assert "b" * 4000 in text
    assert "b" * 4001 not in text
    assert "(1,000 more characters)" in text


@pytest.mark.parametrize("seed", range(4))
def test_a_report_with_holes_is_still_a_page(seed: int) -> None:
    """None stands wherever the evaluation had NaN."""
    chance = random.Random(seed)
    kept = ("shares", "matrix", "coverage", "seconds")
    share = (0.2, 0.5, 0.9, 1.0)[seed]

    def holed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if k in kept else holed(v) for k, v in value.items()}
        if isinstance(value, list):
            return [holed(inner) for inner in value]
        return None if isinstance(value, float) and chance.random() < share else value

    text = words(render(holed(example(1))))
    assert "nan" not in text.split()
    assert "None" not in text


def test_nan_is_shown_as_missing() -> None:
    report = bare()
    report["slices"][0]["systems"][0]["macro"] = dict.fromkeys(
        ("value", "low", "high"), float("nan")
    )
    assert "nan" not in words(render(report)).lower().split()


def test_no_slices_is_said() -> None:
    report = bare() | {"slices": []}
    report["ranking"] = {"subsets": 0, "slices": [], "systems": []}
    assert "Nothing was evaluated" in words(render(report))


def test_another_format_is_refused() -> None:
    with pytest.raises(DataError, match=r"^report: format 2; expected 1$"):
        render(example(1) | {"format": 2})


def test_a_report_is_written_complete_or_not_at_all(tmp_path: Path) -> None:
    report = bare()
    target = tmp_path / "report.html"
    write_report(report, str(target))
    assert target.read_text("utf-8") == render(report)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(DataError, match="cannot write"):
        write_report(report, str(tmp_path / "absent" / "report.html"))


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_its_extra(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page._environment.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=r"pip install 'zooter-lite\[report\]'"):
        render(bare())


def test_five_tables_fit_in_a_megabyte() -> None:
    assert len(render(example(5)).encode()) < 1_000_000

"""exports/browser in headless Chromium, used as a user would, against the Python router."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.chromium import Page, opened, served
from tests.consumers import (
    EXPORTS,
    POINTS,
    PROMPTS,
    TOLERANCE,
    TOY_PROMPTS,
    check_decisions,
    check_int8,
    need_int8,
    packages,
    program,
    toy_consumed,
    toy_old,
    toy_priced,
)
from tests.helpers import replace_file
from zooter_lite import Router
from zooter_lite.router.decision import choose
from zooter_lite.router.directory.config import Point

FOLDER = EXPORTS / "browser"
LOADED = "!document.getElementById('answer').hidden || !document.getElementById('error').hidden"


KEYS = {"End": 35, "Home": 36}
WHERE = {"reward": "nth-last-child(2)", "cost": "last-child"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    packages(FOLDER)
    browser = program("chromium", "chromium-browser", "google-chrome")
    with opened(browser, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, router_path: Path) -> Path:
    """The folder that is served: the page and the routers beside it."""
    root = tmp_path_factory.mktemp("site")
    (root / "browser").symlink_to(FOLDER)
    (root / "sample").symlink_to(router_path)
    for name, framed in (("framed", True), ("bare", False)):
        toy_consumed(root / name, framed=framed)
    toy_priced(root / "priced")
    toy_old(root / "old")
    shutil.copytree(root / "framed", root / "approximate")
    content = (root / "framed" / "tags.faiss").read_bytes()
    replace_file(root / "approximate", "tags.faiss", b"IwSq" + content[4:])
    return root


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[str]:
    """Address of the page."""
    with served(root) as address:
        yield f"{address}browser/index.html"


def routed(page: Page, prompts: list[str], *point: str) -> list[dict[str, Any]]:
    arguments = ", ".join(map(json.dumps, (prompts, *point)))
    found: list[dict[str, Any]] = page.evaluate(f"zooter.route({arguments})")
    return found


def type_prompt(page: Page, prompt: str) -> None:
    """Type a prompt and wait for its decision."""
    page.wait_for(LOADED)
    page.evaluate("document.getElementById('prompt').focus()")
    page.call("Input.insertText", text=prompt)
    page.wait_for("document.querySelector('.chosen')")


def text(page: Page, selector: str) -> list[str]:
    found: list[str] = page.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    )
    return found


@pytest.mark.slow
def test_it_answers_as_the_router_does_at_every_point(
    page: Page, site: str, router_path: Path
) -> None:
    page.open(f"{site}?router=../sample")
    prompts = [*PROMPTS, "half an emoji: \ud83d"]
    router = Router.load(router_path)
    for point in router.points:
        found = routed(page, prompts, point)
        check_decisions(found, router, prompts, point)
    assert router.tag_index is not None
    nearest = router.tag_index.nearest_tags(router.embed(prompts)[1])
    for answer, pairs in zip(found, nearest, strict=True):
        weights = [weight for _, weight in answer["tags"]]
        np.testing.assert_allclose(weights, [weight for _, weight in pairs], atol=TOLERANCE)
        theirs = dict(pairs)
        for name, weight in answer["tags"]:  # one that is tied with the last may replace it
            assert abs(theirs.get(name, pairs[-1][1]) - weight) <= TOLERANCE


def test_typing_a_prompt_shows_the_decision(page: Page, site: str, router_path: Path) -> None:
    router = Router.load(router_path)
    prompt = "How many kilometres are 26.2 miles?"
    decision = router.route([prompt])[0]
    page.open(f"{site}?router=../sample")
    page.wait_for(LOADED)
    assert text(page, "#decision") == ["Type a prompt to see where it goes."]
    type_prompt(page, prompt)
    share = f"{100 * decision.probability:.1f}%"
    assert text(page, "#decision") == [f"Goes to {decision.expert} ({share})"]
    assert text(page, "#experts .name") == router.experts
    assert text(page, ".chosen .name") == [decision.expert]
    shares = [float(found.rstrip("%")) for found in text(page, "#experts .share")]
    np.testing.assert_allclose(shares, 100 * router.predict_proba([prompt])[0], atol=0.15)
    widths = page.evaluate(
        "[...document.querySelectorAll('.bar')].map((bar) => parseFloat(bar.style.width))"
    )
    assert widths == shares
    assert len(text(page, "#tags .tag")) == 4
    (latency,) = text(page, "#latency")
    number = r"\d+\.\d"
    assert re.fullmatch(
        rf"{number} ms \(tokenise {number}, route {number}, tags {number}\) for 11 tokens", latency
    )
    page.evaluate("document.querySelector('.example').click()")
    page.wait_for("document.getElementById('decision').textContent.includes('calculator')")


DRAG = """[...Array(Number(weight.max) + 1).keys()].map((place) => {
    weight.value = place;
    weight.dispatchEvent(new Event("input"));
    const chosen = document.querySelector(".chosen .name").textContent;
    return [chosen, weight.getAttribute("aria-valuetext"), latency.textContent];
})"""  # no promise in between, so the graph cannot have run


@pytest.mark.parametrize("name", ["sample", "priced"])
def test_dragging_the_slider_decides_anew_without_the_graph(
    page: Page, site: str, root: Path, name: str
) -> None:
    router = Router.load(root / name)
    curve = router.config.decisions.curve
    prompt = "Which of two and three is larger?"
    predicted = router.predict([prompt])
    page.open(f"{site}?router=../{name}")
    type_prompt(page, prompt)
    latency = text(page, "#latency")[0]
    places = page.evaluate(DRAG)
    assert len(places) == len(curve)
    for knot, (chosen, rule, time) in zip(curve, places, strict=True):
        (row,) = choose(predicted, Point("", knot.cost_weight), router.experts).utilities
        assert row[router.experts.index(chosen)] >= row.max() - TOLERANCE
        assert rule.endswith("* cost" if knot.cost_weight else "quality: highest probability")
        assert time == latency
    assert len({chosen for chosen, *_ in places}) > 1


def test_the_list_of_points_and_the_keyboard(page: Page, site: str, root: Path) -> None:
    router = Router.load(root / "priced")
    prompt = "one two"
    page.open(f"{site}?router=../priced&point=match")
    type_prompt(page, prompt)

    def shown() -> tuple[str, ...]:
        """Expert, point, place of the slider, and what a screen reader says of it."""
        found = page.evaluate(
            "[document.querySelector('.chosen .name').textContent, point.value, weight.value,"
            " weight.getAttribute('aria-valuetext')]"
        )
        return tuple(found)

    def of(point: str) -> str:
        return router.route([prompt], point=point)[0].expert

    assert text(page, "#point option") == ["slider", *POINTS]
    assert shown() == (of("match"), "match", "0", "match: reward - 0.05 * cost")
    select = "point.value = '{}'; point.dispatchEvent(new Event('change'))"
    page.evaluate(select.format("economy"))
    assert shown() == (of("economy"), "economy", "1", "economy: reward - 0.5 * cost")
    page.evaluate(select.format("safe"))
    assert shown() == ("bee", "safe", "1", "safe: always bee")
    assert text(page, "#decision")[0].startswith("Goes to bee (")
    page.evaluate("weight.focus()")
    for key, place, rule in (
        ("End", "2", "reward - 9 * cost"),
        ("Home", "0", "quality: highest probability"),
    ):
        page.call(
            "Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=KEYS[key]
        )
        assert shown()[1:] == ("quality" if place == "0" else "", place, rule)
    assert shown()[0] == of("quality")
    assert text(page, "#rule") == ["quality: highest probability"]
    predicted = router.predict([prompt])
    assert predicted.rewards is not None
    assert predicted.costs is not None
    for kind, values in (("reward", predicted.rewards), ("cost", predicted.costs)):
        numbers = [found.split() for found in text(page, f"#experts .estimate:{WHERE[kind]}")]
        assert [word for word, _ in numbers] == [kind] * len(router.experts)
        np.testing.assert_allclose([float(n) for _, n in numbers], values[0], rtol=0.01)


def test_points_and_costs_of_a_toy(page: Page, site: str, root: Path) -> None:
    router = Router.load(root / "priced")
    page.open(f"{site}?router=../priced")
    for point in POINTS:
        check_decisions(routed(page, TOY_PROMPTS, point), router, TOY_PROMPTS, point)
    page.open(f"{site}?router=../priced&point=recommended")
    check_decisions(routed(page, TOY_PROMPTS), router, TOY_PROMPTS, "safe")
    page.open(f"{site}?router=../priced&point=fast")
    page.wait_for(LOADED)
    wanted = 'point "fast": expected quality, match, economy, safe, recommended'
    assert text(page, "#error") == [wanted]


def test_a_router_without_costs_has_no_slider(page: Page, site: str, root: Path) -> None:
    page.open(f"{site}?router=../old")
    type_prompt(page, "one")
    assert not page.evaluate("trade.checkVisibility()")
    assert text(page, ".estimate") == []
    check_decisions(routed(page, TOY_PROMPTS), Router.load(root / "old"), TOY_PROMPTS)


def test_nothing_comes_from_another_place(page: Page, site: str) -> None:
    page.open(f"{site}?router=../framed")
    page.wait_for(LOADED)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert any(name.endswith("framed/router.onnx") for name in loaded)
    origin = site.removesuffix("browser/index.html")
    assert all(name.startswith((origin, "data:")) for name in loaded)
    with pytest.raises(AssertionError, match="fetch"):  # the content security policy
        page.evaluate("fetch('http://127.0.0.2/')")


@pytest.mark.parametrize("name", ["framed", "bare"])
def test_empty_and_long_prompts_and_odd_names(page: Page, site: str, root: Path, name: str) -> None:
    page.open(f"{site}?router=../{name}/")
    check_decisions(routed(page, TOY_PROMPTS), Router.load(root / name), TOY_PROMPTS)


def test_int8_agrees_with_python(page: Page, site: str, router_path: Path) -> None:
    need_int8(router_path)
    page.open(f"{site}?router=../sample&precision=int8")
    check_int8(routed(page, PROMPTS), router_path, PROMPTS)


def test_an_index_that_is_not_flat_shows_no_tags(page: Page, site: str) -> None:
    page.open(f"{site}?router=../approximate")
    page.wait_for(LOADED)
    assert page.evaluate("document.getElementById('no-tags').checkVisibility()")
    assert routed(page, ["one"])[0]["tags"] is None


def test_a_missing_router_is_named(page: Page, site: str) -> None:
    page.open(f"{site}?router=../none")
    page.wait_for(LOADED)
    (message,) = text(page, "#error")
    assert message.endswith("/none/config.json: the server answers 404")

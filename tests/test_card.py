"""The report in the terminal and in a router directory: its numbers and its verdict."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from tests.report_example import around, one_slice
from zooter_lite.measure.calibration import Calibration
from zooter_lite.measure.metrics import Estimate
from zooter_lite.measure.ranks import RankedSystem, Ranking
from zooter_lite.measure.regret import Part
from zooter_lite.measure.results import SliceReport, SystemResult
from zooter_lite.measure.system import Role
from zooter_lite.report.card import documents, model_card, with_precision_section
from zooter_lite.report.terminal import conclusion, ranking_table, trade_table
from zooter_lite.router.directory import config
from zooter_lite.router.directory.config import (
    Decisions,
    EncoderSpec,
    HeadSpec,
    LabelSpec,
    Parities,
    Parity,
    Point,
    RouterConfig,
    TextParity,
    Training,
)

CONFIG = RouterConfig(
    experts=("ant", "bee"),
    encoder=EncoderSpec("tiny", "", 6, 16, "mean"),
    calibration=config.Calibration(1.0),
    training=Training((0.5, 0.6), rows=77, folds=5),
    head=HeadSpec("prior", 0.03),
    labels=LabelSpec("given", 8, 0.123456, 0.3),
    parity=Parities(
        Parity(9, 1e-7),
        Parity(40, 0.05, 0.025, -0.01, 0.02, 0.03, 0.04, 0.005, spared=2),
    ),
)


def small(*values: float) -> SliceReport:
    """Return a slice whose systems earn these, by default 0.6, 0.55, 0.3 and 0.8."""
    names = ("router", "best single on train", "kNN", "oracle")
    roles: tuple[Role, ...] = ("router", "baseline", "baseline", "bound")
    systems = [
        SystemResult(name, role, Estimate(v, v - 0.01, v + 0.02), around(0.5, 0.04), {})
        for name, role, v in zip(names, roles, values or (0.6, 0.55, 0.3, 0.8), strict=False)
    ]
    parts = [Part("a", around(0.1), 0.3), Part("b", around(0.2), 0.7)]
    return replace(
        one_slice(),
        rows=120,
        best_expert="bee",
        systems=systems,
        shares={"ant": 0.25, "bee": 0.75},
        points=(),
        calibration=Calibration(around(0.018), around(0.2)),
        regret=replace(one_slice().regret, mean=around(0.02), by_subset=parts),
    )


def test_the_terminal_holds_the_numbers_and_ends_in_the_verdict() -> None:
    lines = conclusion([small(math.nan, -0.55)]).splitlines()
    assert lines[:3] == [
        "",
        "split test: 120 queries, 3 subsets",
        "| mean reward x100, 95% interval | micro                 | macro              |",
    ]
    assert [line.split("|")[1:3] for line in lines[4:6]] == [
        [" router                         ", " not known             "],
        [" best single on train (bee)     ", " -55.00 [-56.0, -53.0] "],
    ]
    assert "- sent to: bee 75%, ant 25%" in lines
    assert lines[-1] == small().verdict.text


def test_ranking_table() -> None:
    e = around(0.5, 0.25)
    systems = [RankedSystem("router", "router", e, Estimate(1.5, 0.25, 0.75), e)]
    head, _, _, row = ranking_table(Ranking(5, ["a test", "b test"], systems)).splitlines()
    assert head.startswith("5 subsets of a test, b test: mean reward x100, mean rank (MTR")
    cells = "| router | 50.00 [25.0, 75.0] | 1.50 [0.2, 0.8] | 50.00 [25.0, 75.0] |"
    assert row == cells


def test_model_card() -> None:
    card = model_card(CONFIG, [small()], "python -m zooter_lite.fit --data x")
    for words in (
        "# Router over 2 experts",
        "- experts: ant, bee",
        "tiny (6 dimensions, at most 16 tokens, mean pooling)",
        "head: prior; tags: given (8); temperature 0.1235, beta 0.3, L2 0.03",
        "fitted on 77 queries; settings chosen by 5-fold",
        "`python -m zooter_lite.fit --data x`",
        "## Measured on `test`\n\n" + small().verdict.text + "\n",
        "| router                         | 60.00 [59.0, 62.0] | 50.00 [46.0, 54.0] |",
        "| best single on train (bee)     | 55.00 [",
        "- sent to: bee 75%, ant 25%",
        "expected calibration error x100: 1.80 [0.8, 2.8]",
        "mean regret against the oracle x100: 2.00 [1.0, 3.0]; 70% of it on subset b",
        "- fp32 against torch on 9 training queries: largest difference of a probability 1.0e-07",
        "2.50% of the decisions changed, 0.030 points of mean reward lost as expected (at most "
        "0.040, one-sided at 95%); 2 of its products stay in fp32",
        "Router.load(",
    ):
        assert words in card
    assert "Not evaluated" not in card
    unmeasured = model_card(CONFIG, [], "fit")
    assert "Not evaluated: the table had no split besides `train`." in unmeasured
    assert "Measured on" not in unmeasured


def test_the_section_on_precision_is_replaced_and_the_rest_stays() -> None:
    card = model_card(CONFIG, [small()], "fit")
    text = replace(CONFIG, parity=Parities(text=TextParity(3)))
    changed = with_precision_section(card, text)
    assert "router.text.onnx against router.onnx on 3 prompts" in changed
    assert "fp32 against torch" not in changed
    assert with_precision_section(changed, CONFIG) == card
    assert with_precision_section("a card by hand", CONFIG) == "a card by hand"


def test_the_text_of_no_query_reaches_the_router_directory() -> None:
    one = small()
    files = documents(CONFIG, [one], {"options": {"seed": 0}}, "fit --data x")
    secret = next(row.query for row in one.regret.worst if row.query.isascii()).encode()
    assert not any(secret in content for content in files.values())
    report = json.loads(files["report.json"])
    assert {row["query"] for row in report["slices"][0]["regret"]["worst"]} == {None}
    assert report["slices"][0]["regret"]["worst"][0]["query_id"] == one.regret.worst[0].query_id
    assert (report["command"], report["options"]) == ("fit --data x", {"seed": 0})


def test_operating_points_as_a_table() -> None:
    single = Point("bee", 0.0, "bee", 0.6, 0.4, 0.0, 0.0, (0.0, 1.0, 0.0, 0.0, 0.0))
    points = (
        Point("quality", 0.0, None, 0.75, 0.5, 0.15, 0.01, (0.5, 0.3, 0.1, 0.096, 0.004)),
        Point("match", 0.123456, None, 0.6, 0.1, 0.0, 0.012, (0.996, 0.004, 0.0, 0.0, 0.0)),
    )
    decided = Decisions(points, "match", "quality", "it gains", (), single)
    experts = ["ant", "bee", "cat", "dog", "eel"]
    assert trade_table(decided, experts).splitlines() == [
        "operating points, out of fold on train:",
        "point        cost weight  reward x100  gain (std. error)  cost        sent to",
        "quality      0            75.00        +15.00 (1.00)      0.5 (125%)  "
        "ant 50%, bee 30%, cat 10%, 1 more",
        "match        0.1235       60.00        +0.00 (1.20)       0.1 (25%)   ant 100%",
        "best single  always bee   60.00        +0.00 (0.00)       0.4 (100%)  bee 100%",
        "recommended: quality: it gains",
        "default: match",
    ]
    without = Decisions((replace(points[0], cost=None),), single=replace(single, cost=None))
    assert "+15.00 (1.00)      -     ant 50%" in trade_table(without, experts)

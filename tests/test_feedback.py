"""Logged decisions and later rewards become a table that fit and evaluate read as it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exports.litellm.zooter_plugin import ZooterPlugin
from tests.conftest import Call
from tests.consumers import toy_priced
from tests.helpers import EXPERTS, write_lines
from tests.test_litellm_plugin import MODELS, Handed
from zooter_lite import RewardTable, Router
from zooter_lite.files.journal import read_journal
from zooter_lite.table.decisions import logged_table


def line(request: str, expert: str, propensity: float = 0.9, **more: Any) -> dict[str, Any]:
    chances = {"ant": 0.05, "bee": 0.9, "cat": 0.05}
    own = {"request": request, "query": f"query {request}", "expert": expert}
    return own | {"propensity": propensity, "chances": chances} | more


def test_decisions_and_rewards_are_joined(tmp_path: Path) -> None:
    journal = write_lines(
        tmp_path / "log.jsonl",
        [
            line("r1", "bee"),
            line("r2", "bee"),
            line("r2", "cat", 0.95),  # bee had failed
            line("r3", "ant", 0.05),
            line("r4", "bee"),  # never rewarded
            line("7", "bee"),
            line("r6", "bee", query=" "),
        ],
    )
    rewards = tmp_path / "rewards.csv"
    rewards.write_text(
        "request,reward,cost,by\nr2,0.5,2,x\nr1,0,,\nr1,1,3,\nr9,1,1,\n7.0,0.25,,\nr4,,,\n"
        "r3,-1,0,\nr6,1,,\n",
        "utf-8",
    )
    logged = logged_table(str(journal), str(rewards))
    assert (logged.unrewarded, logged.empty, logged.unknown) == (1, 1, 1)
    table = logged.table
    assert table.experts == EXPERTS
    assert table.query_ids == ["r1", "r2", "r3", "7"]
    assert table.queries == ["query r1", "query r2", "query r3", "query 7"]
    nan = float("nan")
    np.testing.assert_array_equal(
        table.rewards, [[nan, 1, nan], [nan, nan, 0.5], [-1, nan, nan], [nan, 0.25, nan]]
    )
    assert table.costs is not None
    np.testing.assert_array_equal(
        table.costs, [[nan, 3, nan], [nan, nan, 2], [0, nan, nan], [nan] * 3]
    )
    assert table.propensities is not None
    np.testing.assert_array_equal(table.propensities, [0.9, 0.95, 0.05, 0.9])


def test_a_pattern_names_the_journals_of_several_workers(tmp_path: Path, call: Call) -> None:
    write_lines(tmp_path / "log.jsonl", [line("r1", "bee", 1)])
    write_lines(tmp_path / "log.17.jsonl", [line("r2", "cat", 1)])
    rewards = write_lines(
        tmp_path / "rewards.ndjson",
        [{"request": "r1", "reward": 1}, {"request": "r2", "reward": 0}],
    )
    out = tmp_path / "table.jsonl"
    journals = tmp_path / "log*.jsonl"
    code, printed, _ = call("feedback", "--journal", journals, "--rewards", rewards, "--out", out)
    assert code == 0
    assert printed.splitlines() == [
        "ant: 0 requests",
        "bee: mean reward 1.0000 over 1 requests",
        "cat: mean reward 0.0000 over 1 requests",
        f"{out}: 2 rows",
        "every choice was certain: the log tells nothing of the experts that were not chosen",
    ]
    assert len(RewardTable.read(out)) == 2


ONE = "request,reward\nr1,1\n"
BEE = [line("r1", "bee")]


@pytest.mark.parametrize(
    ("lines", "rewards", "message"),
    [
        ([{"request": "r1"}], ONE, "log.jsonl, line 1, 'query': found None"),
        ([line("r1", "dog")], ONE, "log.jsonl, line 1, 'expert': found 'dog'"),
        (BEE, ONE.replace("request", "id"), "rewards.csv: no column 'request'"),
        (BEE, ONE.replace("1\n", "good\n"), "line 2, column 'reward': 'good' is not"),
        (BEE, ONE.replace("r1", "r2"), "no reward of any of the 1 requests"),
        ([line("r1", "bee", 1.5)], ONE, "request 'r1', column 'propensity'"),
        ([], ONE, "log.jsonl: no decision"),
        (None, ONE, "log.jsonl: no such file"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    tmp_path: Path, call: Call, lines: list[dict[str, Any]] | None, rewards: str, message: str
) -> None:
    if lines is not None:
        write_lines(tmp_path / "log.jsonl", lines)
    (tmp_path / "rewards.csv").write_text(rewards, "utf-8")
    words = ("--journal", tmp_path / "log.jsonl", "--rewards", tmp_path / "rewards.csv")
    code, _, err = call("feedback", *words, "--out", tmp_path / "table.csv")
    (error,) = err.splitlines()
    assert code == 2
    assert message in error


def test_from_requests_to_the_next_router(call: Call, tiny: Path, tmp_path: Path) -> None:
    toy_priced(tmp_path / "toy")
    journal, rewards = tmp_path / "log.jsonl", tmp_path / "rewards.csv"
    plugin = ZooterPlugin(tmp_path / "toy", MODELS, explore=0.9, journal=journal)
    plugin._random.seed(3)
    for number in range(240):
        text = "a cab " + str(number) if number % 2 else f"what is {number} ?"
        handed = Handed([{"role": "user", "content": text}], metadata={"request_id": number})
        asyncio.run(plugin.run(handed))
    good = {True: "bee", False: "ant"}  # ant answers questions
    earned = [
        f"{one['request']},{int(one['expert'] == good['cab' in one['query']])}"
        for one in read_journal(journal)
    ]
    rewards.write_text("\n".join(["request,reward", *earned]), "utf-8")
    data = ("--data", tmp_path / "log.csv")
    code, out, err = call("feedback", "--journal", journal, "--rewards", rewards, "--out", data[1])
    assert code == 0, err
    assert "240 rows" in out
    propensities = RewardTable.read(data[1]).propensities
    assert propensities is not None
    assert set(propensities.round(9).tolist()) == {0.3, 0.4}  # explored; the toy's own choice
    code, out, err = call(
        *("fit", *data, "--out", tmp_path / "next", "--encoder", tiny),
        *("--tags", "none", "--precision", "fp32"),
    )
    assert code == 0, err
    assert "3 of 3 pairs of experts share fewer than 30 training queries" in out
    assert "By the propensities of" in out
    router = Router.load(tmp_path / "next")
    assert [one.expert for one in router.route(["a cab 77", "what is 88 ?"])] == ["bee", "ant"]
    code, out, err = call("evaluate", "--router", tmp_path / "next", *data)
    assert code == 0, err
    assert "the router beats the best single expert" in out

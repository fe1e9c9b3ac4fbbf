"""`route` end to end: files in, the same files with experts out."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Command
from tests.helpers import (
    EXPERTS,
    TOY_DECISIONS,
    edit_config,
    toy_estimates,
    toy_head,
    toy_router,
)
from tests.hostile import base_router
from tests.hostile_files import check_error
from zooter_lite.bulk.options import Options
from zooter_lite.cli import run
from zooter_lite.route import main
from zooter_lite.router.decision import Decision
from zooter_lite.router.directory.config import Point
from zooter_lite.router.router import Router

Route = Callable[..., tuple[int, str]]
Factory = pytest.TempPathFactory

COLUMNS = ["id", "query", "note, with comma", ""]
PROMPTS = [
    "one two three",
    'She said "five six",\nthen left.\r\nSo?',
    "Wie heißt die Hauptstadt von Österreich? 🙂 \u2028 日本",
    "",
    "four seven " * 330,
    "lorem ipsum, " * 15_400,
    " \t",
    "\ufeffsix",
    "x\ry",
]
CELLS = [[f"0{i}", prompt, "" if i % 2 else "=1+1; 'n'", "NA"] for i, prompt in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a router of a few kilobytes that sends prompts to different experts."""
    path = tmp_path_factory.mktemp("toy") / "router"
    toy_router(path, "linear")
    return path


@pytest.fixture(scope="module")
def router(toy: Path) -> Router:
    return Router.load(toy)


@pytest.fixture(scope="module")
def decisions(router: Router) -> list[Decision | None]:
    """What the library decides on PROMPTS, one at a time; None where there is no prompt."""
    return [router.route([prompt])[0] if prompt.strip() else None for prompt in PROMPTS]


def as_csv(rows: Sequence[Sequence[str]], ending: str = "\r\n") -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(rows)
    return stream.getvalue().encode()


def from_csv(content: bytes) -> list[list[str]]:
    csv.field_size_limit(2**31 - 1)
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def check_csv(rows: list[list[str]], decisions: list[Decision | None]) -> None:
    """Rows are COLUMNS and CELLS as they were, then the expert and its probability."""
    assert rows[0][:6] == [*COLUMNS, "expert", "probability"]
    assert [row[:4] for row in rows[1:]] == CELLS
    for row, decision in zip(rows[1:], decisions, strict=True):
        assert row[4] == (decision.expert if decision else "")
        if decision:
            assert float(row[5]) == pytest.approx(decision.probability, abs=2e-5)
        else:
            assert row[5] == ""


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_csv_keeps_every_cell_and_adds_what_the_library_decides(
    tmp_path: Path, route_toy: Route, decisions: list[Decision | None]
) -> None:
    (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbf" + as_csv([COLUMNS, *CELLS]))
    code, err = route_toy(tmp_path / "in.csv", tmp_path / "out.csv", "--all-probabilities")
    assert code == 0, err
    assert re.fullmatch(
        r"7 rows routed \(.*%\); 2 rows with an empty prompt left unrouted\n"
        r"9 rows in \d+\.\d s \(\d+ rows/s\)\n"
        r"2 of 7 prompts are longer than 16 tokens; what is beyond is not read\n",
        err,
    )
    header, *rows = from_csv((tmp_path / "out.csv").read_bytes())
    check_csv([header, *rows], decisions)
    assert header[6:] == [f"p:{name}" for name in EXPERTS]
    for row, decision in zip(rows, decisions, strict=True):
        if decision is None:
            assert row[6:] == [""] * len(EXPERTS)
            continue
        probabilities = dict(zip(EXPERTS, map(float, row[6:]), strict=True))
        assert probabilities == pytest.approx(decision.probabilities, abs=2e-5)
        assert probabilities[row[4]] == float(row[5]) == max(probabilities.values())
    assert len({decision.expert for decision in decisions if decision}) > 1
    assert only(tmp_path) == ["in.csv", "out.csv"]


def test_csv_through_pipes(toy: Path, command: Command, decisions: list[Decision | None]) -> None:
    content = as_csv([COLUMNS, *CELLS], ending="\n")
    files = ("--router", toy, "--input", "-", "--output", "-", "--format", "csv")
    done: Any = command("route", *files, input=content, text=False)
    assert done.returncode == 0, done.stderr
    check_csv(from_csv(done.stdout), decisions)
    assert b"\r\n" in done.stdout  # inside a cell, nowhere else
    assert done.stdout.endswith(b"\n")
    assert done.stderr.startswith(b"7 rows routed (")


RECORDS: list[dict[str, Any]] = [
    {"text": "one six", "b": True, "n": None, "list": [1, 1.0, "é", {"deep": []}]},
    {"float": 1e-7, "int": 2**70, "zero": -0.0, "text": "three \ud83d"},
    {"text": None, "kept": "\u2028\0\ufeff"},
    {"text": " ", "query": 5, "": {}},
]


def test_json_lines_keep_every_value(tmp_path: Path, route_toy: Route, router: Router) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n\n".join(json.dumps(record) for record in RECORDS))
    code, err = route_toy(source, target, "--column", "text", "--all-probabilities")
    assert code == 0, err
    assert err.startswith("2 rows routed (")
    assert err.splitlines()[0].endswith("; 2 rows with an empty prompt left unrouted")
    rows = [json.loads(line) for line in target.read_text("utf-8").split("\n") if line]
    names = ["expert", "probability", *(f"p:{name}" for name in EXPERTS)]
    added = [[row.pop(name) for name in names] for row in rows]
    assert json.dumps(rows) == json.dumps(RECORDS)  # tells 1, 1.0 and True apart; key order
    assert added[2:] == [[None] * len(names)] * 2
    for record, (expert, probability, *rest) in zip(RECORDS[:2], added[:2], strict=True):
        decision = router.route([record["text"]])[0]
        assert expert == decision.expert
        assert probability == pytest.approx(decision.probability, abs=2e-5)
        assert rest == pytest.approx(list(decision.probabilities.values()), abs=2e-5)


CSV = "query,n\none two,1\n"
REFUSED: list[tuple[str, str, list[str], str]] = [
    (CSV, "out.csv", ["--column", "q"], "{in}: no column 'q'; found 'query', "),
    ("query,p:bee\n", "out.csv", ["--all-probabilities"], "{in}: already has a column"),
    (CSV, "none/out.csv", [], "{out}: expected a file name in an existing"),
    (CSV, "out.csv", ["--threads", "-1"], "threads -1: expected a number from 1 to 256"),
    (CSV, "out.csv", ["--workers", "0"], "--workers 0: expected a number from 1 to 1024"),
    (CSV, "out.csv", ["--block", "0"], "--block 0: expected a number from 1 to 16384"),
    (CSV, "out.csv", ["--min-probability", "1.5"], "--min-probability 1.5: expected a"),
    (CSV, "out.csv", ["--fallback", "ant"], "--fallback: expected with --min-reward, "),
    (CSV, "out.csv", ["--max-novelty", "-1"], "--max-novelty -1.0: expected a number f"),
    (CSV, "out.csv", ["--cost-weight", "nan"], "--cost-weight nan: expected a number "),
    (CSV, "out.csv", ["--floor", "inf"], "--floor inf: expected a number"),
    (CSV, "out.csv", ["--min-reward", "nan"], "--min-reward nan: expected a number"),
    (CSV, "out.csv", ["--allowed", "ant, dog"], "no expert 'dog'; expected ant, bee, "),
    (CSV, "out.csv", ["--allowed", ""], "no expert ''; expected ant, bee, cat"),
    # of a router without costs and tags
    (CSV, "out.csv", ["--budget", "1"], "this router knows no costs, so it has no bud"),
    (CSV, "out.csv", ["--floor", "1"], "this router knows no costs, so it has no bud"),
    (CSV, "out.csv", ["--cost-weight", "1"], "point 'cost weight': the router predicts "),
    (CSV, "out.csv", ["--point", "economy"], "point 'economy': expected quality, recom"),
    (CSV, "out.csv", ["--min-reward", "1"], "min_reward: this router does not predict "),
    (CSV, "out.csv", ["--max-novelty", "1"], "max_novelty: this router does not predic"),
    (CSV, "out.csv", ["--split-by", "expert"], "--split-by is for batch files, with"),
    (CSV, "out.csv", ["--ray-address", "auto"], "--ray-address is for --engine ray\n"),
    (CSV, "out.csv", ["--precision", "int8"], "{router}: no router.int8.onnx; python -m"),
    (CSV, "out.csv", ["--costs", "{in}"], "{in}: no JSON object of costs ("),
]


@pytest.mark.parametrize(("content", "target", "args", "message"), REFUSED)
def test_what_cannot_be_routed_is_one_line_and_no_output(
    tmp_path: Path,
    toy: Path,
    route_toy: Route,
    content: str,
    target: str,
    args: list[str],
    message: str,
) -> None:
    (tmp_path / "in.csv").write_text(content)
    names = {"in": tmp_path / "in.csv", "out": tmp_path / target, "router": toy}
    code, err = route_toy(names["in"], names["out"], *(a.format_map(names) for a in args))
    check_error(code, err, message.format_map(names))
    assert only(tmp_path) == ["in.csv"]


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a toy router that expects rewards, costs and novelty, with `TOY_DECISIONS`."""
    return priced_router(tmp_path_factory.mktemp("priced") / "router")


def priced_router(path: Path) -> Path:
    toy_router(path, toy_estimates(toy_head("prior")), decisions=TOY_DECISIONS)
    return path


@pytest.fixture
def routed(tmp_path: Path, priced: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Route prompts, by default with the router `priced`: exit code, rows, standard error."""

    def call(
        prompts: Sequence[str], *args: object, ending: str = "jsonl", router: Path = priced
    ) -> tuple[int, list[dict[str, Any]], str]:
        source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
        frame = pd.DataFrame({"query": prompts})
        if ending == "parquet":
            frame.to_parquet(source)
        elif ending == "csv":
            frame.to_csv(source, index=False)
        else:
            frame.to_json(source, orient="records", lines=True)
        files = ("--router", router, "--input", source, "--output", target, "--force")
        argv = [str(word) for word in (*files, "--workers", 1, *args)]
        code = run(Options, main, "route", "", argv)
        err = capsys.readouterr().err
        if code:
            assert only(tmp_path) == [source.name]
            return code, [], err
        read = {"parquet": pd.read_parquet, "csv": pd.read_csv}.get(ending)
        table = read(target) if read else pd.read_json(target, lines=True)
        return code, table.to_dict("records"), err

    return call


WORDS = ("one", "two three", "four five six", "seven eight", "nine", "zero zero")
VARIED = [f"{first} {second}" for first in WORDS for second in WORDS]


TOY_POINTS = [point.name for point in TOY_DECISIONS.points]


def at(point: str | Point) -> Callable[[Router], dict[str, Any]]:
    return lambda _: {"point": point}


def doubting(fallback: str | None = None, **rules: float) -> Callable[[Router], dict[str, Any]]:
    return lambda router: {"doubt": router.doubt_for(fallback, **rules)}


LIKE_THE_LIBRARY: list[tuple[Sequence[object], Callable[[Router], dict[str, Any]]]] = [
    ([], lambda _: {}),
    *[(["--point", name], at(name)) for name in [*TOY_POINTS, "recommended"]],
    (["--budget", 1.5], lambda router: {"point": router.point_for(budget=1.5, queries=VARIED)}),
    (["--floor", 0.7], lambda router: {"point": router.point_for(floor=0.7)}),
    (["--cost-weight", 0.0], lambda _: {}),
    (["--cost-weight", 0.25], at(Point("mine", 0.25))),
    (["--allowed", "ant, bee"], lambda _: {"allowed": ["ant", "bee"]}),
    (["--allowed", "cat,ant", "--cost-weight", 0.25],
     lambda _: {"allowed": {"cat", "ant"}, "point": Point("mine", 0.25)}),
    (["--min-reward", 2.5], doubting(min_reward=2.5)),
    (["--max-novelty", 0.45, "--fallback", "bee"], doubting("bee", max_novelty=0.45)),
    (["--point", "economy", "--min-reward", 2, "--min-probability", 0.1, "--fallback", "cat"],
     lambda router: {"point": "economy"}
     | doubting("cat", min_reward=2, min_probability=0.1)(router)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "options"), LIKE_THE_LIBRARY, ids=[str(args) for args, _ in LIKE_THE_LIBRARY]
)
def test_options_of_a_decision_are_those_of_the_library(
    routed: Callable[..., Any],
    priced: Path,
    args: Sequence[object],
    options: Callable[[Router], dict[str, Any]],
) -> None:
    library = Router.load(priced, threads=1, exact=True)
    expected = library.route(VARIED, **options(library))
    code, rows, err = routed(VARIED, *args)
    assert code == 0, err
    assert [row["expert"] for row in rows] == [decision.expert for decision in expected]
    for row, decision in zip(rows, expected, strict=True):
        assert list(row) == ["query", "expert", "probability", "expected_reward", "expected_cost"]
        for name in list(row)[2:]:
            assert row[name] == pytest.approx(getattr(decision, name), abs=2e-5)
    fallbacks = sum(decision.reason.startswith("fallback") for decision in expected)
    assert (f"fallbacks: {fallbacks} prompts" in err) == (fallbacks > 0)
    costs = library.predict(VARIED).costs
    assert costs is not None
    cost = sum(row["expected_cost"] for row in rows)
    told = re.search(r"expected cost of all: (\S+) .*; with ant, .*: (\S+); with .*: (\S+)\n", err)
    assert told is not None
    sums = [cost, costs[:, 0].sum(), costs.min(axis=1).sum()]
    assert [float(number) for number in told.groups()] == pytest.approx(sums, rel=1e-3)


def test_another_precision_is_that_of_the_library(
    tmp_path_factory: Factory, routed: Callable[..., Any]
) -> None:
    router = tmp_path_factory.mktemp("base") / "router"
    base_router(router)
    words = ("one", "two", "three", "four", "five", "six", "seven")
    prompts = [f"{a} {b} {c}" for a in words for b in words for c in words]
    prompts += [*prompts[:50], *["one " * 40] * 2]  # repeated prompts are computed once
    code, rows, err = routed(prompts, "--precision", "int8", router=router)
    assert code == 0, err
    expected = Router.load(router, "int8").route(prompts)
    assert [row["expert"] for row in rows] == [decision.expert for decision in expected]
    for row, decision in zip(rows, expected, strict=True):
        assert row["probability"] == pytest.approx(decision.probability, abs=2e-5)
    summary, _, *closing = err.splitlines()
    assert summary.startswith(f"{len(prompts)} rows routed (")
    cut = f"1 of {len(set(prompts))} prompts is longer than 16 tokens; what is beyond is not read"
    assert closing[:-1] == [cut]
    assert closing[-1].startswith("expected cost of all: ")


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_columns_of_what_is_expected(routed: Callable[..., Any], ending: str) -> None:
    code, (row, empty), err = routed(["one two", " "], "--all-probabilities", ending=ending)
    assert code == 0, err
    added = ["expert", "probability", "expected_reward", "expected_cost", "p:ant", "p:bee", "p:cat"]
    assert list(row) == ["query", *added]
    assert all(isinstance(row[name], float) for name in added[1:])
    assert all(pd.isna(empty[name]) for name in added)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--point", "x"], "point 'x': expected quality, match, economy, safe, recommended"),
        (["--budget", 0.1], "budget 0.1: the cheapest choices cost 0.5 a prompt"),
        (["--floor", 0.9], "floor 0.9: the best choices earn 0.8 a prompt"),
        (["--fallback", "dog", "--min-reward", 1], "fallback dog: no such expert; expected ant"),
        *[
            ([first, "1", second, "1"], f"{first} and {second}: expected one of them")
            for first, second in combinations(
                ("--point", "--budget", "--floor", "--cost-weight"), 2
            )
        ],
    ],
    ids=str,
)
def test_decisions_that_cannot_be_are_one_line(
    routed: Callable[..., Any], args: list[object], message: str
) -> None:
    code, _, err = routed(VARIED, *args)
    check_error(code, err, message)


def test_a_budget_on_a_stream_is_met_as_on_train(
    priced: Path, command: Command, routed: Callable[..., Any]
) -> None:
    files = ("--router", priced, "--input", "-", "--output", "-", "--format", "csv")
    lines = "".join(f"{prompt}\n" for prompt in ["query", *VARIED])
    done = command("route", *files, "--budget", 2, input=lines)
    assert done.returncode == 0, done.stderr
    _, rows, _ = routed(VARIED, "--cost-weight", 0.1)  # of the curve, the best for 2 at most
    assert [row[1] for row in from_csv(done.stdout.encode())[1:]] == [r["expert"] for r in rows]


def test_costs_and_low_probabilities(tmp_path: Path, route_toy: Route, router: Router) -> None:
    prompts = [prompt for prompt in PROMPTS if prompt.strip()]
    decisions = router.route(prompts)
    chances = sorted(decision.probability for decision in decisions)
    least = round((chances[2] + chances[3]) / 2, 4)
    (tmp_path / "in.csv").write_bytes(as_csv([["query"], *([prompt] for prompt in prompts)]))
    (tmp_path / "costs.json").write_text('{"ant": 1, "bee": 0.5, "cat": 100}')
    options = ("--fallback", "bee", "--min-probability", least, "--costs", tmp_path / "costs.json")
    code, err = route_toy(tmp_path / "in.csv", tmp_path / "out.csv", *options)
    assert code == 0, err
    assert f"fallbacks: 3 prompts ({3 / len(prompts):.0%})" in err
    rows = from_csv((tmp_path / "out.csv").read_bytes())[1:]
    for row, decision in zip(rows, decisions, strict=True):
        low = decision.probability < least
        assert row[1] == ("bee" if low else decision.expert)
        assert float(row[2]) == pytest.approx(decision.probabilities[row[1]], abs=2e-5)
    total = sum({"ant": 1, "bee": 0.5, "cat": 100}[row[1]] for row in rows)
    assert f"expected cost of all: {total:.6g} (" in err


def test_costs_that_the_router_knows(
    tmp_path_factory: Factory, routed: Callable[..., Any], toy: Path
) -> None:
    router = tmp_path_factory.mktemp("known") / "router"
    shutil.copytree(toy, router)
    known = {"mean_costs": [1.0, 0.5, 100.0], "mean_rewards": [0.1, 0.9, 0.5]}
    edit_config(router, lambda config: config["training"].update(known))
    _, rows, err = routed(["one", "two"], router=router)
    total = sum({"ant": 1, "bee": 0.5, "cat": 100}[row["expert"]] for row in rows)
    line = err.splitlines()[-1]
    assert line.startswith(f"expected cost of all: {total:.6g} (")
    assert line.endswith("train, alone: 1; with the cheapest for each: 1")


def test_a_fallback_must_be_allowed_and_a_floor_is_of_all(routed: Callable[..., Any]) -> None:
    doubtful = ("--min-reward", 9, "--allowed", "ant,bee")
    code, _, err = routed(VARIED, *doubtful, "--fallback", "cat")
    check_error(code, err, "--fallback cat: is not among those of --allowed")
    code, _, err = routed(VARIED, "--floor", 0.7, "--allowed", "ant")
    check_error(code, err, "--floor with --allowed")
    code, rows, err = routed(VARIED, *doubtful)  # the best single expert of the two
    assert code == 0, err
    assert {row["expert"] for row in rows} == {"ant"}

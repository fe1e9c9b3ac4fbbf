"""`python -m zooter_lite.route` end to end: files in, the same files with experts out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import toy_router
from zooter_lite.router.decision import Decision
from zooter_lite.router.router import Router

ROOT = Path(__file__).resolve().parent.parent
Command = Callable[..., Any]

COLUMNS = ["id", "query", "note, with comma", ""]
PROMPTS = [
    "What is 17 * 23?",
    'She said "convert 3 miles to km",\nthen left.\r\nSo?',
    "Wie heißt die Hauptstadt von Österreich? 🙂 \u2028 日本",
    "",
    "Reverse the word lamp, please. " * 330,
    "lorem ipsum, " * 15_400,
    " \t",
    "\ufeffWhat day is 2024-02-29?",
    "x\ry",
]
CELLS = [[f"0{i}", prompt, "" if i % 2 else "=1+1; 'n'", "NA"] for i, prompt in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def router(router_path: Path) -> Router:
    return Router.load(router_path)


@pytest.fixture(scope="module")
def decisions(router: Router) -> list[Decision | None]:
    """What the library decides on PROMPTS, one at a time; None where there is no prompt."""
    return [router.route([prompt])[0] if prompt.strip() else None for prompt in PROMPTS]


@pytest.fixture(scope="module")
def route(command: Command, router_path: Path) -> Command:
    def run(source: object, target: object, *args: object, **options: Any) -> Any:
        arguments = ("--input", source, "--output", target, *args)
        return command("route", "--router", router_path, *arguments, **options)

    return run


def as_csv(rows: Sequence[Sequence[str]], ending: str = "\r\n") -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows(rows)
    return stream.getvalue().encode()


def from_csv(content: bytes) -> list[list[str]]:
    csv.field_size_limit(2**31 - 1)
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def check_csv(rows: list[list[str]], decisions: list[Decision | None]) -> None:
    """Rows are COLUMNS and CELLS as they were, then the expert and its probability."""
    assert rows[0] == [*COLUMNS, "expert", "probability"]
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
    tmp_path: Path, route: Command, decisions: list[Decision | None]
) -> None:
    (tmp_path / "in.csv").write_bytes(b"\xef\xbb\xbf" + as_csv([COLUMNS, *CELLS]))
    done = route(tmp_path / "in.csv", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(
        r"7 rows routed \(.*%\); 2 rows with an empty prompt left unrouted\n"
        r"9 rows in \d+\.\d s \(\d+ rows/s\)\n",
        done.stderr,
    )
    check_csv(from_csv((tmp_path / "out.csv").read_bytes()), decisions)
    assert len({decision.expert for decision in decisions if decision}) > 1
    assert only(tmp_path) == ["in.csv", "out.csv"]


def test_csv_through_pipes(route: Command, decisions: list[Decision | None]) -> None:
    content = as_csv([COLUMNS, *CELLS], ending="\n")
    done = route("-", "-", "--format", "csv", input=content, text=False)
    assert done.returncode == 0, done.stderr
    check_csv(from_csv(done.stdout), decisions)
    assert b"\r\n" in done.stdout  # inside a cell, nowhere else
    assert done.stdout.endswith(b"\n")
    assert done.stderr.startswith(b"7 rows routed (")


def test_csv_gz_both_ways_gives_equal_bytes_each_time(
    tmp_path: Path, route: Command, decisions: list[Decision | None]
) -> None:
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(as_csv([COLUMNS, *CELLS])))
    for name in ("a.csv.gz", "b.csv.gz"):
        assert route(tmp_path / "in.csv.gz", tmp_path / name).returncode == 0
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    check_csv(from_csv(gzip.decompress((tmp_path / "a.csv.gz").read_bytes())), decisions)


def test_all_probabilities_are_those_of_the_library(
    tmp_path: Path, route: Command, router: Router, decisions: list[Decision | None]
) -> None:
    (tmp_path / "in.csv").write_bytes(as_csv([COLUMNS, *CELLS]))
    done = route(tmp_path / "in.csv", tmp_path / "out.csv", "--all-probabilities")
    assert done.returncode == 0, done.stderr
    header, *rows = from_csv((tmp_path / "out.csv").read_bytes())
    assert header[4:] == ["expert", "probability", *(f"p:{name}" for name in router.experts)]
    for row, decision in zip(rows, decisions, strict=True):
        if decision is None:
            assert row[4:] == [""] * (2 + len(router.experts))
            continue
        found = dict(zip(router.experts, map(float, row[6:]), strict=True))
        assert found == pytest.approx(decision.probabilities, abs=2e-5)
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)
        assert max(found, key=lambda name: found[name]) == row[4]
        assert found[row[4]] == float(row[5])


RECORDS: list[dict[str, Any]] = [
    {"text": "What is 17 * 23?", "b": True, "n": None, "list": [1, 1.0, "é", {"deep": []}]},
    {"float": 1e-7, "int": 2**70, "zero": -0.0, "text": "How many feet are 3 miles? \ud83d"},
    {"text": None, "kept": "\u2028\0\ufeff"},
    {"text": " ", "query": 5, "": {}},
]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_json_lines_keep_every_value(
    tmp_path: Path, route: Command, router: Router, suffix: str
) -> None:
    opened = gzip.open if suffix.endswith("gz") else open
    source, target = (tmp_path / f"{name}.{suffix}" for name in ("in", "out"))
    with opened(source, "wt", encoding="utf-8") as stream:
        stream.write("\n\n".join(json.dumps(record) for record in RECORDS))
    done = route(source, target, "--column", "text", "--all-probabilities")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("2 rows routed (")
    assert done.stderr.splitlines()[0].endswith("; 2 rows with an empty prompt left unrouted")
    with opened(target, "rt", encoding="utf-8") as stream:
        found = [json.loads(line) for line in stream]
    names = ["expert", "probability", *(f"p:{name}" for name in router.experts)]
    added = [[record.pop(name) for name in names] for record in found]
    assert json.dumps(found) == json.dumps(RECORDS)  # tells 1, 1.0 and True apart; key order
    assert added[2:] == [[None] * len(names)] * 2
    for record, (expert, probability, *rest) in zip(RECORDS[:2], added[:2], strict=True):
        decision = router.route([record["text"]])[0]
        assert expert == decision.expert
        assert probability == pytest.approx(decision.probability, abs=2e-5)
        assert rest == pytest.approx(list(decision.probabilities.values()), abs=2e-5)


def test_more_rows_than_a_chunk_stay_in_order(
    tmp_path: Path, route: Command, router: Router
) -> None:
    prompts = [("What is 2 plus 3?", "Reverse lamp.", "")[i % 3] for i in range(2100)]
    expected = {prompt: router.route([prompt])[0].expert for prompt in prompts[:2]} | {"": ""}
    assert len(set(expected.values())) == 3
    rows = [[str(i), prompt] for i, prompt in enumerate(prompts)]
    done = route("-", tmp_path / "out.csv", input=as_csv([["n", "query"], *rows]), text=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(b"1400 rows routed (")
    found = from_csv((tmp_path / "out.csv").read_bytes())[1:]
    assert [row[:3] for row in found] == [[*row, expected[row[1]]] for row in rows]


@pytest.mark.parametrize("precision", ["int8", "auto"])
def test_other_precisions_are_those_of_the_library(
    tmp_path: Path, route: Command, router_path: Path, precision: Any
) -> None:
    prompts = [f"{prompt} {i}" for i in range(40) for prompt in PROMPTS if len(prompt) < 200]
    prompts += prompts[:50]  # repeated prompts are computed once
    (tmp_path / "in.csv").write_bytes(as_csv([["query"], *([prompt] for prompt in prompts)]))
    options = ("--precision", precision, "--threads", "1")
    done = route(tmp_path / "in.csv", tmp_path / "out.csv", *options)
    assert done.returncode == 0, done.stderr
    library = Router.load(router_path, precision)
    expected = library.route(prompts)
    _, *rows = from_csv((tmp_path / "out.csv").read_bytes())
    assert [row[1] for row in rows] == [decision.expert for decision in expected]
    for row, decision in zip(rows, expected, strict=True):
        assert float(row[2]) == pytest.approx(decision.probability, abs=2e-5)
    summary, _, *closing = done.stderr.splitlines()
    assert summary.startswith(f"{len(prompts)} rows routed (")
    if precision == "auto":
        repeated, computed = library.repeats
        assert 0 < repeated < computed == len(set(prompts))
        assert closing == [
            f"close calls answered again in fp32: {repeated} of {computed} prompts computed "
            f"({repeated / computed:.1%})"
        ]
    else:
        assert closing == []


def test_a_precision_that_the_router_lacks(tmp_path: Path, command: Command) -> None:
    toy_router(tmp_path / "router")
    (tmp_path / "in.csv").write_text(GOOD)
    files = ("--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    for precision in ("int8", "auto"):
        done = command("route", "--router", tmp_path / "router", *files, "--precision", precision)
        assert done.returncode == 2
        assert done.stderr == (
            f"error: {tmp_path / 'router'}: no router.int8.onnx; "
            "python -m zooter_lite.export makes it\n"
        )
        assert only(tmp_path) == ["in.csv", "router"]


def test_header_only(tmp_path: Path, route: Command) -> None:
    (tmp_path / "in.csv").write_text("id,query\n")
    done = route(tmp_path / "in.csv", tmp_path / "out.csv")
    assert done.returncode == 0
    assert done.stderr == "0 rows routed (none)\n0 rows in 0.0 s (nothing left to do)\n"
    assert (tmp_path / "out.csv").read_bytes() == b"id,query,expert,probability\n"


def test_an_existing_output_is_only_replaced_by_force(tmp_path: Path, route: Command) -> None:
    path = tmp_path / "both.csv"
    path.write_text("query\nWhat is 2 + 2?\n")
    refused = route(path, path)
    assert refused.returncode == 2
    assert refused.stderr == f"error: {path}: exists already; --force overwrites it\n"
    assert path.read_text() == "query\nWhat is 2 + 2?\n"
    assert route(path, path, "--force").returncode == 0
    header, row = from_csv(path.read_bytes())
    assert header == ["query", "expert", "probability"]
    assert row[0] == "What is 2 + 2?"
    assert only(tmp_path) == ["both.csv"]


def test_help(command: Command) -> None:
    done = command("route", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m zooter_lite.route")
    for name in ("router", "input", "output", "column", "format", "all-probabilities", "force"):
        assert f"--{name}" in done.stdout


GOOD = "query,n\nWhat is 2 + 2?,1\n" + ",2\n" * 1500  # more than one chunk, quickly routed
REFUSED: list[tuple[str, str, str, str, list[str], str]] = [
    ("no column", "in.csv", "q,n\n1,2\n", "out.csv", [], "{in}: no column 'query'; found 'q', 'n'"),
    (
        "other column",
        "in.csv",
        GOOD,
        "out.csv",
        ["--column", "q"],
        "{in}: no column 'q'; found 'query', ",
    ),
    ("taken", "in.csv", "query,expert\n", "out.csv", [], "{in}: already has a column 'expert'"),
    ("taken p", "in.csv", "query,p:units\n", "out.csv", ["--all-probabilities"], "'p:units', whi"),
    ("ragged", "in.csv", GOOD + "a\n", "out.csv", [], "{in}, line 1503: 1 cells, but the header"),
    ("ragged to gz", "in.csv", GOOD + "a\n", "out.csv.gz", [], "{in}, line 1503: 1 cells, but"),
    ("quote", "in.csv", GOOD + '"a\n', "out.csv", [], "{in}, line 1503: broken CSV ("),
    ("NUL", "in.csv", GOOD + "\0\n", "out.csv", [], "{in}, line 1503: a NUL byte"),
    ("empty file", "in.csv", "", "out.csv", [], "{in}: the file is empty; expected a header line"),
    ("no gzip", "in.csv.gz", "query\n", "out.csv", [], "{in}, after line 0: truncated or damaged"),
    ("key missing", "in.jsonl", '{"q": 1}', "out.jsonl", [], "{in}, line 1: no key 'query'; exp"),
    ("number", "in.jsonl", '{"query": 5}', "out.jsonl", [], "{in}, line 1: 'query' holds int, ex"),
    (
        "key taken",
        "in.jsonl",
        '{"query": "a"}\n{"query": "b", "probability": 1}',
        "out.jsonl",
        [],
        "{in}, line 2: already has a key 'probability', which the output adds",
    ),
    ("no JSON", "in.jsonl", "{}}", "out.jsonl", [], "{in}, line 1: not a JSON object ("),
    (
        "1e400",
        "in.jsonl",
        '{"query": "a", "n": 1e400}',
        "out.jsonl",
        [],
        "{in}, line 1: cannot be written as JSON (",
    ),
    ("formats", "in.csv", GOOD, "out.jsonl", [], "{out}: the input is csv and the output jsonl"),
    ("suffix", "in.txt", GOOD, "out.csv", [], "{in}: unknown format; expected a name ending in"),
    ("no folder", "in.csv", GOOD, "none/out.csv", [], "{out}: expected a file name in an existing"),
    ("a file as folder", "in.csv", GOOD, "in.csv/out.csv", [], "{out}: expected a file name in a"),
    ("a folder", "in.csv", GOOD, "../folder.csv", ["--force"], "{out}: expected a file name in an"),
    ("no input", "../none.csv", "", "out.csv", [], "{in}: No such file or directory"),
    ("no threads", "in.csv", GOOD, "out.csv", ["--threads", "0"], "threads 0: expected a number"),
    ("negative", "in.csv", GOOD, "out.csv", ["--threads", "-1"], "threads -1: expected a number"),
    ("too many", "in.csv", GOOD, "out.csv", ["--threads", "99999"], "from 1 to 256"),
]


@pytest.mark.parametrize(
    ("source", "content", "target", "args", "message"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_cannot_be_routed_is_one_line_and_no_output(
    tmp_path: Path,
    route: Command,
    source: str,
    content: str,
    target: str,
    args: list[str],
    message: str,
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "folder.csv").mkdir()
    if source in ("in.csv", "in.csv.gz", "in.jsonl", "in.txt"):
        (folder / source).write_text(content)
    before = only(folder)
    done = route(folder / source, folder / target, *args)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message.format_map({"in": folder / source, "out": folder / target}) in done.stderr
    assert done.stdout == ""
    assert only(folder) == before
    assert only(tmp_path) == ["folder.csv", "work"]


def test_a_failure_with_force_keeps_the_old_output(tmp_path: Path, route: Command) -> None:
    (tmp_path / "in.csv").write_text(GOOD + "a\n")
    (tmp_path / "out.csv").write_text("old")
    assert route(tmp_path / "in.csv", tmp_path / "out.csv", "--force").returncode == 2
    assert (tmp_path / "out.csv").read_text() == "old"
    assert only(tmp_path) == ["in.csv", "out.csv"]


def test_the_summary_compares_costs_with_the_best_single_expert(
    tmp_path: Path, command: Command
) -> None:
    lines = ["query,reward:small,reward:large,cost:small,cost:large"]
    for number in range(40):
        lines += [f"Add {number} and 3,1,1,0.25,2", f"Sing song {number},0,1,0.25,"]
    (tmp_path / "rewards.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "in.csv").write_text("query\nAdd 9 and 9\nSing song 7\n")
    assert command("fit", "--data", "rewards.csv", "--out", "r", cwd=tmp_path).returncode == 0
    training = json.loads((tmp_path / "r/config.json").read_text())["training"]
    assert training["mean_costs"] == [0.25, 2.0]
    (tmp_path / "costs.json").write_text('{"small": 3, "large": 50}')
    for extra, small, large in (([], 0.25, 2), (["--costs", "costs.json"], 3, 50)):
        files = ("--input", "in.csv", "--output", "out.csv", "--force")
        done = command("route", "--router", "r", *files, *extra, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        counts = [row[1] for row in from_csv((tmp_path / "out.csv").read_bytes())[1:]]
        total = counts.count("small") * small + counts.count("large") * large
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("estimated cost")]
        assert line.startswith(f"estimated cost: {total:.6g} (")
        assert line.endswith(f"with large, the best single expert on train, alone: {2 * large}")
    (tmp_path / "costs.json").write_text('{"small": 3, "large": -1}')
    done = command("route", "--router", "r", *files, "--costs", "costs.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "costs.json: 'large' has the cost -1; expected a number from 0" in done.stderr


def test_low_probabilities_go_to_the_fallback(
    tmp_path: Path, route: Command, router: Router
) -> None:
    prompts = [prompt for prompt in PROMPTS if prompt.strip()]
    probabilities = sorted(decision.probability for decision in router.route(prompts))
    least = round((probabilities[2] + probabilities[3]) / 2, 4)
    (tmp_path / "in.csv").write_bytes(as_csv([["query"], *([prompt] for prompt in prompts)]))
    options = ("--fallback", "generalist", "--min-probability", least)
    done = route(tmp_path / "in.csv", tmp_path / "out.csv", *options)
    assert done.returncode == 0, done.stderr
    assert f"fallbacks: 3 prompts ({3 / len(prompts):.0%})" in done.stderr
    rows = from_csv((tmp_path / "out.csv").read_bytes())[1:]
    place = router.experts.index("generalist")
    for row, decision in zip(rows, router.route(prompts), strict=True):
        if decision.probability < least:
            assert row[1] == "generalist"
            chances = list(decision.probabilities.values())
            assert float(row[2]) == pytest.approx(chances[place], abs=2e-5)
        else:
            assert row[1] == decision.expert
    for args, message in (
        (["--fallback", "nobody", "--min-probability", "0.5"], "--fallback nobody: no such expert"),
        (["--fallback", "generalist"], "--fallback and --min-probability are needed together"),
        (["--fallback", "units", "--min-probability", "1.5"], "expected 0 to 1"),
        (["--workers", "0"], "--workers 0: expected a number from 1 to"),
        (["--block", "0"], "--block 0: expected a number from 1 to"),
    ):
        refused = route(tmp_path / "in.csv", tmp_path / "none.csv", *args)
        assert refused.returncode == 2
        assert message in refused.stderr


def test_pipes_need_a_format(route: Command) -> None:
    done = route("-", "-", input="query\nx\n")
    assert done.returncode == 2
    assert done.stderr == "error: --format csv or --format jsonl is needed with - for both files\n"
    assert done.stdout == ""


@pytest.mark.parametrize("damage", ["missing", "no config", "damaged head"])
def test_a_broken_router(tmp_path: Path, command: Command, router_path: Path, damage: str) -> None:
    router = tmp_path / "router"
    if damage != "missing":
        shutil.copytree(router_path, router)
    if damage == "no config":
        (router / "config.json").unlink()
    if damage == "damaged head":
        content = (router / "head.safetensors").read_bytes()
        (router / "head.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (tmp_path / "in.csv").write_text(GOOD)
    files = ("--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    done = command("route", "--router", router, *files)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {router}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def start(router: Path, source: Path, target: Path, *args: str) -> subprocess.Popen[bytes]:
    files = ["--router", str(router), "--input", str(source), "--output", str(target)]
    arguments = [sys.executable, "-m", "zooter_lite.route", *files, *args]
    return subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("old", ["old", None])
def test_a_killed_run_leaves_the_output_as_it_was(
    tmp_path: Path, router_path: Path, old: str | None
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("query,pad\n" + f"What is 2 + 2?,{'x' * 100}\n" * 50_000)
    if old is not None:
        target.write_text(old)
    process = start(router_path, source, target, "--force")
    try:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob(".out.csv.*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert target.exists() == (old is not None)
    assert old is None or target.read_text() == old
    left = [name for name in only(tmp_path) if name not in ("in.csv", "out.csv")]
    assert set(left) <= {f".out.csv.{end}" for end in ("partial", "rejects.partial", "journal")}
    assert start(router_path, source, target, "--force").wait() == 0
    found = from_csv(target.read_bytes())
    assert [row[0] for row in found] == ["query"] + ["What is 2 + 2?"] * 50_000
    assert len({tuple(row) for row in found[1:]}) == 1
    assert only(tmp_path) == ["in.csv", "out.csv"]


PEAK = """
import re, runpy, sys
try:
    runpy.run_module("zooter_lite.route", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert end.code == 0
    status = open("/proc/self/status").read()
    print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path, router_path: Path) -> None:
    peaks = []
    for n_rows in (2_000, 20_000):
        source, target = tmp_path / f"{n_rows}.csv", tmp_path / f"{n_rows}.out.csv"
        with source.open("w") as stream:  # most prompts empty: a long file in a short time
            stream.write("query,pad\n")
            for i in range(n_rows):
                stream.write(f"{'' if i % 20 else 'What is 2 + 2?'},{'x' * 8000} {i}\n")
        files = ["--router", router_path, "--input", source, "--output", target]
        arguments = [sys.executable, "-c", PEAK, *map(str, files)]
        done = subprocess.run(
            arguments, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
        )
        assert done.stderr.startswith(f"{n_rows // 20} rows routed")
        assert target.stat().st_size > source.stat().st_size
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 40, peaks  # MB; the longer file has 144 MB more

"""The pure parts of the speed bench: prompts, percentiles, verdicts, tables, the picture."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from recipes.bench import precision
from recipes.bench.speed.checks import invariance_checks, reward_checks, start_checks
from recipes.bench.speed.figures import (
    BARE,
    FLOOR,
    OURS,
    PEER,
    TOKENISED,
    TORCH,
    Check,
    Timed,
    percentile,
    speed_checks,
)
from recipes.bench.speed.floor import Body
from recipes.bench.speed.invariance import changes, in_batches
from recipes.bench.speed.lineup import PEERS, lineup, routers
from recipes.bench.speed.ours import precisions
from recipes.bench.speed.picture import dot_plot
from recipes.bench.speed.prompts import mixed_lengths, prompts_of, vocabulary
from recipes.bench.speed.protocol import ROOT
from recipes.bench.speed.start import Start, directory_mb, packages_mb
from recipes.bench.speed.write import Results, Timing, check_table, floor_table, page
from zooter_lite.encode.find import DEFAULT, find_encoder

SVG = "{http://www.w3.org/2000/svg}"


def timed(group: str, label: str, ms: float, rate: float = 0, **more: object) -> Timed:
    seconds = {tokens: [ms * factor / 1000] for tokens, factor in ((20, 1), (60, 2), (200, 6))}
    return Timed(group, label, seconds=seconds, rates=[rate] if rate else [], **more)  # type: ignore[arg-type]


def field() -> list[Timed]:
    return [
        timed(OURS, "zooter-lite fp32", 2.0, 300, precision="fp32"),
        timed(OURS, "zooter-lite int8", 1.0, 500, precision="int8"),
        timed(BARE, "raw", 1.5, precision="fp32"),
        timed(TOKENISED, "raw + t, 2", 1.6, precision="fp32"),
        timed(TOKENISED, "raw + t, 1", 1.9, precision="fp32"),
        timed(TORCH, "sentence-transformers", 7.0, 100, on_torch=True),
        timed(PEER, "slow", 9.0, 80, on_torch=True),
        timed(PEER, "torch peer", 8.0, 80, on_torch=True),
        timed(PEER, "<onnx> & peer", 3.0, 80),
        timed(FLOOR, "numpy", 1.2),
        timed(FLOOR, "onnxruntime", 1.1),
        timed(FLOOR, "onnxruntime u8s8", 0.5, precision="int8"),
    ]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    read = Tokenizer.from_file(str(find_encoder(DEFAULT) / "tokenizer.json"))
    read.no_truncation()
    read.no_padding()
    return read


def test_prompts_have_exactly_the_asked_length(tokenizer: Tokenizer) -> None:
    words = vocabulary(tokenizer, ["What is the antidisestablishmentarianism of 17*23?", "Ja, é"])
    assert ("What", 1) in words
    lengths = [20, 60, 200, 3, 20, 256]
    prompts = prompts_of(tokenizer, words, lengths, seed=5)
    assert [len(tokenizer.encode(prompt).ids) for prompt in prompts] == lengths
    assert len(set(prompts)) == len(prompts)
    assert prompts == prompts_of(tokenizer, words, lengths, seed=5)
    assert prompts != prompts_of(tokenizer, words, lengths, seed=6)


def test_too_few_words_for_different_prompts_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="too few words for another prompt of 3 tokens"):
        prompts_of(tokenizer, [("a", 1), ("b", 1)], [3, 3, 3], seed=0)
    with pytest.raises(ValueError, match="a prompt has 4 tokens, expected 3"):
        prompts_of(tokenizer, [("a b", 1)], [3], seed=0)


def test_mixed_lengths_have_the_mean_that_the_table_states() -> None:
    lengths = mixed_lengths(20_000, seed=1)
    assert statistics.mean(lengths) == pytest.approx(57, abs=1)
    assert (min(lengths), max(lengths)) == (8, 256)
    assert statistics.median(lengths) < 45


@pytest.mark.parametrize("percent", [0, 1, 37.5, 50, 99, 100])
def test_percentiles_are_numpys(percent: float) -> None:
    values = np.random.default_rng(0).exponential(size=101).tolist()
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))


def test_ratios_are_those_of_the_medians() -> None:
    checks = {check.what: check for check in speed_checks(field())}

    def figure(start: str) -> float | None:
        (check,) = (check for what, check in checks.items() if what.startswith(start))
        return check.figure

    # the faster of the two raw sessions is the denominator: 4.0 / 3.2
    assert figure("fp32: whole decision") == pytest.approx(1.25)
    assert figure("int8: whole decision") is None
    assert figure("fp32: fastest peer (<onnx> & peer) / whole decision, 20 t") == 1.5
    assert figure("fp32: fastest peer on torch (torch peer) / whole decision, 200") == 4.0
    assert figure("int8: fastest peer on torch (torch peer)") == pytest.approx(8.0)
    assert figure("static: fastest peer (") is None
    assert figure("fp32: mixed-length") == pytest.approx(3.0)
    assert figure("int8: mixed-length") == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("figure", "at_most", "verdict"),
    [
        (1.15, True, "pass"),
        (1.1501, True, "FAIL"),
        (1.15, False, "pass"),
        (1.1499, False, "FAIL"),
        (None, True, "not measured"),
        (float("nan"), True, "FAIL"),
    ],
)
def test_the_figure_itself_decides_the_verdict(
    figure: float | None, at_most: bool, verdict: str
) -> None:
    assert Check("it", figure, 1.15, at_most).verdict == verdict


def test_the_other_targets() -> None:
    starts = {"fp32": Start(0.41, 0.5, 240.0, 9)}
    found = [(c.what, c.verdict) for c in start_checks(starts, 301.0)]
    assert found == [
        ("fp32: cold start to first decision", "FAIL"),
        ("fp32: peak memory of that process", "pass"),
        ("int8: cold start to first decision", "not measured"),
        ("int8: peak memory of that process", "not measured"),
        ("size of a serving environment (base install)", "FAIL"),
    ]
    ways = [
        (c.what.partition(":")[0], c.what.rpartition(" ")[2], c.verdict)
        for c in invariance_checks(
            {"fp32": {"router": {"changed": 0}, "graph": {"changed": 2}}, "static": {}}
        )
    ]
    assert ways == [
        ("fp32", "router", "pass"), ("fp32", "graph", "FAIL"),
        ("int8", "router", "not measured"), ("auto", "router", "not measured"),
    ]  # fmt: skip
    assert {c.verdict for c in reward_checks({})} == {"not measured"}
    found_rewards = reward_checks({"llmrouter": {"fp32": {"flips": 1}, "int8": {"lost": -0.2}}})
    assert [c.verdict for c in found_rewards] == ["FAIL", "pass"]


def test_changed_decisions_are_counted() -> None:
    one = np.array([[0.9, 0.1], [0.4, 0.6]])
    other = np.array([[0.8, 0.2], [0.6, 0.4]])
    assert changes(one, other) == {"changed": 1, "difference": pytest.approx(0.2)}
    sizes: list[int] = []

    def predict(prompts: Sequence[str]) -> np.ndarray:
        sizes.append(len(prompts))
        return np.asarray([[float(prompt), 1.0] for prompt in prompts])

    assert in_batches(predict, [str(i) for i in range(40)])[:, 0].tolist() == list(range(40))
    assert sizes == [32, 8]


def test_flips_leave_ties_apart_and_lost_reward_is_in_points() -> None:
    torch_probs = np.array([[0.5, 0.5 - 1e-7], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6]])
    probs = np.array([[0.5 - 1e-7, 0.5], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
    rewards = np.array([[1.0, 1.0], [1.0, 0.5], [0.0, 1.0], [0.0, 0.0]])
    found = precision.compare(torch_probs, probs, rewards)
    assert (found["rows"], found["changed"], found["flips"]) == (4, 2, 1)
    assert found["difference"] == pytest.approx(0.4)
    assert found["reward"] == pytest.approx(62.5)
    assert found["lost"] == pytest.approx(12.5)
    assert "| llmrouter | 4 | int8 | 2 | 1 | 4.0e-01 | 62.500 | +12.500 |" in precision.page(
        {"llmrouter": {"int8": found}}
    )


def test_a_router_offers_the_precisions_whose_graphs_it_has(tmp_path: Path) -> None:
    (tmp_path / "router.onnx").write_bytes(b"1" * 1000)
    assert precisions(tmp_path) == ["fp32"]
    (tmp_path / "router.int8.onnx").write_bytes(b"1" * 500)
    (tmp_path / "config.json").write_bytes(b"1" * 10)
    assert precisions(tmp_path) == ["fp32", "int8", "auto"]
    assert list(routers(tmp_path, tmp_path / "s")) == ["fp32", "int8", "auto", "static"]
    graphs = {"fp32": "router.onnx", "int8": "router.int8.onnx"}
    sizes = [directory_mb(tmp_path, p, graphs) for p in ("fp32", "int8", "auto")]
    assert sizes == pytest.approx([0.00101, 0.00051, 0.00151])


def test_an_environment_is_weighed_without_its_installer(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    for name, size in (("numpy", 3000), ("pip", 500), ("setuptools-70.dist-info", 100)):
        (packages / name / "sub").mkdir(parents=True)
        (packages / name / "sub" / "a.py").write_bytes(b"1" * size)
    assert packages_mb(tmp_path / "bin" / "python") == pytest.approx(0.003)


def test_everyone_takes_part(tmp_path: Path) -> None:
    offered = {"fp32": tmp_path, "int8": tmp_path, "auto": tmp_path, "static": tmp_path}
    entries = lineup(offered, "encoder", tmp_path, peers=True)
    groups = [entry.group for entry in entries]
    assert [groups.count(g) for g in (OURS, BARE, TOKENISED, TORCH, PEER)] == [4, 2, 6, 1, 6]
    assert len({entry.label for entry in entries}) == len(entries)
    assert PEER not in {entry.group for entry in lineup(offered, "e", tmp_path, peers=False)}


@pytest.mark.parametrize("environment", sorted({peer[1] for peer in PEERS}))
def test_every_peer_is_pinned(environment: str) -> None:
    lines = (ROOT / f"recipes/bench/speed/requirements-{environment}.txt").read_text("utf-8")
    packages = [line for line in lines.splitlines() if not line.startswith("#")]
    assert "torch==2.13.0" in packages
    assert any(line.startswith(f"{environment}==") for line in packages)
    assert all(line.count("==") == 1 and " " not in line for line in packages)


def test_the_floor_counts_the_products_of_minilm() -> None:
    body = Body(layers=6, width=384, inner=1536, heads=12)
    # 10.6M weights in the layers; attention adds 2 x 60 x 384 a token and layer
    weights = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert body.flops(60) == 2 * 60 * weights + 6 * 4 * 60 * 60 * 384
    assert Body.read(str(find_encoder(DEFAULT))) == body


def test_the_fastest_floor_of_each_precision_is_bold() -> None:
    table = floor_table(field(), {20: 10**9, 60: 10**9, 200: 10**9})
    bold = [line.split(" | ")[0] for line in table.splitlines() if line.count("**") == 6]
    assert bold == ["| onnxruntime", "| onnxruntime u8s8"]
    assert "**1.10** (909)" in table


def test_the_page_holds_every_part() -> None:
    timing = Timing(field(), flops=dict.fromkeys((20, 60, 200), 1), skipped=["SetFit: gone"])
    results = Results(
        machine=["CPU: x"],
        timing=timing,
        starts={"fp32": Start(0.3, 0.4, 200.0, 9)},
        packages_mb=268.0,
        directories_mb={"fp32": 93.0},
        invariance={
            "fp32": {"prompts": 5000, "router": {"changed": 2, "difference": 1e-7}},
            "auto": {"repeated": 0.113},
        },
        prompts_from="5,000 real prompts",
        checks=speed_checks(timing.timed),
    )
    text = page(results)
    assert "| zooter-lite fp32 | 2.00 | 2.00 | 4.00 | 4.00 | 12.0 | 12.0 |" in text
    assert "| zooter-lite int8 | 500 | 500 to 500 |" in text
    assert "| fp32 | 0.300 | 0.400 | 200 | 93 |" in text
    assert "| fp32 | router | 5,000 | 2 | 1.0e-07 |" in text
    assert "auto repeated 11.3% of them in fp32." in text
    assert "Serving environment: 268 MB" in text
    assert "- SetFit: gone" in text
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "| **FAIL** |" in check_table(results.checks)


def test_the_picture_places_dots_by_the_logarithm() -> None:
    root = ET.fromstring(dot_plot(field()))
    dots = list(root.iter(f"{SVG}circle"))
    assert len(dots) == 3 * 9  # the floors are in a table of their own
    assert [d.get("class") for d in dots].count("ours") == 6
    x = [float(dot.get("cx", "nan")) for dot in dots[:9]]
    # 2.0, 1.0 and 8.0 ms: a factor of two is one step, a factor of four two
    assert x[7] - x[0] == pytest.approx(2 * (x[0] - x[1]), abs=0.2)
    assert "<onnx> & peer" in [text.text for text in root.iter(f"{SVG}text")]
    assert not list(root.iter(f"{SVG}script"))
    assert ET.fromstring(dot_plot([])).tag == f"{SVG}svg"


def test_a_worker_answers_rounds_over_its_pipe() -> None:
    """A floor needs no router and no torch, so it stands for all contestants."""
    encoder = str(find_encoder(DEFAULT))
    requests = [
        {"kind": "latency", "prompts": ["a", "b"], "warm": ["c"], "length": 3},
        {"kind": "throughput", "prompts": ["a"], "warm": []},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "recipes.bench.speed.worker", "floor", encoder, "numpy", "1"],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    about, answer, error = map(json.loads, done.stdout.splitlines())
    assert isinstance(about, dict)
    assert len(answer["seconds"]) == 2
    assert min(answer["seconds"]) > 0
    assert "error" in error

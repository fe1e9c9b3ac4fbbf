"""Small files of the shapes in which other projects publish rewards, made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.helpers import write_lines
from tests.tiny_encoders import save_tiny
from zooter_lite import RewardTable, Router, fit_router
from zooter_lite.errors import DataError

Rows = list[dict[str, Any]]
Write = Callable[[Path, Rows], Path]
MODELS = ("lab/small-1.5", "big")
ROWS: Rows = [
    {"query": "What is 2+2?", "subset": "sums", "rewards": (1.0, 0.5), "costs": (0.001, 0.25)},
    {"query": 'It\'s "so"\nor not?', "subset": "chat_x", "rewards": (0.0, 1.0), "costs": (0, 2)},
    {"query": "[1, 2] as a set?", "subset": "sums", "rewards": (1.0, None), "costs": (0.5, 1)},
]


def routerbench_frame(rows: Rows) -> pd.DataFrame:
    wide: Rows = []
    for number, row in enumerate(rows):
        one = {"sample_id": f"{row['subset']}.val.{number}", "prompt": str([row["query"]])}
        one["eval_name"] = row["subset"]
        one |= dict(zip(MODELS, row["rewards"], strict=True))
        one |= {f"{model}|model_response": str([f"{model} says"]) for model in MODELS}
        one |= {f"{m}|total_cost": cost for m, cost in zip(MODELS, row["costs"], strict=True)}
        wide.append(one | {"oracle_model_to_route_to": "no_model_correct"})
    return pd.DataFrame(wide)


def routerbench_csv(folder: Path, rows: Rows) -> Path:
    routerbench_frame(rows).to_csv(folder / "routerbench_0shot.csv", index=False)
    return folder / "routerbench_0shot.csv"


def answers(rows: Rows, *names: str) -> list[tuple[int, str, dict[str, Any]]]:
    """One row for each query and model, under their names: beside the query's number and subset."""
    made = []
    for number, row in enumerate(rows):
        for model, reward, cost in zip(MODELS, row["rewards"], row["costs"], strict=True):
            values = (model, reward, row["query"], row["subset"], cost, f"{model} says")
            named = dict(zip(names, values, strict=True))
            made.append((number, row["subset"], {k: v for k, v in named.items() if k}))
    return made


def routerbench_raw(folder: Path, rows: Rows) -> Path:
    names = ("model_name", "performance", "prompt", "eval_name", "cost", "model_response")
    made = [
        row | {key: str([row[key]]) for key in ("prompt", "model_response")}
        | {"sample_id": f"{subset}.{number}"}
        for number, subset, row in answers(rows, *names)
    ]  # fmt: skip
    return write_lines(folder / "routerbench_raw.jsonl", made)


def llmrouter(folder: Path, rows: Rows) -> Path:
    names = ("model_name", "performance", "query", "task_name", "", "response")
    more = {"ground_truth": "4", "metric": "em", "choices": None, "task_id": None, "token_num": 12}
    made = [row | more | {"embedding_id": 40 + n} for n, _, row in answers(rows, *names)]
    return write_lines(folder / "default_routing_train_data.jsonl", made)


def llmrouterbench(folder: Path, rows: Rows) -> Path:
    """results/bench: a file for each data set, split, model and run; the last run counts."""
    runs: dict[tuple[str, str], Rows] = {}
    for _, subset, row in answers(rows, "model", "score", "prompt", "", "cost", "raw_output"):
        runs.setdefault((subset, row.pop("model")), []).append(row | {"prediction": "4"})
    for (subset, model), records in runs.items():
        run = {"performance": 0.7, "cost": 9.0, "model_name": model, "dataset_name": subset}
        place = folder / "bench" / subset / "test" / model.replace("/", "_")
        place.mkdir(parents=True)
        for stamp, more in (
            ("20250101_000000", {"records": [record | {"score": 0.1} for record in records]}),
            ("20250901_120000", {"records": records, "split": "test", "demo": False}),
        ):
            name = f"{subset}-test-{place.name}-{stamp}.json"
            (place / name).write_text(json.dumps(run | more, indent=2), "utf-8")
    write_lines(
        folder / "bench" / "zz-demo.json", [{"demo": True, "model_name": "x", "records": [{}]}]
    )
    return folder / "bench"


def routerarena_cached(folder: Path, rows: Rows) -> Path:
    made: dict[str, Rows] = {}
    names = ("llm_selected", "score", "question", "", "inference_cost", "generated_answer")
    for number, subset, row in answers(rows, *names):
        told = {key: row.pop(key) for key in ("score", "inference_cost")}
        runs = [{"score": 0.25, "inference_cost": 7}] * (told["score"] is not None)
        made.setdefault(row["llm_selected"], []).extend(
            row | {"global_index": f"{subset}_{number}", "error": None, "evaluation_result": result}
            for result in (None, told, *runs)
        )
    for model, own in made.items():
        write_lines(folder / "cached_results" / f"{model.replace('/', '_')}.jsonl", own)
    return folder / "cached_results"


def routerarena_predictions(folder: Path, rows: Rows) -> Path:
    made = [
        row | {"global index": f"{subset}_{number}", "for_optimality": False}
        | {"generated_result": {"generated_answer": row.pop("said"), "success": True}}
        for number, subset, row in answers(
            rows, "prediction", "accuracy", "prompt", "", "cost", "said"
        )
    ]  # fmt: skip
    made.append(made[0] | {"accuracy": None, "generated_result": None})
    (folder / "mine.json").write_text(json.dumps(made, indent=2), "utf-8")
    return folder / "mine.json"


WRITERS = (
    routerbench_csv, routerbench_raw, llmrouter, llmrouterbench,
    routerarena_cached, routerarena_predictions,
)  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_a_published_table_is_read(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, ROWS)
    table = RewardTable.read(path)
    wanted = {row["query"]: row for row in ROWS}
    assert sorted(table.queries) == sorted(wanted)
    assert sorted(table.experts) == sorted(MODELS)
    assert table.splits is None
    assert table.responses is not None
    places = [table.experts.index(model) for model in MODELS]
    for n, query in enumerate(table.queries):
        assert table.subsets[n] == wanted[query]["subset"]
        rewards = np.array(wanted[query]["rewards"], dtype=np.float32)
        np.testing.assert_array_equal(table.rewards[n, places], rewards)
        if table.costs is not None:
            paid = np.array(wanted[query]["costs"], dtype=np.float32)
            known = ~np.isnan(rewards) if "routerbench_0shot" not in path.name else ...
            np.testing.assert_array_equal(table.costs[n, places][known], paid[known])
        assert table.responses[n][places[0]] == f"{MODELS[0]} says"
    assert (table.costs is None) == (write is llmrouter)
    assert RewardTable.read(path, responses=False).responses is None


def test_a_frame_of_routerbench_and_the_ids_that_are_kept(tmp_path: Path) -> None:
    frame = routerbench_frame(ROWS[:2])
    frame["prompt"] = [str(["First?", "And then?"]), "[no list]"]
    frame["split"] = ["train", "test"]
    table = RewardTable.of(frame, "routerbench")
    assert list(table.queries) == ["First?\n\nAnd then?", "[no list]"]  # turns are joined
    assert (table.experts, table.splits) == (list(MODELS), ["train", "test"])
    frame = frame.rename(columns={"prompt": "query", **{m: f"reward:{m}" for m in MODELS}})
    assert RewardTable.of(frame).costs is None  # our own shape wins
    assert RewardTable.read(llmrouter(tmp_path, ROWS)).query_ids == ["40", "41", "42"]
    assert RewardTable.read(routerbench_raw(tmp_path, ROWS)).query_ids[0] == "sums.0"


@pytest.mark.parametrize(
    ("write", "change", "message"),
    [
        (llmrouter, ('"performance": 1.0', '"performance": "good"'), "line 1, column 'reward:lab/"),
        (llmrouter, ('"model_name": "big"', '"model_name": ""'), "line 2, column 'model': empty"),
        (llmrouter, ('"query"', '"text"'), "no column 'query'; found "),
        (routerbench_csv, ("1.0,0.5", "1.0,half"), "column 'reward:big': 'half' is not a number"),
        (routerarena_predictions, ('"accuracy"', '"acc"'), "no column 'query'; found 'prediction"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(
    tmp_path: Path, write: Write, change: tuple[str, str], message: str
) -> None:
    path = write(tmp_path, ROWS)
    text = path.read_text("utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change), "utf-8")
    with pytest.raises(DataError) as error:
        RewardTable.read(path)
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_wrong_file_of_a_folder_is_named(tmp_path: Path) -> None:
    folder = routerarena_cached(tmp_path, ROWS)
    wrong = write_lines(folder / "z.jsonl", [{"global_index": "sums_1", "question": "?"}])
    wrong.write_text(wrong.read_text() + "{\n")
    with pytest.raises(DataError, match=r"z\.jsonl, line 2: not a JSON object"):
        RewardTable.read(folder)
    wrong.unlink()
    folder = llmrouterbench(tmp_path, ROWS)
    write_lines(folder / "a.json", [{"model_name": "x", "dataset_name": "y", "records": ["one"]}])
    with pytest.raises(DataError, match=r"a\.json, line 1: expected objects as records"):
        RewardTable.read(folder)


def test_predictions_that_nobody_evaluated_are_told(tmp_path: Path) -> None:
    path = routerarena_predictions(tmp_path, [row | {"rewards": (None, None)} for row in ROWS])
    with pytest.raises(DataError, match=r"mine\.json: no row has a reward; expected one"):
        RewardTable.read(path)


def test_another_folder_of_json_goes_to_datasets(tmp_path: Path) -> None:
    row = {"query": "one", "reward:a": 1.0, "reward:b": 0.0}
    write_lines(tmp_path / "data" / "train.jsonl", [row, row | {"query": "two"}])
    assert RewardTable.read(tmp_path / "data").splits == ["train", "train"]


@pytest.mark.usefixtures("one_thread")
def test_a_published_table_is_fitted(tmp_path: Path, cache: Path) -> None:
    rows: Rows = [
        {"query": f"{word} {chr(97 + n // 26)}{chr(97 + n % 26)}", "subset": word}
        | {"rewards": rewards, "costs": (1, 2)}
        for n in range(40)
        for word, rewards in (("face face face", (1.0, 0.0)), ("1 2 3 4", (0.0, 1.0)))
    ]
    save_tiny(tmp_path / "tiny", "mean")
    router = fit_router(
        str(routerarena_cached(tmp_path, rows)), out=str(tmp_path / "r"), head="linear",
        encoder=str(tmp_path / "tiny"), tags="none", precision="fp32", cache=str(cache),
    )  # fmt: skip
    assert isinstance(router, Router)
    found = router.route(["face face face zz", "1 2 3 4 zz"])
    assert [one.expert for one in found] == list(MODELS)
    assert found[0].expected_cost is not None


@pytest.mark.parametrize("cell", ["[{{}}]", "[1if 2else 3]", "['unclosed", "[{[1]: 2}]"])
def test_a_prompt_that_only_looks_like_a_list_and_rows_without_an_id(
    tmp_path: Path, cell: str
) -> None:
    rows = [
        {"sample_id": None, "model_name": model, "eval_name": "e", "cost": 1.0}
        | {"prompt": prompt, "performance": 1.0, "model_response": cell}
        for prompt in (cell, "other")
        for model in MODELS
    ]
    assert RewardTable.read(write_lines(tmp_path / "raw.jsonl", rows)).queries == [cell, "other"]

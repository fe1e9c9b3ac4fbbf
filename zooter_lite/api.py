"""Fit a router from Python: `fit_router` reads top to bottom, in the order of the rooms."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from zooter_lite.ask.prices import priced
from zooter_lite.cli import as_command, bar, cache_folder
from zooter_lite.compare.evaluation import held_out_report
from zooter_lite.errors import DataError, needs
from zooter_lite.finetune.launch import check as check_finetuning
from zooter_lite.labels.diagnostics import diagnose, overlaps
from zooter_lite.recipe import (
    Recipe,
    check_recipe,
    long_columns,
    names_of,
    new_names,
    precisions,
)
from zooter_lite.report.card import documents, parity_lines
from zooter_lite.report.terminal import conclusion, trade_table
from zooter_lite.router.directory.store import check_replaceable, write_router
from zooter_lite.router.router import Router
from zooter_lite.router.tokens import cut_prompts
from zooter_lite.table import RewardTable, as_table, sample_path, table_name
from zooter_lite.table.experts import added, renamed, without
from zooter_lite.table.keys import query_hashes
from zooter_lite.table.splits import part_of, with_splits

UNDECISIVE = ("cache", "jobs")  # options that change no byte of a router


def fit_router(
    table: Any = None,
    out: str | Path = "",
    *,
    say: Callable[[str], object] = lambda _: None,
    **options: Any,
) -> Router:
    """Fit a router on a reward table, evaluate it on the held-out rows, write its directory.

    Parameters
    ----------
    table
        A RewardTable; the path of one; a pandas or polars frame, an Arrow table or a
        `datasets.Dataset` with the same columns; None for the bundled sample.
    out
        Router directory to write; "" for exports/NAME-OF-TABLE.
    say
        Called with every line that the command prints.
    **options
        Fields of `Recipe`, which documents them.

    Returns
    -------
    The router, loaded from its directory.

    Raises
    ------
    DataError
        The table or an option is not usable. Nothing is written.
    MissingPackageError
        The extra [fit] is not installed.

    Examples
    --------
    >>> router = fit_router("rewards.csv", "exports/mine", seed=1)  # doctest: +SKIP
    >>> router.route(["What is 17 * 23?"])[0].expert  # doctest: +SKIP
    'calculator'
    """
    recipe = Recipe(**options)
    check_recipe(recipe)
    check_finetuning(recipe)
    source = sample_path() if table is None else table
    path = str(source) if isinstance(source, (str, Path)) else ""
    name = table_name(path) or "table"
    folder = Path(out or f"exports/{name}")
    check_replaceable(folder)
    with needs("fit", "fitting a router"):
        from zooter_lite.encode.load import load_encoder
        from zooter_lite.encode.words import Words
        from zooter_lite.head.choose import MOST_CHOOSING, choose
        from zooter_lite.head.fit_head import fit_chosen
        from zooter_lite.head.wording import try_words
        from zooter_lite.onnx.graphs import export_graphs, router_config, tag_files

    reading: dict[str, Any] = {"long": long_columns(recipe.long), "separator": recipe.separator}
    reading |= {"context": recipe.context} | ({"responses": True} if recipe.prices else {})
    read, changes = _with_experts(as_table(source, **reading), recipe, reading)
    rewards, notes = with_splits(read, recipe.hold_out, recipe.drop_leaks)
    cache = cache_folder(recipe.cache)
    clock = [time.perf_counter()]
    encoder = load_encoder(recipe.encoder, cache, recipe.prompt, recipe.layers)
    by_price = priced(rewards, recipe.prices, encoder.tokenizer) if recipe.prices else None
    rewards = rewards if by_price is None else by_price.table
    rows = rewards.rows("train")
    train = rewards.take(rows)
    if recipe.point in ("match", "economy") and not train.has_costs:
        raise DataError(f"--point {recipe.point}: {_no_costs(train)}")
    if train.costs is not None and not train.has_costs:
        notes.append(f"costs are left out: {_no_costs(train)}")
    for line in [*changes, *notes, *_described(path or name, rewards, train)]:
        say(line)
    clock.append(time.perf_counter())
    with bar(len(np.unique(query_hashes(rewards.queries))), "embedding") as progress:
        embeddings = encoder.embed(rewards.queries, cache, progress.update)
    if n_cut := encoder.session().tokens.longer(rewards.queries):
        say(cut_prompts(n_cut, len(rewards), encoder.spec.max_length))
    clock.append(time.perf_counter())
    with bar(None, "fitting") as progress:
        part = part_of(embeddings, rows)
        most_choosing = None if recipe.finetune else MOST_CHOOSING
        tokens = encoder.session().tokens.lengths(rewards.queries) if train.has_costs else None
        lengths = None if tokens is None else tokens[rows]
        turns: Any = (progress.update, progress.reset)
        choice = choose(train, part, recipe, *turns, most_choosing=most_choosing)
        details: dict[str, Any] = {"cross_validation": [asdict(s) for s in choice.selection.scores]}
        told = [choice.summary()]
        tells_apart = recipe.head == "prior" and recipe.domains and choice.sample is None
        words = Words.of(encoder) if tells_apart and not recipe.finetune else None
        if words is not None:
            both = words.beside(part, train.queries)
            worded = try_words(choice, train, both, *turns)
            told.append(worded.summary())
            details["words"] = worded.to_json()
            if worded.pays:
                choice, part = worded.choice, both
                encoder, embeddings = words.encoder(), words.beside(embeddings, rewards.queries)
        fitted = fit_chosen(train, part, choice, *turns, tokens=lengths)
    clock.append(time.perf_counter())
    for line in told:
        say(line)
    say(trade_table(fitted.decisions, train.experts))
    if recipe.finetune:
        from zooter_lite.finetune.finetune import finetune  # transformers takes seconds to load

        with bar(None, "fine-tuning") as progress:
            tuned = finetune(
                *(encoder, embeddings, rewards, fitted, recipe, cache),
                *(progress.update, progress.reset),
            )
        say(tuned.summary())
        encoder, embeddings, fitted = tuned.encoder, tuned.embeddings, tuned.fitted
        details["finetune"] = tuned.to_json()
    clock.append(time.perf_counter())
    with bar(None, "export and parity") as progress:
        exports = export_graphs(
            *(encoder, fitted.head, train, precisions(recipe.precision), cache, progress.update),
            points=fitted.decisions.points,
        )
    clock.append(time.perf_counter())
    files = exports.files | tag_files(
        train, part_of(embeddings, rows), fitted.tagging, keep_queries=recipe.keep_queries
    )
    report = held_out_report(
        *(rewards, embeddings, fitted.head, name, recipe.seed),
        points=fitted.decisions.points,
        tokens=tokens,
    )
    config = router_config(encoder, train, fitted, recipe, by_price)
    config = replace(config, parity=exports.parity)
    details["options"], command = _provenance(recipe, path if table is not None else None)
    files |= documents(config, list(report.slices.values()), details, command)
    write_router(folder, config, files, fitted.head)
    clock.append(time.perf_counter())
    for line in [*report.notes, conclusion(report.slices.values()), f"router: {folder}"]:
        say(line)
    for line in parity_lines(config):
        say(f"  {line}")
    if exports.refused:
        say(f"  {exports.refused}")
    if config.encoder.pooling == "static":
        from zooter_lite.encode.static import MEASURED

        say(f"  {MEASURED}")
    stages = ("encoder", "embedding", "head", "fine-tuning", "graphs", "tags and report")
    spent = [
        f"{stage} {seconds:.1f} s" for stage, seconds in zip(stages, np.diff(clock), strict=True)
    ]
    say(f"time: {', '.join(one for one in spent if recipe.finetune or 'fine' not in one)}")
    return Router.load(folder)


def _no_costs(train: RewardTable) -> str:
    """Say why costs cannot be predicted; "" where they can."""
    if train.costs is None:
        return "the table has no columns 'cost:<expert>'"
    missing = np.flatnonzero(np.isnan(train.costs).all(axis=0))
    names = [train.experts[place] for place in missing.tolist()]
    return f"no cost of {', '.join(names)} was observed in train" if names else ""


def _with_experts(
    table: RewardTable, recipe: Recipe, reading: dict[str, Any]
) -> tuple[RewardTable, list[str]]:
    """Rename, leave out and add the experts that the recipe names, and say what was done."""
    table, notes = without(renamed(table, new_names(recipe.rename)), names_of(recipe.without))
    for file in names_of(recipe.add):
        options = {"responses": False, "scores": False, "fewest": 1} | reading
        more = RewardTable.read(file, **options)
        table, told = added(table, more, file)
        notes += told
    return table, notes


def _described(source: str, table: RewardTable, train: RewardTable) -> list[str]:
    """Say what was read, and what the rewards are like."""
    splits = np.asarray(table.splits)
    counts = ", ".join(f"{name} {int((splits == name).sum())}" for name in sorted(set(splits)))
    missing = float(np.isnan(table.rewards).mean())
    return [
        f"{source}: {len(table)} queries ({counts}), {len(table.experts)} experts "
        f"({', '.join(table.experts)}), {len(set(table.subsets))} subsets, "
        f"{missing:.1%} of the rewards not observed",
        f"on train (x100): {diagnose(train.rewards, train.subsets).summary(table.experts)}",
        *overlaps(train.rewards, train.experts),
    ]


def _provenance(recipe: Recipe, path: str | None) -> tuple[dict[str, Any], str]:
    """Options that decided the router, and the call that makes it again.

    `path` is "" for a table in memory and None for the bundled sample; of a file only its
    name is told, since the directory is passed on.
    """
    chosen = {key: value for key, value in asdict(recipe).items() if key not in UNDECISIVE}
    chosen["prices"] = Path(recipe.prices).name
    chosen["add"] = ",".join(Path(file).name for file in names_of(recipe.add))
    options = {"data": Path(path).name if path else ""} | chosen
    defaults = {"data": ""} | asdict(Recipe())
    if path == "":
        words = [f"{k}={v!r}" for k, v in options.items() if v != defaults[k]]
        return options, f"fit_router({', '.join(['table', *words])})"
    return options, as_command("fit", options, defaults)

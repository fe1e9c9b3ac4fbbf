"""What if the router had been fitted otherwise: refits of the head on the same embeddings.

Everything that is not varied is fixed, or chosen by cross-validation on the training rows;
no evaluated row takes part in any choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zooter_lite.cli import bar
from zooter_lite.compare.analysis import choice_means
from zooter_lite.compare.routed import RoutedTable
from zooter_lite.errors import DataError
from zooter_lite.head.fit_head import fit_head
from zooter_lite.measure.metrics import IntArray
from zooter_lite.measure.results import CurvePoint, Means, Setting
from zooter_lite.measure.system import Slice
from zooter_lite.recipe import Recipe
from zooter_lite.router.directory.config import RouterConfig

BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the training rows


def variants(config: RouterConfig, given: bool, seed: int) -> dict[tuple[str, str], Recipe]:
    """List the recipes by ablation and label; they vary the paper's linear softmax head.

    Label temperature and beta are those of the router's own fit; the L2 penalty is chosen
    anew for every refit, so that none suffers from another's. Tags are made again, unless
    they are `given` in the table.
    """
    base = Recipe(
        head="linear",
        tags="given" if given else "auto",
        temperature=config.labels.temperature or None,
        beta=config.labels.beta,
        folds=3,
        seed=seed,
        jobs=1,
    )
    hard = replace(base, labels="hard", beta=1.0)
    return {
        ("beta", "hard label"): hard,
        **{("beta", f"beta {value:g}"): replace(base, beta=value) for value in BETAS},
        ("labels", "soft"): base,
        ("labels", "hard"): hard,
        ("kl", "KL(label || router)"): replace(base, kl="label-router"),
        ("kl", "KL(router || label)"): replace(base, kl="router-label"),
    }


def ablate(
    slices: Sequence[Slice], config: RouterConfig, seed: int, source: str
) -> tuple[dict[tuple[str, str], dict[str, Means]], dict[str, list[CurvePoint]]]:
    """Refit the head of a table's router: under every variant, and on growing parts of train.

    Equal recipes are fitted once. The parts are nested; one that is too small is left out.
    The learning curve is of the kind of head that the router has, and may choose clusters
    where a small part lacks queries for the table's own tags. All results are by slice.

    Raises
    ------
    DataError
        The table has no training rows, or too few for a recipe.
    """
    train, embeddings = slices[0].known.table, slices[0].known.embeddings
    if train is None or embeddings is None:
        raise DataError(f"{source}: no row has the split 'train', which --ablations fit on")
    given = train.tags is not None and (config.labels.tags or "").startswith("given")
    recipes = variants(config, given, seed)
    kind: Any = config.head.kind
    own = replace(recipes["labels", "soft"], head=kind, domains=bool(config.head.domains))
    own = replace(own, tags="best") if given else own
    order = np.random.default_rng(seed).permutation(len(train))
    curve: dict[str, list[CurvePoint]] = {}
    distinct = dict.fromkeys(recipes.values())
    with bar(len(distinct) + len(SHARES), "ablations") as progress:

        def means(recipe: Recipe, rows: IntArray) -> dict[str, Means]:
            progress.update(1)
            head = fit_head(train.take(rows), embeddings[rows], recipe).head
            chosen = [head.probs(one.embeddings).argmax(axis=1) for one in slices]
            return {
                one.name: choice_means(c, one, seed) for one, c in zip(slices, chosen, strict=True)
            }

        fitted = {recipe: means(recipe, np.arange(len(train))) for recipe in distinct}
        for share in SHARES:
            rows = np.sort(order[: round(share * len(train))])
            try:
                part = means(own, rows)
            except DataError:  # too few queries, or an expert without a reward among them
                continue
            for name, of_slice in part.items():
                curve.setdefault(name, []).append(CurvePoint(len(rows), of_slice.micro))
    return {key: fitted[recipe] for key, recipe in recipes.items()}, curve


def ablations_of(
    tables: Sequence[RoutedTable], seed: int
) -> tuple[dict[str, list[Setting]], dict[str, list[CurvePoint]]]:
    """Refit the heads of all tables: settings by ablation, and means by training rows."""
    measured: dict[tuple[str, str], dict[str, Means]] = {}
    curves: dict[str, list[CurvePoint]] = {}
    for table in tables:
        for one in table.slices:  # the router and the further ones, by their encoders
            for system in one.systems:
                if system.choices is not None and system.name in table.encoders:
                    label = f"{table.encoders[system.name]} ({system.name})"
                    means = choice_means(system.choices, one, seed)
                    measured.setdefault(("encoder", label), {})[one.name] = means
        varied, curve = ablate(table.slices, table.router.config, seed, table.wanted.source)
        curves |= curve
        for key, values in varied.items():
            measured.setdefault(key, {}).update(values)
    settings: dict[str, list[Setting]] = {}
    for (kind, label), values in measured.items():
        settings.setdefault(kind, []).append(Setting(label, values))
    return settings, curves

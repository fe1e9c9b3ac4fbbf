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

Ablations = dict[str, dict[str, dict[str, Means]]]  # by kind, label and slice


def variants(config: RouterConfig, given: bool, seed: int) -> dict[str, dict[str, Recipe]]:
    """List the recipes of each ablation by label; they vary the paper's linear softmax head.

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
    beta = {f"beta {value:g}": replace(base, beta=value) for value in BETAS}
    return {
        "beta": {"hard label": hard} | beta,
        "labels": {"soft": base, "hard": hard},
        "kl": {
            "KL(label || router)": replace(base, kl="label-router"),
            "KL(router || label)": replace(base, kl="router-label"),
        },
    }


def ablate(
    slices: Sequence[Slice], config: RouterConfig, seed: int, source: str
) -> tuple[Ablations, dict[str, list[CurvePoint]]]:
    """Refit the head of a table's router: under every variant, and on growing parts of train.

    Equal recipes are fitted once. The parts are nested; one that is too small is left out.
    The learning curve is of the kind of head that the router has, and may choose clusters
    where a small part lacks queries for the table's own tags.

    Raises
    ------
    DataError
        The table has no training rows, or too few for a recipe.
    """
    train, embeddings = slices[0].known.table, slices[0].known.embeddings
    if train is None or embeddings is None:
        raise DataError(f"{source}: no row has the split 'train', which --ablations fit on")
    given = train.tags is not None and (config.labels.tags or "").startswith("given")
    kinds = variants(config, given, seed)
    kind: Any = config.head.kind
    own = replace(kinds["labels"]["soft"], head=kind, domains=bool(config.head.domains))
    own = replace(own, tags="best") if given else own
    recipes = dict.fromkeys(recipe for of_kind in kinds.values() for recipe in of_kind.values())
    order = np.random.default_rng(seed).permutation(len(train))
    curve: dict[str, list[CurvePoint]] = {}
    with bar(len(recipes) + len(SHARES), "ablations") as progress:

        def means(recipe: Recipe, rows: IntArray) -> dict[str, Means]:
            """Fit on these training rows; micro and macro mean of the choices on every slice."""
            progress.update(1)
            head = fit_head(train.take(rows), embeddings[rows], recipe).head
            return {
                one.name: choice_means(head.probs(one.embeddings).argmax(axis=1), one, seed)
                for one in slices
            }

        fitted = {recipe: means(recipe, np.arange(len(train))) for recipe in recipes}
        for share in SHARES:
            rows = np.sort(order[: round(share * len(train))])
            try:
                part = means(own, rows)
            except DataError:  # too few queries, or an expert without a reward among them
                continue
            for name, of_slice in part.items():
                curve.setdefault(name, []).append(CurvePoint(len(rows), of_slice.micro))
    return {
        kind: {label: fitted[recipe] for label, recipe in of_kind.items()}
        for kind, of_kind in kinds.items()
    }, curve


def ablations_of(
    tables: Sequence[RoutedTable], seed: int
) -> tuple[dict[str, list[Setting]], dict[str, list[CurvePoint]]]:
    """Refit the heads of all tables: settings by ablation, and means by training rows."""
    measured: Ablations = {}
    curves: dict[str, list[CurvePoint]] = {}
    for table in tables:
        varied, curve = ablate(table.slices, table.router.config, seed, table.wanted.source)
        curves |= curve
        for kind, settings in ({"encoder": _by_encoder(table, seed)} | varied).items():
            for label, values in settings.items():
                measured.setdefault(kind, {}).setdefault(label, {}).update(values)
    return {
        kind: [Setting(label, values) for label, values in settings.items()]
        for kind, settings in measured.items()
    }, curves


def _by_encoder(table: RoutedTable, seed: int) -> dict[str, dict[str, Means]]:
    """Measure a table's router and the further ones, by their encoder's name."""
    names = list(table.encoders.values())
    rows: dict[str, dict[str, Means]] = {}
    for name, encoder in table.encoders.items():
        label = f"{encoder} ({name})" if names.count(encoder) > 1 else encoder
        for one in table.slices:
            choices = next(s.choices for s in one.systems if s.name == name)
            if choices is not None:
                rows.setdefault(label, {})[one.name] = choice_means(choices, one, seed)
    return rows

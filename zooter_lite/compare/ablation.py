"""What if the router had been fitted otherwise: refits of the head on the same embeddings.

Everything that is not varied is fixed, or chosen by cross-validation on the training rows;
no evaluated row takes part in any choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zooter_lite.errors import DataError
from zooter_lite.head.fit_head import fit_head
from zooter_lite.recipe import Recipe
from zooter_lite.table.reward_table import RewardTable

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.intp]

BETAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
SHARES = (0.1, 0.25, 0.5, 1.0)
FOLDS = 3


def base_recipe(config: Mapping[str, Any], has_tags: bool, seed: int = 0, jobs: int = 1) -> Recipe:
    """Return the recipe that the ablations vary: a linear softmax head, as the paper's router.

    Label temperature and beta are those of the router's own fit; the L2 penalty is chosen
    anew for every refit, so that none suffers from another's.

    Parameters
    ----------
    config
        config.json of the router.
    has_tags
        Whether the training rows carry tags; the router's tags are made again of them.
    """
    labels = config.get("labels", {})
    given = has_tags and str(labels.get("tags") or "").startswith("given")
    temperature = labels.get("temperature")
    return Recipe(
        head="linear",
        tags="given" if given else "auto",
        temperature=float(temperature) if temperature else None,
        beta=float(labels.get("beta", 1.0)),
        folds=FOLDS,
        seed=seed,
        jobs=jobs,
    )


def own_recipe(config: Mapping[str, Any], base: Recipe) -> Recipe:
    """Return the base recipe with the kind of head that the router has, for its learning curve.

    A small part may lack queries for the table's own tags, so clusters are candidates too.
    """
    head = config["head"]
    own = replace(base, head=head["kind"], domains=bool(head.get("domains", True)))
    return replace(own, tags="best") if base.tags == "given" else own


def variants(base: Recipe) -> dict[str, dict[str, Recipe]]:
    """List the recipes of each ablation by label: `beta`, `labels` and `kl`."""
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


def refit(
    train: RewardTable, embeddings: FloatArray, evaluated: FloatArray, recipe: Recipe
) -> IntArray:
    """(m,) choices for `evaluated` (m, dim) of a head fitted on `train` and `embeddings` (n, dim).

    Raises
    ------
    DataError
        Too few training rows for the recipe.
    """
    head = fit_head(train, embeddings, recipe).head
    return np.asarray(head.probs(evaluated).argmax(axis=1), dtype=np.intp)


def ablate(
    train: RewardTable,
    embeddings: FloatArray,
    evaluated: FloatArray,
    base: Recipe,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, dict[str, IntArray]]:
    """Choices under every variant of the recipe, by ablation and label.

    Equal recipes are fitted once. `progress` is called with 1 for each of `n_refits(base)`.
    """
    done: dict[Recipe, IntArray] = {}
    choices: dict[str, dict[str, IntArray]] = {}
    for name, recipes in variants(base).items():
        choices[name] = {}
        for label, recipe in recipes.items():
            if recipe not in done:
                done[recipe] = refit(train, embeddings, evaluated, recipe)
                progress(1)
            choices[name][label] = done[recipe]
    return choices


def n_refits(base: Recipe) -> int:
    """Return how often `ablate` calls its `progress`."""
    return len({recipe for recipes in variants(base).values() for recipe in recipes.values()})


def learning_curve(
    train: RewardTable,
    embeddings: FloatArray,
    evaluated: FloatArray,
    recipe: Recipe,
    progress: Callable[[int], object] = lambda _: None,
) -> list[tuple[int, IntArray]]:
    """Rows and choices after fitting on growing parts of the training rows.

    The parts are nested; one that is too small to fit on is left out.
    """
    order = np.random.default_rng(recipe.seed).permutation(len(train))
    curve = []
    for share in SHARES:
        rows = np.sort(order[: round(share * len(train))])
        try:
            curve.append((len(rows), refit(train.take(rows), embeddings[rows], evaluated, recipe)))
        except DataError:  # too few queries, or an expert without a reward among them
            continue
        finally:
            progress(1)
    return curve

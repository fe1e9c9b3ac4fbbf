"""How a router is fitted: every option of `fit_router` and of the command, documented once.

argparse-dataclass reads these annotations, so this module keeps them real: no
`from __future__ import annotations`, and `Optional` for what may be left out.
"""

from dataclasses import dataclass
from typing import Literal, Optional

from zooter_lite.cli import check_range, option, separator_option
from zooter_lite.errors import DataError
from zooter_lite.files.dialect import check_separator

MAX_EPOCHS = 20
POINTS = ("quality", "match", "economy", "recommended")


@dataclass(frozen=True)
class Recipe:
    """Options of a fit; None leaves a choice to cross-validation on the training rows.

    Each field's help, as `python -m zooter_lite.fit --help` shows it, is its documentation.
    """

    encoder: str = option(
        "all-MiniLM-L6-v2",
        help="sentence encoder: the bundled default, a folder, or a hub name; static (or static:E) "
        "for one distilled from the default (or from E): much faster, somewhat less reward",
        metavar="E",
    )
    prompt: Optional[str] = option(
        None,
        help="text before every query, such as 'query: '; without it, what the encoder declares",
    )
    layers: Optional[int] = option(
        None,
        help="keep the encoder's first so many layers: with half of the default's six a decision "
        "takes half the time, and loses little on prompts of the kinds in training "
        "(recipes/quality/layers.md); without it, all",
        metavar="N",
    )
    precision: str = option(
        "fp32,int8",
        help="graphs to export, of fp32, int8 and fp16 (for a GPU); the latter two are left out "
        "where they lose reward",
    )
    finetune: int = option(
        0,
        help=f"fine-tune the encoder for at most this many epochs, 0 to {MAX_EPOCHS}; a fold of "
        "train that it does not learn from decides whether the result is kept. Slow without a "
        "GPU; run again after a kill, it goes on from the last checkpoint",
        metavar="EPOCHS",
    )
    head: Literal["prior", "linear", "mlp"] = option(
        "prior", help="prior: what the tags say plus a linear residual"
    )
    tags: Literal["best", "given", "auto", "none"] = option(
        "best",
        help="given: the table's; auto: k-means clusters; best: cross-validation picks from both",
    )
    domains: bool = option(
        True,
        help="the prior head never learns to tell the table's subsets apart, nor takes the words "
        "of a prompt beside its meaning; without this, cross-validation decides whether they pay",
    )
    labels: Literal["soft", "hard"] = option("soft", help="softmax of the rewards, or best expert")
    kl: Literal["label-router", "router-label"] = option(
        "label-router", help="direction of the KL divergence; the paper writes router-label"
    )
    temperature: Optional[float] = option(
        None, help="label temperature in reward units; without it, cross-validated"
    )
    beta: Optional[float] = option(
        None, help="share of the sample label, 0 to 1; without it, cross-validated"
    )
    l2: Optional[float] = option(None, help="weight of the L2 penalty; without it, cross-validated")
    add: str = option(
        "",
        help="files with the rewards of further experts on some of the queries, joined by query "
        "or query_id; a new expert needs no rewards on the others",
        metavar="FILE,FILE",
    )
    without: str = option("", help="experts of the table to leave out", metavar="EXPERT,EXPERT")
    rename: str = option("", help="other names for experts of the table", metavar="OLD=NEW,OLD=NEW")
    tune: bool = option(
        False,
        help="choose from a whole grid of settings instead of three, and tell what that gained",
    )
    point: Literal["quality", "match", "economy", "recommended"] = option(
        "quality",
        help="operating point that the router decides at unless asked for another; match and "
        "economy need a table with costs",
    )
    give: float = option(
        2.0,
        help="reward that the point economy gives up at most, in hundredths of the rewards' range",
        metavar="POINTS",
    )
    prices: str = option(
        "",
        help="pool file with price_input and price_output, per million tokens: the costs are "
        "those of the table's prompts and responses, in tokens of the encoder",
        metavar="FILE",
    )
    context: Literal["last", "user", "all"] = option(
        "last",
        help="which turns of a chat are the query: the user's last, all of the user's, or those "
        "of user and assistant; a router keeps to it",
    )
    long: str = option(
        "",
        help="columns of the model and of the reward in a table with a row for each query and "
        "model (default: the usual names, such as model and performance)",
        metavar="MODEL,REWARD",
    )
    separator: str = separator_option()
    folds: int = option(5, help="folds of the cross-validation on train")
    hold_out: float = option(
        0.2, help="share of rows kept for the test when the table has no column 'split'"
    )
    drop_leaks: bool = option(
        False, help="drop evaluated rows whose query also stands in train (else only counted)"
    )
    keep_queries: bool = option(
        False,
        help="keep the texts of the training queries in the router directory, for explain to show "
        "(off by default: whoever gets the router can read them)",
    )
    seed: int = option(0, help="of clusters, folds and bootstrap")
    jobs: int = option(-1, help="parallel cross-validation jobs; -1 takes every core")
    cache: str = option(
        "", help="cache of embeddings (default: $ZOOTER_CACHE or ~/.cache/zooter-lite)"
    )


def precisions(text: str) -> list[str]:
    """Read "fp32,int8" as a list.

    Raises
    ------
    DataError
        A precision that there is not.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ("fp32", "int8", "fp16"):
            raise DataError(f"--precision {name!r}: expected some of fp32, int8, fp16")
    return names


def long_columns(text: str) -> list[str]:
    """Read "MODEL,REWARD" as the two names; DataError for anything else than two or nothing."""
    names = names_of(text)
    if len(names) not in (0, 2):
        raise DataError(f"--long {text!r}: expected the names of two columns, MODEL,REWARD")
    return names


def names_of(text: str) -> list[str]:
    """Read "A,B" as its parts."""
    return [name.strip() for name in text.split(",") if name.strip()]


def new_names(text: str) -> dict[str, str]:
    """Read "OLD=NEW,OLD=NEW" as a mapping; DataError for anything else."""
    pairs = [part.partition("=") for part in names_of(text)]
    for old, sign, new in pairs:
        if not (old.strip() and sign and new.strip()):
            raise DataError(f"--rename {old + sign + new!r}: expected OLD=NEW")
    return {old.strip(): new.strip() for old, _, new in pairs}


def check_recipe(recipe: Recipe) -> None:
    """Raise DataError for a value out of its range, before anything is read."""
    precisions(recipe.precision)
    long_columns(recipe.long)
    new_names(recipe.rename)
    check_separator(recipe.separator)
    check_range("--layers", recipe.layers, 1, 10_000)
    check_range("--temperature", recipe.temperature, 1e-6, 1e6)
    check_range("--beta", recipe.beta, 0.0, 1.0)
    check_range("--l2", recipe.l2, 0.0, 1e6)
    check_range("--hold-out", recipe.hold_out, 0.01, 0.9)
    if recipe.point not in POINTS:
        raise DataError(f"--point {recipe.point!r}: expected {', '.join(POINTS)}")
    check_range("--give", recipe.give, 0.0, 100.0)
    check_range("--folds", recipe.folds, 2, 100)
    check_range("--seed", recipe.seed, 0, 2**32 - 1)
    check_range("--finetune", recipe.finetune, 0, MAX_EPOCHS)
    if recipe.keep_queries and recipe.tags == "none":
        raise DataError("--keep-queries with --tags none: no query is indexed without tags")
    if recipe.jobs == 0 or recipe.jobs < -1:
        raise DataError(f"--jobs {recipe.jobs}: expected -1 or a positive number")

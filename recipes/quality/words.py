"""What a prompt's words beside its meaning bring, on training rows: within, and beyond.

`python -m recipes.quality.words FOLDER` writes recipes/quality/words.md. Within: every query
chosen for by a head that was fitted without its fold, as `fit` compares them. Beyond: every
subset chosen for by heads that were fitted without that subset; ± is over subsets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.quality.variants import MOST_SUBSETS, TABLES
from zooter_lite.encode.cache import default_cache
from zooter_lite.encode.find import DEFAULT
from zooter_lite.encode.load import load_encoder
from zooter_lite.encode.words import Words
from zooter_lite.head.choose import Choice, choose
from zooter_lite.head.cross_validation import reward_of_choice
from zooter_lite.head.fit_head import fit_chosen
from zooter_lite.head.wording import CLEAR, Worded, try_words
from zooter_lite.recipe import Recipe
from zooter_lite.table import RewardTable, sample_path

FloatArray = NDArray[np.float32]
OUT = Path(__file__).parent / "words.md"


def main(folder: str) -> None:
    """Measure every table, the bundled sample first."""
    encoder = load_encoder(DEFAULT, default_cache())
    words = Words.of(encoder)
    assert words is not None
    lines = [
        "# A prompt's words beside its meaning",
        "",
        "Written by `python -m recipes.quality.words FOLDER`: mean reward x100 of the chosen "
        "expert on training rows, with words less without, ± one standard error. The words are "
        f"kept where the gain within is above {CLEAR:.0f} standard errors.",
        "",
        "| table | within | kept | beyond | worst subset beyond |",
        "|---|---|---|---|---|",
    ]
    for name in ("the bundled sample", *TABLES):
        path = sample_path() if name not in TABLES else f"{folder}/{name}.parquet"
        table = RewardTable.read(path, responses=False)
        train = table.take(table.rows("train"))
        embeddings = encoder.embed(train.queries, default_cache())
        both = words.beside(embeddings, train.queries)
        fits = _chosen(train, embeddings, both)[1]
        gain = f"{100 * fits.gain:+.2f} ± {100 * fits.standard_error:.2f}"
        beyond = _beyond(train, embeddings, both)
        lines.append(f"| {name} | {gain} | {'yes' if fits.pays else 'no'} | {beyond} |")
        print(lines[-1], file=sys.stderr)
        OUT.write_text("\n".join(lines) + "\n", "utf-8")


def _chosen(train: RewardTable, embeddings: FloatArray, both: FloatArray) -> tuple[Choice, Worded]:
    """Choose without words and with them."""
    plain = choose(train, embeddings, Recipe())
    return plain, try_words(plain, train, both)


def _beyond(train: RewardTable, embeddings: FloatArray, both: FloatArray) -> str:
    """Mean gain over subsets left out of training, and the subset that loses most."""
    subsets = np.asarray(train.subsets)
    names = sorted(set(train.subsets))
    if not 2 < len(names) <= MOST_SUBSETS:
        return "- | -"
    gains = {}
    for name in names:
        inside, out = np.flatnonzero(subsets != name), np.flatnonzero(subsets == name)
        rest = train.take(inside)
        plain, worded = _chosen(rest, embeddings[inside], both[inside])
        known = fit_chosen(rest, embeddings[inside], plain).head
        head = fit_chosen(rest, both[inside], worded.choice).head
        rewards = train.rewards[out].astype(np.float64)
        after = reward_of_choice(head.logits(both[out].astype(np.float64)), rewards)
        before = reward_of_choice(known.logits(embeddings[out].astype(np.float64)), rewards)
        gains[name] = 100 * float(np.nanmean(after - before))
    values = np.asarray(list(gains.values()))
    error = values.std(ddof=1) / np.sqrt(len(values))
    worst = min(gains, key=gains.__getitem__)
    return f"{values.mean():+.2f} ± {error:.2f} | {worst} {gains[worst]:+.1f}"


if __name__ == "__main__":
    main(sys.argv[1])

"""One vocabulary of freely written tags: spelling, meaning, support, companions.

The steps of InsTag (Lu et al. 2023, arXiv 2308.07074, section on tag normalisation). InsTag
drops rare tags first; here spellings and meanings are merged before, so that rare ways to
write a tag add up to a frequent one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Embed = Callable[[Sequence[str]], FloatArray]
Lists = list[list[str]]
ASSOCIATED_SUPPORT = 20  # queries that must carry both of two tags before one is merged
_SHOWN = 8  # tags that a summary names
_SPECIAL = re.compile(r"[^\w\s+#]|_")  # + and # tell C, C++ and C# apart


def one_vocabulary(
    lists: Sequence[Sequence[str]],
    embed: Embed,
    *,
    merge: float,
    min_support: int,
    confidence: float,
) -> Lists:
    """Make one vocabulary of the tags of each query.

    From the cosine similarity `merge` on two tags are one (1 merges none); tags of fewer than
    `min_support` queries are dropped; `confidence` is that of `associated` (above 1: none).
    """
    tags = _renamed([[clean_tag(tag) for tag in own] for own in lists], {})
    counts = dict(sorted(support(tags).items()))
    if merge < 1 and len(counts) > 1:
        tags = _renamed(tags, same_meaning(counts, embed(list(counts)), merge))
    counts = support(tags)
    tags = [[tag for tag in own if counts[tag] >= min_support] for own in tags]
    return _renamed(tags, associated(tags, confidence))


def clean_tag(tag: str) -> str:
    """Write a tag in lower case with one space where special characters or white space stood.

    >>> clean_tag(" Data-Structures: C++ ")
    'data structures c++'
    """
    plain = unicodedata.normalize("NFKC", tag).casefold()
    return " ".join(_SPECIAL.sub(" ", plain).split())


def support(lists: Sequence[Sequence[str]]) -> Counter[str]:
    """Count the queries of each tag."""
    return Counter(tag for tags in lists for tag in set(tags))


def same_meaning(
    support: Mapping[str, int], embeddings: FloatArray, threshold: float
) -> dict[str, str]:
    """Tags of nearly one meaning, each with the name of the most frequent among them.

    InsTag's semantic aggregation: DBSCAN over the embeddings of the tags, two tags being enough
    for a group; so tags that are alike by way of others are merged, too. `embeddings`
    (n_tags, dim) are unit vectors in the order of `support`, the queries of each tag;
    `threshold` is the least cosine similarity. Returned are old names with their new ones.
    """
    from sklearn.cluster import DBSCAN

    distance = float(np.sqrt(max(0.0, 2.0 - 2.0 * threshold)))  # of unit vectors, by the cosine
    groups = DBSCAN(eps=max(distance, 1e-6), min_samples=2).fit_predict(embeddings)
    first: dict[int, str] = {}
    group_of = dict(zip(support, groups.tolist(), strict=True))
    ranked = sorted(support, key=lambda tag: (-support[tag], tag))
    names = {tag: first.setdefault(group_of[tag], tag) for tag in ranked if group_of[tag] >= 0}
    return {tag: name for tag, name in names.items() if tag != name}


def associated(
    lists: Sequence[Sequence[str]], confidence: float, least: int = ASSOCIATED_SUPPORT
) -> dict[str, str]:
    """Tags that hardly stand without a more frequent one, each with that one's name.

    Tag a is merged into b where at least `least` queries carry both, and at least the
    share `confidence` of the queries of a. Where several b serve, the surest and then the
    most frequent is taken; of two tags that imply each other, the rarer (then the later by
    name) is merged. For rules between two tags, counting pairs is InsTag's FP-growth. Returned
    are old names with their new ones, of which none is old.
    """
    counts = support(lists)
    pairs = Counter(pair for tags in lists for pair in permutations(sorted(set(tags)), 2))

    def rank(tag: str) -> tuple[int, str]:
        return (-counts[tag], tag)

    best: dict[str, tuple[float, tuple[int, str]]] = {}
    for (tag, other), both in pairs.items():
        sure = both / counts[tag]
        if both >= least and sure >= confidence and rank(other) < rank(tag):
            choice = (-sure, rank(other))
            best[tag] = min(best.get(tag, choice), choice)
    names: dict[str, str] = {}
    for tag in sorted(best, key=rank):  # the most frequent first: theirs are final by then
        name = best[tag][1][1]
        names[tag] = names.get(name, name)
    return names


def summary(lists: Lists) -> str:
    """Say how many tags there are, and which are frequent."""
    counts, untagged = support(lists), sum(not tags for tags in lists)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    frequent = ", ".join(f"{name} {n}" for name, n in ranked[:_SHOWN])
    return (
        f"{len(lists)} queries, {len(counts)} tags, {untagged} queries without any"
        + f"\nmost frequent: {frequent}" * bool(counts)
    )


def _renamed(lists: Sequence[Sequence[str]], names: Mapping[str, str]) -> Lists:
    """Write tags under their new names, each once per query, none that is empty."""
    new = ([names.get(tag, tag) for tag in tags] for tags in lists)
    return [list(dict.fromkeys(filter(None, tags))) for tags in new]

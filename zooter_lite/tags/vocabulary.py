"""One vocabulary of free tags: spelling, support, and tags that always come together.

The steps of InsTag (Lu et al. 2023, arXiv 2308.07074, section on tag normalisation) that
need no embeddings; tags of nearly one meaning are merged in tags/meanings.py. InsTag
drops rare tags first; here spellings and meanings are merged before, so that rare ways to
write a tag add up to a frequent one.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations

Lists = list[list[str]]
ASSOCIATED_SUPPORT = 20  # queries that must carry both of two tags before one is merged
_SHOWN = 8  # tags that a summary names
_SPECIAL = re.compile(r"[^\w\s+#]|_")  # + and # tell C, C++ and C# apart


def clean_tag(tag: str) -> str:
    """Write a tag in lower case with one space where special characters or white space stood.

    >>> clean_tag(" Data-Structures: C++ ")
    'data structures c++'
    """
    plain = unicodedata.normalize("NFKC", tag).casefold()
    return " ".join(_SPECIAL.sub(" ", plain).split())


def clean(lists: Sequence[Sequence[str]]) -> Lists:
    """Write every tag as `clean_tag` does; each once per query, none that is empty."""
    cleaned = ([clean_tag(tag) for tag in tags] for tags in lists)
    return [list(dict.fromkeys(tag for tag in tags if tag)) for tags in cleaned]


def support(lists: Sequence[Sequence[str]]) -> Counter[str]:
    """Count the queries of each tag."""
    return Counter(tag for tags in lists for tag in set(tags))


def rename(lists: Sequence[Sequence[str]], names: Mapping[str, str]) -> Lists:
    """Write tags under their new names, each once per query; the others stay."""
    return [list(dict.fromkeys(names.get(tag, tag) for tag in tags)) for tags in lists]


def drop_rare(lists: Sequence[Sequence[str]], least: int) -> Lists:
    """Leave out tags that fewer than `least` queries carry."""
    counts = support(lists)
    return [[tag for tag in tags if counts[tag] >= least] for tags in lists]


def associated(
    lists: Sequence[Sequence[str]], confidence: float, least: int = ASSOCIATED_SUPPORT
) -> dict[str, str]:
    """Tags that hardly stand without a more frequent one, each with that one's name.

    Tag a is merged into b where at least `least` queries carry both, and at least the
    share `confidence` of the queries of a. Where several b serve, the surest and then the
    most frequent is taken; of two tags that imply each other, the rarer (then the later by
    name) is merged. For rules between two tags, counting pairs is InsTag's FP-growth.

    Returns
    -------
    Old name to new; a new name is never an old one.
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
    names = {tag: name for tag, (_, (_, name)) in best.items()}
    for tag in sorted(names, key=rank):  # the most frequent first: theirs are final by then
        names[tag] = names.get(names[tag], names[tag])
    return dict(sorted(names.items()))


def summary(lists: Lists) -> str:
    """Say how many tags there are, how many queries carry each, and which are frequent."""
    counts = support(lists)
    if not counts:
        return f"{len(lists)} queries, no tag"
    sizes, untagged = sorted(counts.values()), sum(not tags for tags in lists)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    frequent = ", ".join(f"{name} {n}" for name, n in ranked[:_SHOWN])
    return (
        f"{len(lists)} queries, {len(counts)} tags (queries per tag: min {sizes[0]}, median "
        f"{statistics.median(sizes):g}, max {sizes[-1]}), {untagged} queries without any\n"
        f"most frequent: {frequent}"
    )

"""Words of a text, and which queries share long runs of them with others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from zooter_lite.table.keys import query_key

# a character of Chinese, Japanese or Korean is a word: they write no spaces
_OWN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_OWN}]|[^\W_{_OWN}]+")


def words(text: str) -> list[str]:
    """Words of a text in lower case, without punctuation.

    >>> words("Sum 3,5: 总和")
    ['sum', '3', '5', '总', '和']
    """
    return _WORD.findall(text.lower())


def contaminated(queries: Sequence[str], others: Iterable[str], n: int) -> list[int]:
    """Positions of the queries that share a run of `n` words with one of the others.

    A text of fewer than n words counts as one run of its own length, so a short query is
    found only where another has just the same words. Runs are compared by 64-bit hashes.
    """
    seen = {run for text in others for run in _runs(text, n)}
    return [
        place for place, query in enumerate(queries) if any(run in seen for run in _runs(query, n))
    ]


def repeated(queries: Sequence[str]) -> list[int]:
    """Positions of queries that stand further up already, but for white space."""
    keys = [query_key(query) for query in queries]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    return [place for place, key in enumerate(keys) if first[key] != place]


def _runs(text: str, n: int) -> Iterator[int]:
    every = words(text)
    for start in range(max(1, len(every) - n + 1)) if every else ():
        yield hash(tuple(every[start : start + n]))

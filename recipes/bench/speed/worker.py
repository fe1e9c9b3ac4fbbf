"""One contestant's process: `python -m recipes.bench.speed.worker NAME [ARGUMENT...]`.

Runs in the environment of the contestant, which need not have zooter-lite installed, so
every contestant's packages are imported only when it is the one asked for.
"""

from __future__ import annotations

import sys

from recipes.bench.speed.ours import ours, raw, sentence_transformers, tokeniser
from recipes.bench.speed.peers import adaptive_classifier, routellm, semantic_router, setfit
from recipes.bench.speed.protocol import serve

STARTS = {
    start.__name__: start
    for start in (
        *(ours, raw, tokeniser, sentence_transformers),
        *(setfit, routellm, adaptive_classifier, semantic_router),
    )
}

if __name__ == "__main__":
    serve(lambda: STARTS[sys.argv[1]](*sys.argv[2:]))

"""zooter-lite: route each prompt to the LLM that answers it best.

>>> from zooter_lite import Router, fit_router
>>> router = fit_router("rewards.csv", "exports/mine")  # doctest: +SKIP
>>> router.route(["What is 17 * 23?"])  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from zooter_lite.errors import DataError, RouterError, ZooterError
from zooter_lite.router.decision import Decision
from zooter_lite.router.router import Router

if TYPE_CHECKING:
    from zooter_lite.api import fit_router
    from zooter_lite.compare.evaluation import evaluate_router
    from zooter_lite.measure.results import Report
    from zooter_lite.recipe import Recipe
    from zooter_lite.table import RewardTable

__version__ = "0.1.0"

__all__ = [
    "DataError",
    "Decision",
    "Recipe",
    "Report",
    "RewardTable",
    "Router",
    "RouterError",
    "ZooterError",
    "__version__",
    "evaluate_router",
    "fit_router",
]

# What routing does not need is imported when it is first asked for.
_LATER = {
    "Recipe": "zooter_lite.recipe",
    "Report": "zooter_lite.measure.results",
    "RewardTable": "zooter_lite.table",
    "evaluate_router": "zooter_lite.compare.evaluation",
    "fit_router": "zooter_lite.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'zooter_lite' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)

"""zooter-lite: route each prompt to the LLM that answers it best.

>>> from zooter_lite import Router
>>> router = Router.load("exports/sample")  # doctest: +SKIP
>>> router.route(["What is 17 * 23?"])  # doctest: +SKIP
"""

from zooter_lite.errors import DataError, RouterError, ZooterError
from zooter_lite.router.decision import Decision
from zooter_lite.router.router import Router

__version__ = "0.1.0"

__all__ = ["DataError", "Decision", "Router", "RouterError", "ZooterError", "__version__"]

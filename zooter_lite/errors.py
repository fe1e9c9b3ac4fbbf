"""Errors that a user can put right; commands print them as one line, exit code 2 or as they say."""

from collections.abc import Iterator
from contextlib import contextmanager


class ZooterError(Exception):
    """Root of every error that zooter-lite raises on purpose.

    Attributes
    ----------
    exit_code
        Of the command that it ends.
    """

    exit_code = 2


class DataError(ZooterError):
    """A file of prompts or rewards is missing, damaged, or not what was expected."""


class RouterError(ZooterError):
    """A router directory is missing, damaged, or of an unknown version."""


class MissingPackageError(ZooterError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}': pip install 'zooter-lite[{extra}]'"
        )


@contextmanager
def needs(extra: str, purpose: str, package: str = "") -> Iterator[None]:
    """Make one clear line of the import of a package that an extra would have installed.

    `package` is named where the error names none.

    Raises
    ------
    MissingPackageError
        A package that is none of ours cannot be imported in the block.
    """
    try:
        yield
    except ImportError as error:
        name = error.name or package
        if not name or name.startswith("zooter_lite"):
            raise
        raise MissingPackageError(name, extra, purpose) from error

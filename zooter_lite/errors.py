"""Errors that a user can put right; commands print them as one line and exit with code 2."""


class ZooterError(Exception):
    """Root of every error that zooter-lite raises on purpose."""


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

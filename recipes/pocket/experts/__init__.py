"""The pocket experts: small programs that answer a prompt from its text alone.

To add one, write `def my_expert(prompt: str) -> str` in a module of this folder, decorate it with
`safely` and name it in `EXPERTS`; then run the build again.
"""

from __future__ import annotations

from recipes.pocket.experts.base import DONT_KNOW, Expert
from recipes.pocket.experts.calculator import calculator
from recipes.pocket.experts.calendar import calendar
from recipes.pocket.experts.code_runner import code_runner
from recipes.pocket.experts.encyclopedia import encyclopedia
from recipes.pocket.experts.generalist import generalist
from recipes.pocket.experts.lexicon import lexicon
from recipes.pocket.experts.strings_lists import strings_lists
from recipes.pocket.experts.units import units

EXPERTS: dict[str, Expert] = {
    "calculator": calculator,
    "calendar": calendar,
    "code_runner": code_runner,
    "encyclopedia": encyclopedia,
    "generalist": generalist,
    "lexicon": lexicon,
    "strings_lists": strings_lists,
    "units": units,
}

__all__ = ["DONT_KNOW", "EXPERTS", "Expert"]

"""Verifiers: compare a response with what is known to be right. Pure functions, 0 to 1."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from zooter_lite.ask.texts import fenced, last_boxed
from zooter_lite.errors import DataError, needs

OUTER = " .,;:!?\"'`“”‘’„*"
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+"
_NUMBER = re.compile(
    rf"(?:(?<![\w.)\]}}])(?P<sign>[-+]))?[$€£]?(?P<top>{_DIGITS})"
    r"(?:[eE](?P<e>[-+]?\d{1,3})(?!\w)| ?[x*] ?10\^\{?(?P<power>[-+]?\d{1,3})\}?)?"
    r"(?: ?/ ?(?=[\d.]*[1-9])(?P<bottom>\d+(?:\.\d+)?))?"
)
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r"\1/\2"),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])"), "*"),
    (re.compile(r"\{,\}|\\[,!;:]"), ","),
    (re.compile(r"\\(?=[$%])"), ""),
    (re.compile(r"[−–](?=\s?[\d.$€£])"), "-"),
    (re.compile("×"), "*"),
    (re.compile(r"(?<![\d.*x])(?<![*x] )10\^\{?([-+]?\d{1,3})\}?"), r"1e\1"),
)


def normalise(text: str, *, case: bool = True, outer: bool = True) -> str:
    """Fold compatibility forms, white space and, as told, case and punctuation around the text.

    >>> normalise('  "New  Delhi". ')
    'new delhi'
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).split())
    folded = folded.casefold() if case else folded
    return folded.strip(OUTER) if outer else folded


def exact(response: str, answers: Iterable[str], *, ignore_case: bool = True) -> float:
    r"""Tell whether the whole response, or its last \\boxed{}, is one of the answers.

    White space and outer punctuation do not count.

    >>> exact(r"So it is \\boxed{\\text{blue}}.", ["Blue"])
    1.0
    """
    given = [response]
    if boxed := last_boxed(response):
        inner = re.fullmatch(r"\s*\\(?:text|textbf|mathrm|mathbf)\{(.*)\}\s*", boxed, re.S)
        given += [boxed, inner[1] if inner else boxed]
    right, said = ({normalise(x, case=ignore_case) for x in texts} for texts in (answers, given))
    return float(not right.isdisjoint(said))


def contains(
    response: str, answers: Iterable[str], *, ignore_case: bool = True, whole_words: bool = True
) -> float:
    """Tell whether one of the answers stands in the response, white space folded.

    With `whole_words`, 5 does not stand in 15.
    """
    text = normalise(response, case=ignore_case, outer=False)
    for answer in answers:
        pattern = re.escape(normalise(answer, case=ignore_case, outer=False))
        if re.search(rf"(?<!\w){pattern}(?!\w)" if whole_words else pattern, text):
            return 1.0
    return 0.0


def last_number(text: str) -> float | None:
    r"""Return the last number of a text, or None.

    The last LaTeX \\boxed{} counts alone where it holds a number. Read are thousands
    separators (commas), fractions (also \\frac), powers of ten, and signs of currency or
    per cent, which do not change the number.

    >>> last_number("2 boxes cost $1,250.50"), last_number(r"so \\boxed{\\frac{3}{4}} of 8")
    (1250.5, 0.75)
    """
    boxed = _last_number(last_boxed(text) or "")
    return _last_number(text) if boxed is None else boxed


def _last_number(text: str) -> float | None:
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    matches = list(_NUMBER.finditer(text))
    if not matches:
        return None
    last = matches[-1]
    power = last["e"] or last["power"] or "0"
    value = float(f"{last['top'].replace(',', '')}e{power}") / float(last["bottom"] or 1)
    if not math.isfinite(value):
        return None
    return -value if last["sign"] == "-" else value


def numeric(
    response: str, answers: Iterable[str], *, relative: float = 1e-6, absolute: float = 1e-9
) -> float:
    """Tell whether the last number of the response is close to that of one of the answers.

    Close is within `absolute`, or within `relative` of the answer's size.

    Raises
    ------
    DataError
        An answer holds no number.
    """
    given = last_number(response)
    right = False
    for answer in answers:
        wanted = last_number(answer)
        if wanted is None:
            raise DataError(f"the answer {answer[:60]!r} holds no number")
        right |= given is not None and abs(given - wanted) <= max(absolute, relative * abs(wanted))
    return float(right)


def regex(response: str, patterns: Iterable[str], *, seconds: float = 1.0) -> float:
    """Tell whether one of the patterns is found in the response; NaN when time runs out.

    The package `regex` searches: the syntax of `re` and more, and a time limit, so that a
    pattern that would search for hours ends after `seconds`.

    Raises
    ------
    DataError
        A pattern is not a regular expression.
    """
    with needs("experts", "a regex verifier"):
        import regex as engine
    unsure = False
    for pattern in patterns:
        try:
            if engine.search(pattern, response, timeout=seconds):
                return 1.0
        except TimeoutError:
            unsure = True
        except engine.error as error:
            raise DataError(f"the pattern {pattern[:60]!r} cannot be read ({error})") from error
    return math.nan if unsure else 0.0


def json_schema(response: str, schema: Any) -> float:
    """Tell whether the JSON of a response, in a code fence or alone, fits a schema.

    Nothing is fetched: a `$ref` that leads outside the schema is an error.

    Raises
    ------
    DataError
        The schema is not one.
    """
    with needs("experts", "a json-schema verifier"):
        import jsonschema
        import referencing.exceptions
    try:
        content = json.loads(schema) if isinstance(schema, str) else schema
        validator_class = jsonschema.validators.validator_for(
            content, jsonschema.Draft202012Validator
        )
        validator_class.check_schema(content)
    except (ValueError, AttributeError, TypeError, jsonschema.SchemaError) as error:
        reason = getattr(error, "message", str(error))
        raise DataError(f"{str(schema)[:60]!r} is no JSON schema ({reason})") from error
    body = fenced(response, ("json",))
    try:
        value = json.loads(response if body is None else body, parse_constant=_no_constant)
        return float(validator_class(content, registry=referencing.Registry()).is_valid(value))
    except (ValueError, RecursionError):
        return 0.0
    except referencing.exceptions.Unresolvable as error:
        raise DataError(f"the schema has a $ref that leads outside it ({error.ref})") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")

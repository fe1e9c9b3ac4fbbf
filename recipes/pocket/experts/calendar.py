"""A calendar: reads dates in several notations and reckons with them."""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from datetime import date, timedelta

from recipes.pocket.experts.base import DONT_KNOW, WEEKDAYS, numbers, safely, shown

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = r"(?P<m>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
NOTATIONS = tuple(
    re.compile(notation)
    for notation in (
        r"(?P<y>\d{4})-(?P<n>\d\d?)-(?P<d>\d\d?)",
        rf"(?P<d>\d\d?)(?:st|nd|rd|th)?(?: of)? {MONTH},? (?P<y>\d{{4}})",
        rf"\b{MONTH} (?P<d>\d\d?)(?:st|nd|rd|th)?,? (?P<y>\d{{4}})",
        r"(?P<d>\d\d?)[./](?P<n>\d\d?)[./](?P<y>\d{4})",
    )
)
CLOCK = re.compile(r"\b(\d\d?):(\d\d)\s*(am|pm)?")
UNITS = {"day": 1, "week": 7, "fortnight": 14, "tag": 1, "día": 1, "night": 1}
SECONDS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
AMOUNT = re.compile(r"(\d+) (day|week|fortnight|tag|día|night)")


@safely
def calendar(prompt: str) -> str:
    """Answer a question about dates, weekdays, or the clock."""
    text = prompt.lower()
    found = _dates(text)
    for attempt in (_difference, _moved, _about_date):
        answer = attempt(text, found)
        if answer is not None:
            return answer
    return _weekdays(text) or _months(text) or _spans(text) or _clock(text) or DONT_KNOW


def _dates(text: str) -> list[date]:
    """Return the calendar dates of a text in order of appearance."""
    found: list[tuple[int, date]] = []
    for notation in NOTATIONS:
        for match in notation.finditer(text):
            groups = match.groupdict()
            month = groups.get("n") or MONTHS.index(groups["m"]) + 1
            try:
                found.append((match.start(), date(int(match["y"]), int(month), int(match["d"]))))
            except ValueError:
                continue
    return [value for _, value in sorted(found)]


def _without_dates(text: str) -> str:
    for notation in NOTATIONS:
        text = notation.sub(" ", text)
    return text


def _difference(text: str, found: list[date]) -> str | None:
    if len(found) < 2:
        return None
    days = abs((found[1] - found[0]).days)
    if "week" in text and "how many weeks" in text:
        return shown(days / 7)
    return str(days)


def _moved(text: str, found: list[date]) -> str | None:
    """Answer what date lies some days or weeks before or after a date."""
    amount = AMOUNT.search(_without_dates(text))
    if not found or re.search(r"weekday|day of the week", text):
        return None
    days = int(amount[1]) * UNITS[amount[2]] if amount else 1
    neighbour = re.search(r"following|right after|next day|day after|day before", text)
    if amount is None and not neighbour:
        return None
    sign = -1 if re.search(r"\bbefore\b|\bago\b|earlier|minus| - ", text) else 1
    return (found[0] + timedelta(sign * days)).isoformat()


def _about_date(text: str, found: list[date]) -> str | None:
    if not found:
        return None
    value = found[0]
    if re.search(r"day number|day of the year", text):
        return str(value.timetuple().tm_yday)
    if re.search(r"\bage\b|how old", text):
        years = [year for year in numbers(_without_dates(text)) if 1000 < year < 3000]
        return str(int(years[-1]) - value.year) if years else None
    if re.search(r"iso|yyyy", text):
        return value.isoformat()
    if re.search(r"weekday|which day|what day|wochentag|day of the week|born on", text):
        return WEEKDAYS[value.weekday()]
    return value.isoformat()


def _weekdays(text: str) -> str | None:
    """Count on or back from a weekday that the prompt names."""
    named = [index for index, name in enumerate(WEEKDAYS) if name.lower() in text]
    if len(named) != 1:
        return None
    amount = AMOUNT.search(text)
    days = int(amount[1]) * UNITS[amount[2]] if amount else 1
    sign = -1 if re.search(r"\bago\b|before|was it", text) else 1
    return WEEKDAYS[(named[0] + sign * days) % 7]


def _months(text: str) -> str | None:
    years = [int(year) for year in re.findall(r"\b(1[5-9]\d\d|20\d\d)\b", text)]
    if re.search(r"leap year|schaltjahr|bissextile", text) and years:
        return "yes" if isleap(years[0]) else "no"
    month = re.search(rf"\b{MONTH}", text)
    if month and re.search(r"how many days|wie viele tage|combien de jours", text):
        return str(monthrange(years[0] if years else 2023, MONTHS.index(month["m"]) + 1)[1])
    if re.search(r"\bage\b|how old", text) and len(years) > 1:
        return str(max(years) - min(years))
    return None


def _spans(text: str) -> str | None:
    """Add up weeks, days, hours, minutes and seconds in the unit that is asked for."""
    spans = re.findall(r"(\d+(?:\.\d+)?) (week|day|hour|minute|second)s?\b", text)
    asked = re.search(r"(?:many|in|to|into) (week|day|hour|minute|second)s\b", text)
    if not spans or not asked:
        return None
    total = sum(float(amount) * SECONDS[unit] for amount, unit in spans)
    return shown(total / SECONDS[asked[1]])


def _clock(text: str) -> str | None:
    times = []
    for hour, minute, half in CLOCK.findall(text):
        times.append(int(hour) % 12 * 60 + int(minute) if half else int(hour) * 60 + int(minute))
        times[-1] += 720 if half == "pm" else 0
    if len(times) > 1:
        return str(abs(times[1] - times[0]))
    if not times:
        return None
    lasting = re.search(r"(\d+) minute", text)
    end = (times[0] + (int(lasting[1]) if lasting else 0)) % 1440
    return f"{end // 60:02d}:{end % 60:02d}"

"""Word problems, unit conversions and calendar questions."""

from __future__ import annotations

import random
from datetime import date, timedelta

from recipes.pocket.prompt import Prompt
from recipes.pocket.verify import Answer, day, exact, number

NAMES = ("Amara", "Bo", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jonas",
         "Kofi", "Lena", "Mei", "Nadia", "Omar", "Priya", "Rosa", "Sven", "Tariq",
         "Yuki")  # fmt: skip
THINGS = ("apples", "marbles", "stickers", "pencils", "books", "eggs", "stamps", "cookies",
          "tickets", "bolts", "seeds", "postcards")  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
Case = tuple[str, float, tuple[str, ...]]


def _shop(rng: random.Random) -> list[Case]:
    who, other = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    a, b, c = rng.randint(15, 90), rng.randint(2, 14), rng.randint(2, 12)
    return [
        (f"{who} has {a} {thing} and gives {b} to {other}. How many are left?", a - b,
         ("subtraction",)),
        (f"{who} buys {b} boxes with {c} {thing} each. How many {thing} is that?", b * c,
         ("multiplication",)),
        (f"{who} shares {b * c} {thing} equally among {c} friends. How many does each get?", b,
         ("division",)),
        (f"There were {a} {thing} on the table. {who} took {b}, then {other} put {c} back. "
         f"How many {thing} are there now?", a - b + c, ("addition", "subtraction")),
        (f"{thing.capitalize()} cost {c} dollars a bag. {who} pays for {b} bags with a 200 dollar "
         "note. How much change?", 200 - b * c, ("multiplication", "money")),
        (f"{who} is {a} years old and {other} is {b} years younger. How old is {other}?", a - b,
         ("age",)),
        (f"In total {who} and {other} have {a + b} {thing}; {who} has {a}. How many has {other}?",
         b, ("subtraction",)),
        (f"{other} has {b} times as many {thing} as {who}, who has {c}. How many do they have "
         "together?", c * (b + 1), ("multiplication", "addition")),
        (f"Every day {who} collects {c} {thing}. How many after {b} weeks?", 7 * b * c,
         ("multiplication", "calendar")),
        (f"{who} read {a} pages on Monday and {c} more pages on Tuesday than on Monday. "
         "How many pages in both days?", 2 * a + c, ("addition",)),
        (f"{who} hat {a} Bonbons und isst {b} davon. Wie viele bleiben übrig?", a - b,
         ("subtraction", "german")),
        (f"{who} tiene {a} canicas y compra {b} más. ¿Cuántas tiene ahora?", a + b,
         ("addition", "spanish")),
    ]  # fmt: skip


def _measure(rng: random.Random) -> list[Case]:
    who = rng.choice(NAMES)
    a, b, c = rng.randint(4, 30), rng.randint(2, 9), rng.randint(2, 6)
    speed = rng.choice((40, 50, 60, 80, 90, 120))
    return [
        (f"A train drives at {speed} km/h for {c} hours. How many kilometres does it travel?",
         speed * c, ("speed", "units")),
        (f"{who} cycles {a * c} km in {c} hours. What is the average speed in km/h?", a,
         ("speed", "units")),
        (f"A garden is {a} m long and {b} m wide. What is its area in square metres?", a * b,
         ("geometry", "area")),
        (f"How long is the fence around a rectangle of {a} m by {b} m?", 2 * (a + b),
         ("geometry", "perimeter")),
        (f"{who} pours {b * 250} ml from a {b} litre jug. How many ml are still in it?", b * 750,
         ("volume", "units")),
        (f"A rope of {a} metres is cut into pieces of {50} cm. How many pieces are there?", a * 2,
         ("length", "units", "division")),
        (f"A recipe for {c} people needs {c * a * 10} g of flour. How many grams for one person?",
         a * 10, ("proportion", "cooking")),
        (f"{b} bricks weigh {b * c} kg. How many kg do {a} bricks weigh?", a * c,
         ("proportion", "mass")),
        (f"{who} works {b} hours a day and earns {a} euros per hour. What does {who} earn in "
         f"{c} days?", a * b * c, ("multiplication", "money")),
        (f"A film starts at 19:{a + 10} and lasts {b * 10} minutes. How many minutes past 19:00 "
         "does it end?", a + 10 + b * 10, ("time", "addition")),
        (f"A pool holds {a * 100} litres and a hose fills {c * 5} litres a minute. How many "
         "minutes does filling take?", a * 20 / c, ("rate", "division")),
        (f"{who} walks {a}00 metres to school and back, {b} days in a row. How many km is that?",
         a * b * 0.2, ("length", "units", "multiplication")),
    ]  # fmt: skip


def word_problems(rng: random.Random) -> Prompt:
    """Return a short story that hides a calculation, sometimes with units in it."""
    text, value, tags = rng.choice(rng.choice((_shop, _measure))(rng))
    return Prompt(text, ("word problem", *tags), number(value, 1e-4))


CONVERSIONS: tuple[tuple[str, str, float, str], ...] = (
    ("kilometers", "miles", 0.621371, "length"), ("miles", "km", 1.609344, "length"),
    ("inches", "cm", 2.54, "length"), ("feet", "meters", 0.3048, "length"),
    ("metres", "feet", 3.28084, "length"), ("yards", "feet", 3, "length"),
    ("cm", "mm", 10, "length"), ("pounds", "kg", 0.453592, "mass"),
    ("kg", "lb", 2.20462, "mass"), ("ounces", "grams", 28.3495, "mass"),
    ("stone", "pounds", 14, "mass"), ("tonnes", "kilograms", 1000, "mass"),
    ("hours", "minutes", 60, "time"), ("days", "hours", 24, "time"),
    ("weeks", "hours", 168, "time"), ("minutes", "seconds", 60, "time"),
    ("US gallons", "liters", 3.78541, "volume"), ("litres", "ml", 1000, "volume"),
    ("tablespoons", "teaspoons", 3, "volume"), ("cups", "ml", 236.588, "volume"),
    ("mph", "km/h", 1.609344, "speed"), ("m/s", "km/h", 3.6, "speed"),
    ("knots", "km/h", 1.852, "speed"), ("hectares", "square metres", 10000, "area"),
    ("acres", "hectares", 0.404686, "area"), ("megabytes", "kilobytes", 1000, "data"),
    ("bytes", "bits", 8, "data"), ("horsepower", "watts", 745.7, "power"),
    ("kilocalories", "kilojoules", 4.184, "energy"), ("bar", "psi", 14.5038, "pressure"),
    ("Zentimeter", "Meter", 0.01, "length"), ("dozen", "single eggs", 12, "count"),
    ("furlongs", "metres", 201.168, "length"), ("fathoms", "feet", 6, "length"),
)  # fmt: skip


def _temperature(rng: random.Random) -> Prompt:
    c = rng.randint(-15, 120)
    f = c * 9 / 5 + 32
    text, value = rng.choice(
        (
            (f"What is {c} degrees Celsius in Fahrenheit?", f),
            (f"Convert {f:g} °F to °C", float(c)),
            (f"My oven says {f:g} Fahrenheit. What is that in Celsius?", float(c)),
            (f"{c} celsius in kelvin", c + 273.15),
            (f"It is {c} °C outside; how would an American say it in °F?", f),
            (f"{c}C -> F", f),
        )
    )
    return Prompt(text, ("units", "temperature"), number(value, 5e-3))


def _added_units(rng: random.Random) -> Prompt:
    a, b = rng.randint(2, 40), rng.randint(5, 95)
    text, value, tag = rng.choice(
        (
            (f"What is {a} m plus {b} cm, in cm?", a * 100 + b, "length"),
            (f"Add {a} kg and {b} g; give the result in grams.", a * 1000 + b, "mass"),
            (f"How many minutes are {a} hours and {b} minutes?", a * 60 + b, "time"),
            (f"{a} km + {b} m = ? m", a * 1000 + b, "length"),
            (f"How tall in cm is someone who is {a % 3 + 5} feet {b % 12} inches?",
             ((a % 3 + 5) * 12 + b % 12) * 2.54, "length"),
            (f"Which is the total in seconds: {a} minutes {b} seconds?", a * 60 + b, "time"),
            (f"From {a} litres I drink {b} ml. How many ml remain?", a * 1000 - b, "volume"),
        )
    )  # fmt: skip
    return Prompt(text, ("units", "arithmetic", tag), number(value, 5e-3))


def units(rng: random.Random) -> Prompt:
    """Return a unit conversion, now and then with an addition in it."""
    roll = rng.random()
    if roll < 0.2:
        return _temperature(rng)
    if roll < 0.4:
        return _added_units(rng)
    source, target, factor, tag = rng.choice(CONVERSIONS)
    amount = rng.choice((rng.randint(2, 60), rng.randint(1, 40) * 25, rng.randint(1, 99) / 10))
    asked = rng.choice(
        ("Convert {n} {a} to {b}.", "How many {b} are {n} {a}?", "{n} {a} in {b}",
         "What is {n} {a} in {b}?", "I need {n} {a} expressed in {b}",
         "{n} {a} = how many {b}?", "How many {b} are there in {n} {a}?",
         "The label reads {n} {a}, but I think in {b}. How much is it?",
         "Wie viel sind {n} {a} in {b}?", "please turn {n} {a} into {b}",
         "¿Cuánto es {n} {a} en {b}?")
    )  # fmt: skip
    text = asked.format(n=amount, a=source, b=target)
    return Prompt(text, ("units", "conversion", tag), number(amount * factor, 5e-3))


def _written(value: date, rng: random.Random) -> str:
    month = MONTHS[value.month - 1]
    return rng.choice(
        (value.isoformat(), f"{value.day} {month} {value.year}",
         f"{month} {value.day}, {value.year}", f"the {value.day}th of {month} {value.year}"
         if 4 <= value.day <= 20 else f"{value.day} {month[:3]} {value.year}")
    )  # fmt: skip


def _shift_date(rng: random.Random, start: date) -> tuple[str, Answer, str]:
    n, weeks = rng.randint(3, 120), rng.randint(2, 20)
    shown = _written(start, rng)
    return rng.choice(
        (
            (f"What date is {n} days after {shown}?", day(start + timedelta(n)), "addition"),
            (f"Which date comes {n} days before {shown}?", day(start - timedelta(n)),
             "subtraction"),
            (f"{shown} + {n} days", day(start + timedelta(n)), "addition"),
            (f"A parcel was sent on {shown} and took {n} days. When did it arrive?",
             day(start + timedelta(n)), "addition"),
            (f"{weeks} weeks from {shown} is what date?", day(start + timedelta(7 * weeks)),
             "weeks"),
            (f"Write {shown} in ISO format (YYYY-MM-DD).", day(start), "format"),
            (f"What date is exactly {n % 11 + 2} months after {shown}?",
             _months_later(start, n % 11 + 2), "months"),
            (f"When is the day following {shown}?", day(start + timedelta(1)), "addition"),
        )
    )  # fmt: skip


def _months_later(start: date, months: int) -> Answer:
    """Return the same day of a later month, or that month's last day where it is shorter."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    first = date(year, month + 1, 1)
    return day(first.replace(day=min(start.day, _month_length(first))))


def _about_date(rng: random.Random, start: date) -> tuple[str, Answer, str]:
    n = rng.randint(2, 300)
    later = start + timedelta(n)
    one, two = _written(start, rng), _written(later, rng)
    weekday = exact(WEEKDAYS[start.weekday()])
    leap = exact("yes" if (date(start.year, 12, 31) - date(start.year, 1, 1)).days > 364 else "no")
    name = WEEKDAYS[n % 7]
    return rng.choice(
        (
            (f"What day of the week was {one}?", weekday, "weekday"),
            (f"{one}: which weekday?", weekday, "weekday"),
            (f"My grandmother was born on {one}. Was it a Sunday, or which day?", weekday,
             "weekday"),
            (f"Auf welchen Wochentag fiel der {start.isoformat()}? (English name please)", weekday,
             "weekday"),
            (f"How many days are there between {one} and {two}?", number(n), "difference"),
            (f"days from {one} until {two}", number(n), "difference"),
            (f"I rented a flat from {one} to {two}. How many nights was that?", number(n),
             "difference"),
            (f"How many full weeks lie between {one} and {two}?", number(n // 7), "difference"),
            (f"In which quarter of the year (1 to 4) is {one}?",
             number((start.month + 2) // 3), "quarter"),
            (f"Is {start.year} a leap year? yes or no", leap, "leap year"),
            (f"If today is {name}, what day of the week is it in {n} days?",
             exact(WEEKDAYS[(n % 7 + n) % 7]), "weekday"),
            (f"Today is {name}. Which weekday was it {n % 40 + 1} days ago?",
             exact(WEEKDAYS[(n % 7 - n % 40 - 1) % 7]), "weekday"),
            (f"How many days does {MONTHS[start.month - 1]} {start.year} have?",
             number(_month_length(start)), "month"),
            (f"What day number of the year is {one}?", number(start.timetuple().tm_yday), "year"),
            (f"Someone born on {one} turns which age in {start.year + n % 60 + 1}?",
             number(n % 60 + 1), "age"),
        )
    )  # fmt: skip


def _month_length(value: date) -> int:
    following = date(value.year + value.month // 12, value.month % 12 + 1, 1)
    return (following - date(value.year, value.month, 1)).days


def dates(rng: random.Random) -> Prompt:
    """Return a calendar question: a shifted date, a weekday, a difference, a leap year."""
    start = date(1920, 1, 1) + timedelta(rng.randrange(45_000))
    text, answer, tag = rng.choice((_shift_date, _about_date, _about_date))(rng, start)
    return Prompt(text, ("calendar", tag), answer)

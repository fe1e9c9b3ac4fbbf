"""A matplotlib figure as SVG that can stand inside an HTML page, several times on one page.

Colours are placeholders until the page's style sheet says what they are, so that one
drawing serves light and dark; text stays text, in the page's font.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from zooter_lite.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 400  # CSS pixels: a phone shows a figure of this width almost at its own size
FONT = 12.0
NARROW = 290  # of one panel among several
# Name of a CSS variable -> the colour that stands for it inside matplotlib.
COLOURS = {
    name: f"#{place + 1:02x}fe{place + 1:02x}"
    for place, name in enumerate(
        (
            *("ink", "muted", "line", "card", "router", "baseline", "single", "bound"),
            *(
                "better",
                "worse",
                "unclear",
                "series-1",
                "series-2",
                "series-3",
                "series-4",
                "series-5",
            ),
        )
    )
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": FONT,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": FONT,
    "lines.linewidth": 1.8,
}
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"(?<=#)[\w-]+(?=\)?$)")
_GEOMETRY = ("d", "x", "y", "transform", "width", "height", "points")
_KEPT_STYLES = ("fill", "stroke", "stroke-", "opacity", "fill-", "font-size", "font-weight", "text")


@contextmanager
def drawing(height: float, width: float = WIDTH) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure of `width` x `height` CSS pixels and its axes, in the page's style.

    Raises
    ------
    MissingPackageError
        matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(str(error.name), "report", "the HTML report") from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        # the browser has the glyphs that matplotlib's own font lacks
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()  # not what a matplotlibrc on this machine says
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        yield figure, figure.add_subplot()


def inline(figure: Figure, name: str, label: str) -> str:
    """Return the figure as an `<svg>` element; call it inside `drawing`.

    Parameters
    ----------
    figure
        What was drawn.
    name
        Prefix of the ids inside, unique on the page.
    label
        What a screen reader says.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "zooter"}):  # ids, and with them their order, fixed
        # savefig would draw everything twice
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(content, metadata={"Date": None})
    root = ElementTree.fromstring(content.getvalue())  # our own output: nothing hostile to expand
    _drop_document_parts(root)
    _rename_ids(root, name)
    for element in root.iter():
        _simplify(element)
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {"class": "plot", "viewBox": f"0 0 {width} {height}", "width": width}
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _drop_document_parts(root: ElementTree.Element) -> None:
    """Drop the metadata and the style sheet, which would reach the whole page; plain tag names."""
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)


def _rename_ids(root: ElementTree.Element, name: str) -> None:
    """Keep only the ids that are referred to, numbered under `name`."""
    renamed: dict[str, str] = {}

    def rename(found: re.Match[str]) -> str:
        return renamed.setdefault(found[0], f"{name}-{len(renamed) + 1}")

    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key.endswith("href") or value.startswith("url(#"):
                del element.attrib[key]
                element.attrib[key.rpartition("}")[2]] = _REFERENCE.sub(rename, value)
    for element in root.iter():
        if "id" in element.attrib:
            old = element.attrib.pop("id")
            if old in renamed:
                element.attrib["id"] = renamed[old]


def _simplify(element: ElementTree.Element) -> None:
    """Colours of the style sheet, one decimal, no font of matplotlib's."""
    element.text = element.text.strip() if element.text and element.text.strip() else None
    element.tail = None
    for key in _GEOMETRY:
        if key in element.attrib:
            element.attrib[key] = _NUMBER.sub(_one_decimal, element.attrib[key]).strip()
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if "style" in element.attrib:
        parts = (part.strip() for part in element.attrib["style"].split(";"))
        style = ";".join(part for part in parts if part.startswith(_KEPT_STYLES))
        for name, colour in COLOURS.items():
            style = style.replace(colour, f"var(--{name})")
        element.attrib["style"] = style


def _one_decimal(found: re.Match[str]) -> str:
    return f"{float(found[0]):.1f}".removesuffix(".0")

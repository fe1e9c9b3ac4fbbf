"""Export a fitted router's graphs again, and check each against what was fitted.

  python -m zooter_lite.export --router exports/mine --data rewards.parquet
  python -m zooter_lite.export --router exports/mine --data rewards.parquet --precision int8
  python -m zooter_lite.export --router exports/mine --text

router.int8.onnx is calibrated on queries of the table's split 'train', and compared there
with fp32. A graph that changes too much is not written (exit code 2, with the figures).
--text adds router.text.onnx: strings in, the tokeniser inside the graph.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from tqdm import tqdm

from zooter_lite.cli import option, run
from zooter_lite.compare.evaluated_rows import in_router_order
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.report.card import parity_lines, with_precision_section
from zooter_lite.router.directory.config import Parities, TextParity
from zooter_lite.router.directory.store import (
    CARD,
    GRAPHS,
    TEXT_GRAPH,
    RouterFiles,
    read_router,
    rewrite_router,
)
from zooter_lite.table import read_table, sample_path

TEXT_PROMPTS = 500  # of the bundled sample, on which router.text.onnx is compared


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.export`."""

    router: str = option(help="router directory", metavar="DIR")
    data: str = option(
        "",
        help="reward table that the router was fitted on; without it, the bundled sample",
        metavar="TABLE",
    )
    precision: Optional[str] = option(
        None,
        help="graphs to make: fp32, int8 or fp32,int8 (default: both without --text, "
        "fp32 alone for a static encoder)",
        kind=str,
    )
    text: bool = option(False, help="also make router.text.onnx from router.onnx")
    encoder: Optional[str] = option(
        None, help="folder or name of the encoder, where the router's own is not found", kind=str
    )
    hold_out: float = option(
        0.2, help="as at the fit, for a table without a column 'split': share that is no 'train'"
    )
    cache: str = option(
        "", help="cache of embeddings (default: $ZOOTER_CACHE or ~/.cache/zooter-lite)"
    )


def main(options: Options) -> None:
    """Make the graphs, check them, and put them into the router directory."""
    wanted = precisions("fp32,int8" if options.precision is None else options.precision)
    if not 0.01 <= options.hold_out <= 0.9:
        raise DataError(f"--hold-out {options.hold_out}: expected a number from 0.01 to 0.9")
    folder = Path(options.router)
    router = read_router(folder)
    if options.precision is None and router.config.encoder.pooling == "static":
        wanted = ["fp32"]
    files = {GRAPHS["fp32"]: router.read(GRAPHS["fp32"])[:]}
    parity = router.config.parity
    if options.precision is not None or not options.text:
        made, figures = _graphs(options, router, wanted)
        files = files | made
        parity = replace(figures, int8=figures.int8 or parity.int8, text=parity.text)
    if options.text:
        files[TEXT_GRAPH], text = _text(files[GRAPHS["fp32"]], router)
        parity = replace(parity, text=TextParity(**text))
    config = replace(router.config, parity=parity)
    if CARD in config.files:
        card = router.read(CARD)[:].decode("utf-8", "replace")
        files[CARD] = with_precision_section(card, config).encode()
    rewrite_router(folder, replace(router, config=config), files)
    print(f"router: {folder}")
    for line in parity_lines(config):
        print(f"  {line}")


def precisions(text: str) -> list[str]:
    """Read "fp32,int8" as a list.

    Raises
    ------
    DataError
        A precision that there is not.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in GRAPHS:
            raise DataError(f"--precision {name!r}: expected {' or '.join(GRAPHS)}, or both")
    return names


def _graphs(
    options: Options, router: RouterFiles, wanted: list[str]
) -> tuple[dict[str, bytes], Parities]:
    """Graphs by file name and figures by precision, from the encoder and the head."""
    try:
        from zooter_lite.encode.cache import default_cache
        from zooter_lite.encode.encoder import load_encoder
        from zooter_lite.onnx.graphs import export_graphs
        from zooter_lite.onnx.parity import ParityError
    except ImportError as error:
        raise MissingPackageError(str(error.name), "fit", "exporting a router") from error
    source = options.data or sample_path()
    table = in_router_order(read_table(source), list(router.config.experts), source)
    table = table.hold_out(options.hold_out) if table.splits is None else table
    train = table.take(table.rows("train"))
    if not len(train):
        raise DataError(f"{source}: no row has the split 'train', which int8 is calibrated on")
    cache = Path(options.cache) if options.cache else default_cache()
    described = router.config.encoder
    name = options.encoder or described.name
    encoder = load_encoder(name, cache, described.prompt)
    if encoder.spec.sha256 != described.sha256:
        raise DataError(f"encoder {name!r} has other files than the one the router was fitted on")
    with tqdm(desc="export and parity", disable=None, file=sys.stderr, leave=False) as bar:
        exports = export_graphs(encoder, router.head, train, wanted, cache, bar.update)
    if exports.refused:
        raise ParityError(exports.refused)
    return exports.files, exports.parity


def _text(graph: bytes, router: RouterFiles) -> tuple[bytes, dict[str, float]]:
    """Make the one-file router, and compare it on prompts of the bundled sample."""
    try:
        from zooter_lite.onnx.parity import MAX_DIFFERENCE
        from zooter_lite.onnx.text.one_file import check_text_parity, text_graph
        from zooter_lite.onnx.text.wordpiece import TextExportError
    except ImportError as error:
        raise MissingPackageError(str(error.name), "fit", "exporting a router") from error
    text = text_graph(graph, router.tokenizer, router.config.encoder.max_length)
    prompts = read_table(sample_path()).queries[:TEXT_PROMPTS]
    figures = check_text_parity(
        text, graph, router.tokenizer, router.config.encoder.max_length, prompts
    )
    if figures["changed_tokens"] or not figures["max_difference"] <= MAX_DIFFERENCE:
        raise TextExportError(
            f"router.text.onnx has other tokens than router.onnx for "
            f"{figures['changed_tokens']:.2%} of {len(prompts)} prompts, and differs by "
            f"{figures['max_difference']:.1e} in a probability (allowed: none and "
            f"{MAX_DIFFERENCE:.0e})"
        )
    return text, figures


if __name__ == "__main__":
    sys.exit(run(Options, main, "export", __doc__ or ""))

"""Export a fitted router's graphs again, and check each against what was fitted.

  python -m zooter_lite.export --router exports/mine --data rewards.parquet
  python -m zooter_lite.export --router exports/mine --data rewards.parquet --precision int8
  python -m zooter_lite.export --router exports/mine --text

router.int8.onnx is calibrated on queries of the table's split 'train'; it and router.fp16.onnx,
for a GPU, are compared there with fp32. A graph that changes too much is not written (exit
code 2, with the figures).
--text adds router.text.onnx: strings in, the tokeniser inside the graph.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from zooter_lite.cli import bar, cache_folder, cache_option, check_range, option, run
from zooter_lite.errors import DataError, needs
from zooter_lite.recipe import precisions
from zooter_lite.report.card import parity_lines, with_precision_section
from zooter_lite.router.directory.store import (
    CARD,
    GRAPHS,
    TEXT_GRAPH,
    RouterFiles,
    read_router,
    rewrite_router,
)
from zooter_lite.table import RewardTable, in_router_order, read_table, sample_path

if TYPE_CHECKING:
    from zooter_lite.onnx.graphs import Exports

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
        help="graphs to make, of fp32, int8 and fp16 (default: fp32,int8 without --text, "
        "fp32 alone for a static encoder)",
    )
    text: bool = option(False, help="also make router.text.onnx from router.onnx")
    encoder: Optional[str] = option(
        None, help="folder or name of the encoder, where the router's own is not found"
    )
    hold_out: float = option(
        0.2, help="as at the fit, for a table without a column 'split': share that is no 'train'"
    )
    cache: str = cache_option()


def main(options: Options) -> None:
    """Make the graphs, check them, and put them into the router directory."""
    wanted = precisions("fp32,int8" if options.precision is None else options.precision)
    check_range("--hold-out", options.hold_out, 0.01, 0.9)
    folder = Path(options.router)
    router = read_router(folder)
    if options.precision is None and router.config.encoder.pooling == "static":
        wanted = ["fp32"]
    files = {GRAPHS["fp32"]: router.read(GRAPHS["fp32"])[:]}
    parity = router.config.parity
    with needs("fit", "exporting a router"):
        if options.precision is not None or not options.text:
            exports = _graphs(options, router, wanted)
            files |= exports.files
            kept = {name for name in ("int8", "fp16") if name not in wanted} | {"text"}
            parity = replace(exports.parity, **{name: getattr(parity, name) for name in kept})
        if options.text:
            from zooter_lite.onnx.text.one_file import checked_text_graph

            prompts = read_table(sample_path()).queries
            content, figures = checked_text_graph(
                *(files[GRAPHS["fp32"]], router.tokenizer, router.config.encoder.max_length),
                prompts[:TEXT_PROMPTS],
            )
            files[TEXT_GRAPH], parity = content, replace(parity, text=figures)
    config = replace(router.config, parity=parity)
    if CARD in config.files:
        card = router.read(CARD)[:].decode("utf-8", "replace")
        files[CARD] = with_precision_section(card, config).encode()
    rewrite_router(folder, replace(router, config=config), files)
    print("\n  ".join([f"router: {folder}", *parity_lines(config)]))


def _graphs(options: Options, router: RouterFiles, wanted: list[str]) -> "Exports":
    """Make the graphs from the encoder and the head, and compare them on the training rows."""
    from zooter_lite.encode.words import encoder_of
    from zooter_lite.onnx.graphs import export_graphs
    from zooter_lite.onnx.parity import ParityError

    config = router.config
    source = options.data or sample_path()
    table = in_router_order(read_table(source), list(config.experts), source)
    table = table.hold_out(options.hold_out) if table.splits is None else table
    train: RewardTable = table.take(table.rows("train"))
    if not len(train):
        raise DataError(f"{source}: no row has the split 'train', which int8 is calibrated on")
    cache = cache_folder(options.cache)
    encoder = encoder_of(config.encoder, cache, options.encoder)
    with bar(None, "export and parity") as progress:
        exports = export_graphs(
            *(encoder, router.head, train, wanted, cache, progress.update),
            points=config.decisions.points,
        )
    if exports.refused:
        raise ParityError(exports.refused)
    return exports


if __name__ == "__main__":
    sys.exit(run(Options, main, "export", __doc__ or ""))

"""Fit a router on a reward table, evaluate it, and write the router directory.

  python -m zooter_lite.fit                                 the bundled sample
  python -m zooter_lite.fit --data rewards.csv              a table of your own
  python -m zooter_lite.fit --data rewards.parquet --out exports/mine
  python -m zooter_lite.fit --data rewards.csv --preset best    fine-tunes the encoder
  torchrun --nproc-per-node 2 -m zooter_lite.fit --data rewards.csv --finetune 2
                            the same in two processes; accelerate launch works as well

The table has a column 'query', one column 'reward:<expert>' per expert and, if you
like, 'split' (rows of 'train' are learned from, every other split is evaluated
apart), 'subset' and 'tags'. Formats: .csv, .jsonl (also .gz), .parquet, a folder
saved by datasets, or a hub dataset name.
"""

import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from zooter_lite.cli import as_command, option, run
from zooter_lite.compare.held_out import held_out_report
from zooter_lite.errors import DataError, MissingPackageError
from zooter_lite.export import precisions
from zooter_lite.finetune.processes import Processes, launched, mixed_precision
from zooter_lite.labels import diagnose
from zooter_lite.measure.results import SliceReport
from zooter_lite.recipe import Recipe
from zooter_lite.report.card import documents, parity_lines
from zooter_lite.report.terminal import conclusion
from zooter_lite.router.directory.config import RouterConfig
from zooter_lite.router.directory.store import check_replaceable, write_router
from zooter_lite.table import RewardTable, read_table, sample_path, table_name
from zooter_lite.table.keys import query_hashes
from zooter_lite.table.splits import part_of, with_splits

if TYPE_CHECKING:
    from zooter_lite.encode.encoder import Encoder
    from zooter_lite.finetune.refine import Refined
    from zooter_lite.head.fit_head import Fitted

PRESETS = {"fast": 0, "best": 2}  # epochs of fine-tuning
MAX_EPOCHS = 20


@dataclass(frozen=True)
class Options:
    """Options of `python -m zooter_lite.fit`."""

    data: str = option("", help="reward table; without it, the bundled sample", metavar="TABLE")
    out: str = option(
        "", help="router directory to write (default: exports/NAME-OF-TABLE)", metavar="DIR"
    )
    encoder: str = option(
        "all-MiniLM-L6-v2",
        help="sentence encoder: the bundled default, a folder, or a hub name; static (or static:E) "
        "for one distilled from the default (or from E): much faster, somewhat less reward",
        metavar="E",
    )
    prompt: Optional[str] = option(
        None,
        help="text before every query, such as 'query: '; without it, what the encoder declares",
        kind=str,
    )
    precision: str = option(
        "fp32,int8", help="graphs to export; int8 is left out where it loses reward"
    )
    preset: Literal["fast", "best"] = option(
        "fast", help=f"fast: frozen encoder; best: the same as --finetune {PRESETS['best']}"
    )
    finetune: Optional[int] = option(
        None,
        help="fine-tune the encoder for at most this many epochs, 0 to "
        f"{MAX_EPOCHS}; one fold of train decides how many are kept, and whether any is. Slow "
        "without a GPU; killed and run again, it goes on. The encoder is kept in the cache, "
        "where export finds it, and its folder is printed, for export --encoder (default: what "
        "the preset says)",
        kind=int,
        metavar="EPOCHS",
    )
    batch: int = option(
        32,
        help="queries per step of fine-tuning, over all processes together: the loss curve does "
        "not depend on their number, but for dropout and rounding",
    )
    rate: float = option(2e-5, help="learning rate of the encoder's top layer in fine-tuning")
    accumulate: int = option(
        1, help="parts in which a process computes its share of a batch, for less memory"
    )
    mixed_precision: Literal["auto", "bf16", "no"] = option(
        "auto",
        help="of fine-tuning; auto: bf16 where the processor has it, or accelerate launch says so",
    )
    head: Literal["prior", "linear", "mlp"] = option(
        "prior", help="prior: what the tags say plus a linear residual"
    )
    tags: Literal["best", "given", "auto", "none"] = option(
        "best",
        help="given: the table's; auto: k-means clusters; best: cross-validation picks from both",
    )
    domains: bool = option(
        True, help="the prior head does not learn to tell the table's subsets apart"
    )
    labels: Literal["soft", "hard"] = option("soft", help="softmax of the rewards, or best expert")
    kl: Literal["label-router", "router-label"] = option(
        "label-router", help="direction of the KL divergence; the paper writes router-label"
    )
    temperature: Optional[float] = option(
        None, help="label temperature in reward units; without it, cross-validated", kind=float
    )
    beta: Optional[float] = option(
        None, help="share of the sample label, 0 to 1; without it, cross-validated", kind=float
    )
    l2: Optional[float] = option(
        None, help="weight of the L2 penalty; without it, cross-validated", kind=float
    )
    folds: int = option(5, help="folds of the cross-validation on train")
    hold_out: float = option(
        0.2, help="share of rows kept for the test when the table has no column 'split'"
    )
    drop_leaks: bool = option(
        False, help="drop evaluated rows whose query also stands in train (else only counted)"
    )
    keep_queries: bool = option(
        False,
        help="keep the texts of the training queries in the router directory, for explain to show "
        "(off by default: whoever gets the router can read them)",
    )
    seed: int = option(0, help="of clusters, folds and bootstrap")
    jobs: int = option(-1, help="parallel cross-validation jobs; -1 takes every core")
    cache: str = option(
        "", help="cache of embeddings (default: $ZOOTER_CACHE or ~/.cache/zooter-lite)"
    )


def main(options: Options) -> None:
    """Read, embed, choose, fit, export, evaluate, write."""
    processes = launched()
    if processes.rank:
        _assist(options, processes)
        return
    _check(options, processes)
    source = options.data or sample_path()
    out = Path(options.out or f"exports/{table_name(source) or 'router'}")
    check_replaceable(out)
    try:
        from zooter_lite.encode.encoder import load_encoder
        from zooter_lite.encode.find import is_static
        from zooter_lite.head.fit_head import MOST_CHOOSING, fit_head
        from zooter_lite.onnx import graphs as assemble
    except ImportError as error:
        raise MissingPackageError(str(error.name), "fit", "fitting a router") from error

    if _epochs(options):
        mixed_precision(options.mixed_precision)  # refused before the work, if it is
        processes = processes.join()
    table, notes = with_splits(
        read_table(source, responses=False), options.hold_out, options.drop_leaks
    )
    print(*notes, sep="\n", end="\n" if notes else "")
    rows = table.rows("train")
    train = table.take(rows)
    _describe(source, table, train)

    clock = [time.perf_counter()]
    encoder = load_encoder(options.encoder, _cache(options), options.prompt)
    clock.append(time.perf_counter())
    with _bar(len(np.unique(query_hashes(table.queries))), "embedding") as bar:
        embeddings = encoder.embed(table.queries, _cache(options), bar.update)
    clock.append(time.perf_counter())
    recipe = _recipe(options)
    with _bar(None, "fitting") as bar:
        fitted = fit_head(
            *(train, part_of(embeddings, rows), recipe, bar.update, bar.reset),
            most_choosing=None if _epochs(options) else MOST_CHOOSING,
        )
    print(fitted.summary(recipe.folds))
    cross_validated = fitted.selection.scores
    refined = _refined(options, encoder, embeddings, table, fitted, recipe, processes)
    if refined is not None:
        encoder, embeddings, fitted = refined.encoder, refined.embeddings, refined.fitted

    with _bar(None, "export and parity") as bar:
        exports = assemble.export_graphs(
            encoder, fitted.head, train, precisions(options.precision), _cache(options), bar.update
        )
    files = exports.files
    if fitted.tagging is not None:
        files |= assemble.tag_files(train, part_of(embeddings, rows), fitted.tagging)
        if options.keep_queries:
            files |= assemble.kept_queries(train, fitted.tagging)
    name = table_name(source)
    report, notes = held_out_report(table, embeddings, fitted.head, name, options.seed)
    config = assemble.router_config(encoder, train, fitted, recipe)
    config = replace(config, parity=exports.parity)
    details = {"cross_validation": [asdict(score) for score in cross_validated]}
    files |= _documents(config, [*report.slices.values()], details, refined, options)
    write_router(out, config, files, fitted.head)
    clock.append(time.perf_counter())
    print(*notes, sep="\n", end="\n" if notes else "")
    print(conclusion(report))
    print("\n".join([f"router: {out}", *(f"  {line}" for line in parity_lines(config))]))
    if exports.refused:
        print(f"  no int8 graph: {exports.refused}")
    if is_static(options.encoder):
        from zooter_lite.encode.static import MEASURED

        print(f"  {MEASURED}")
    first, second, third = np.diff(clock)
    print(f"time: encoder {first:.1f} s, embedding {second:.1f} s, the rest {third:.1f} s")


def _cache(options: Options) -> Path:
    from zooter_lite.encode.cache import default_cache

    return Path(options.cache) if options.cache else default_cache()


def _recipe(options: Options) -> Recipe:
    return Recipe(
        head=options.head,
        labels=options.labels,
        kl=options.kl,
        tags=options.tags,
        temperature=options.temperature,
        beta=options.beta,
        l2=options.l2,
        domains=options.domains,
        folds=options.folds,
        seed=options.seed,
        jobs=options.jobs,
    )


def _epochs(options: Options) -> int:
    return PRESETS[options.preset] if options.finetune is None else options.finetune


def _refined(
    options: Options,
    encoder: "Encoder",
    embeddings: NDArray[np.float32],
    table: RewardTable,
    fitted: "Fitted",
    recipe: Recipe,
    processes: Processes,
) -> "Refined | None":
    """Fine-tune if asked to, and say what came of it."""
    from zooter_lite.finetune.refine import refine
    from zooter_lite.finetune.tuning import Tuning

    if not _epochs(options):
        return None
    tuning = Tuning(
        _epochs(options),
        options.rate,
        batch=options.batch,
        direction=options.kl,
        seed=options.seed,
        precision=options.mixed_precision,
        accumulate=options.accumulate,
    )
    with _bar(None, "fine-tuning") as bar:
        refined = refine(
            *(encoder, embeddings, table, fitted, recipe, tuning, _cache(options)),
            *(bar.update, bar.reset, processes),
        )
    print(refined.summary())
    return refined


def _assist(options: Options, processes: Processes) -> None:
    """Fine-tune along with the first process, which does and says everything else."""
    if not _epochs(options):
        return  # the first process refuses
    from zooter_lite.finetune.loop import assist

    assist(options.encoder, _cache(options), processes.join())


def _check(options: Options, processes: Processes) -> None:
    """Refuse values out of their range before anything is read."""
    precisions(options.precision)
    if processes.count > 1 and not _epochs(options):
        raise DataError(
            f"started in {processes.count} processes, which only --finetune divides its work "
            "among: expected --finetune or --preset best, or one process"
        )
    ranges = (
        ("--temperature", options.temperature, 1e-6, 1e6),
        ("--beta", options.beta, 0.0, 1.0),
        ("--l2", options.l2, 0.0, 1e6),
        ("--hold-out", options.hold_out, 0.01, 0.9),
        ("--folds", options.folds, 2, 100),
        ("--seed", options.seed, 0, 2**32 - 1),
        ("--finetune", options.finetune, 0, MAX_EPOCHS),
        ("--batch", options.batch, processes.count, 2**20),
        ("--rate", options.rate, 1e-9, 1.0),
        ("--accumulate", options.accumulate, 1, options.batch),
    )
    for name, value, low, high in ranges:
        if value is not None and not low <= value <= high:
            raise DataError(f"{name} {value}: expected a number from {low} to {high}")
    if options.keep_queries and options.tags == "none":
        raise DataError("--keep-queries with --tags none: no query is indexed without tags")
    if _epochs(options):
        asked = "--preset best" if options.finetune is None else "--finetune"
        if options.encoder.partition(":")[0] == "static":
            raise DataError(f"{asked} with a static encoder: it has no layers to fine-tune")
        if options.head == "mlp":
            raise DataError(f"{asked} with --head mlp: expected --head prior or linear")
    if options.jobs == 0 or options.jobs < -1:
        raise DataError(f"--jobs {options.jobs}: expected -1 or a positive number")


def _describe(source: str, table: RewardTable, train: RewardTable) -> None:
    splits = np.asarray(table.splits)
    counts = ", ".join(f"{name} {int((splits == name).sum())}" for name in sorted(set(splits)))
    missing = float(np.isnan(table.rewards).mean())
    print(
        f"{source}: {len(table)} queries ({counts}), {len(table.experts)} experts, "
        f"{len(set(table.subsets))} subsets, {missing:.1%} of the rewards not observed"
    )
    print(f"on train (x100): {diagnose(train.rewards).summary(table.experts)}")
    sys.stdout.flush()


def _documents(
    config: RouterConfig,
    slices: list[SliceReport],
    details: dict[str, Any],
    refined: "Refined | None",
    options: Options,
) -> dict[str, bytes]:
    """report.json, report.svg and README.md of the router directory."""
    if options.data:
        options = replace(options, data=Path(options.data).name)
    undecisive = ("accumulate", "cache", "jobs", "out")
    given = {k: v for k, v in asdict(options).items() if k not in undecisive}
    details = details | {"options": given}
    if refined is not None:
        details["finetune"] = refined.to_json()
    command = as_command("fit", given, asdict(Options()))
    return documents(config, slices, details, command)


def _bar(total: int | None, label: str) -> Any:
    return tqdm(total=total, desc=label, disable=None, file=sys.stderr, leave=False)


if __name__ == "__main__":
    sys.exit(run(Options, main, "fit", __doc__ or ""))

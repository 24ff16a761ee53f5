"""``firstspike explore``: search a space of codes, processors and networks for the best designs."""

import argparse
from pathlib import Path
from time import perf_counter

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from firstspike import __version__, files
from firstspike.cli.common import table, write_json
from firstspike.explore import evaluate, page, space
from firstspike.explore.executor import Local, Remote, Workers
from firstspike.explore.search import Found, search
from firstspike.explore.space import OBJECTIVES, Space
from firstspike.terminal import console


def run(options: argparse.Namespace) -> None:
    """Search, and write table and page; with one worker and no cluster, all in this process."""
    chosen = space.load(options.space)
    space.require("optuna")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    cache = Path(options.cache) if options.cache else out / "traces"
    storage = Path(options.storage) if options.storage else out / "study.journal"
    job = evaluate.prepare(chosen, cache=cache.resolve())
    cluster = None
    executor: Workers = Local(job)
    if options.ray_address or options.workers > 1:
        executor = cluster = Remote(job, workers=options.workers, address=options.ray_address)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    start = perf_counter()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("designs", total=None)
            found = search(
                chosen,
                executor,
                storage=storage,
                digest=job.digest,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        if cluster is not None:
            cluster.close()
    seconds = perf_counter() - start
    provenance = {"command": f"firstspike explore {options.space}", "firstspike": __version__}
    files.write(out / "designs.csv", page.table(chosen, found))
    files.write(out / "explore.html", page.page(chosen, found, provenance, evaluate.defaults(job)))
    console.print(_best(chosen, found))
    rate = f", {found.evaluated / seconds * 3600:,.0f} designs per hour" if found.evaluated else ""
    console.print(
        f"{found.trials:,} trials, {len(found.points):,} designs, {len(found.refused):,} trials refused; "
        f"{found.evaluated:,} evaluated now in {seconds:,.1f} s{rate}"
    )
    for reason in sorted(set(found.refused.values()))[:3]:
        console.print(f"refused: {reason}")
    console.print(f"{out / 'explore.html'}, {out / 'designs.csv'}", soft_wrap=True)
    write_json(options.json, page.record(chosen, found) | {"seconds": seconds})


def _best(space: Space, found: Found) -> Table:
    """The front's best design for every objective."""
    made = table(f"best of {len(found.points)} designs", ["best"], space.objectives, ["design"])
    varying = [p.key for p in space.parameters if len({point.design[p.key] for point in found.points}) > 1]
    for name in space.objectives:
        sign = -1 if OBJECTIVES[name] == "maximize" else 1
        best = min((p for p in found.points if p.front), key=lambda point: (sign * point.result[name], point.trial))
        shown = ", ".join(f"{key} {best.design[key]}" for key in varying)
        made.add_row(name, *(f"{best.result[entry]:.4g}" for entry in space.objectives), shown)
    return made

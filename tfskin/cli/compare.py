"""tfskin-compare: runs on the same images -> which differences are real."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.common import Json, print_cells, print_figures, print_json, run, show_interval


def compare_command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Two run directories or more.")
    ],
    output: Annotated[Path, typer.Option(help="Where to write.")] = Path("comparison"),
    split: Annotated[
        str | None, typer.Option(help="Which split (none: test).", show_default=False)
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=100)] = 2000,
    json: Json = False,
) -> None:
    """Compare runs on the same images: differences with intervals, DeLong's test, ROC curves."""
    from tfskin.experiment import compare

    result = compare(runs, output=output, split=split, resamples=resamples)
    if json:
        print_json(result)
        return
    print_figures(list(result["runs"].items()), title=f"on {result['split']}")
    for pair in result["pairs"]:
        _print_pair(pair)
    print(f"report: {output / 'report.html'}")


def _print_pair(pair: dict[str, Any]) -> None:
    from tfskin.evaluation.metric_table import metrics_shown

    cells = []
    for metric in metrics_shown("terminal pairs"):
        entry = pair["figures"].get(metric.name)
        if entry is None or entry["p_holm"] is None:
            continue
        verdict = "yes" if entry["real"] else "no"
        cells.append((metric.name, show_interval(entry), f"{entry['p_holm']:.3f}", verdict))
    title = f"{pair['first']} minus {pair['second']}"
    print_cells(("figure", "difference", "p (Holm)", "real"), cells, title=title)
    if pair["delong"] is not None and pair["delong"]["p"] is not None:
        print(f"DeLong's test of the malignant AUC: p = {pair['delong']['p']:.3f}")


main = partial(run, compare_command)

"""tfskin-check-bn: a run -> what its batch normalisations do."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.common import Json, print_cells, print_json, run
from tfskin.errors import UserError
from tfskin.progress import is_quiet


def check_bn_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    images: Annotated[int, typer.Option(help="Images of val to look at.", min=2)] = 128,
    json: Json = False,
) -> None:
    """Check batch normalisation on real images; exit code 2 if predictions depend on the batch."""
    from tfskin.experiment.checking_batch_norm import check_batch_norm

    found = check_batch_norm(folder, images=images)
    if json:
        print_json(found)
    elif not is_quiet():
        _print(found)
    if not found["passed"]:
        raise UserError(
            f"{folder}: a prediction changes with the other images of its batch, as it does when "
            "a BatchNormalization runs in training mode; it cannot be exported"
        )


def _print(found: dict[str, Any]) -> None:
    cells = [
        (
            *(row["layer"], row["part"], row["mode"]),
            *(f"{row['mean_shift']:.3f}", f"{row['variance_ratio']:.3f}", row["state"]),
        )
        for row in found["layers"]
    ]
    if cells:
        title = f"{found['run']}, {found['images']} images of val"
        headings = ("layer", "part", "mode", "mean shift", "variance ratio", "statistics")
        print_cells(headings, cells, title=title, justify="lllrrl")
    else:
        print("no batch normalisation")
    gap, companions = found["mode_gap"], found["companions"]
    print(
        f"training against inference mode: probabilities differ by {gap['mean_difference']:.4f}, "
        f"the class of {gap['changed']:.1%} of the images changes"
    )
    changes = ", ".join(
        f"{name.replace('_', ' ')} {companions[name]:.1e}"
        for name in ("shuffled", "single_class", "one")
    )
    print(f"largest change of a probability by batch companions: {changes}")
    bad = [row["layer"] for row in found["layers"] if row["state"] != "fresh"]
    if bad:
        print(
            f"{len(bad)} of {len(found['layers'])} layers have stale or initial statistics "
            f"({bad[0]} first): train longer, or set train.recalibrate=2048"
        )


main = partial(run, check_bn_command)

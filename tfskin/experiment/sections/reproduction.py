"""Section: the commands, the software and the config that make the run again."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.report import Block, Code, Facts
from tfskin.experiment.sections.base import Evaluation, ReportSection
from tfskin.runs import Run
from tfskin.schema import ExternalConfig


class ReproductionSection(ReportSection):
    """How to reproduce the run."""

    heading = "How to reproduce"

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """Commands, versions and hardware, and the resolved config."""
        run = evaluation.run
        blocks: list[Block] = [Code(text=_command(run, evaluation.external))]
        about = run.environment()
        if about:
            packages = ", ".join(f"{name} {v}" for name, v in about["packages"].items() if v)
            blocks.append(
                Facts(
                    values={
                        "Python": about["python"],
                        "Packages": packages,
                        "Commit": about["commit"] or "not from a checkout",
                        "Processor": f"{about['processor']}, {about['cpus']} CPUs",
                        "Seed": str(about["seed"]),
                    }
                )
            )
        return [*blocks, Code(text=(run.folder / "config.yaml").read_text(encoding="utf-8"))]


def _command(run: Run, external: ExternalConfig | None) -> str:
    if external is not None:
        return f"tfskin-evaluate {run.home} {external.name}.yaml"
    word = "tfskin-ensemble" if not (run.folder / "history.csv").is_file() else "tfskin-train"
    return f"{word} {run.home / 'config.yaml'}\ntfskin-evaluate {run.home}"

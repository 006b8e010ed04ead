"""Section: the data set, its images by diagnosis and split, and their licences."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tfskin.datasets.shards import Shards
from tfskin.evaluation.report import Block, Facts, Table
from tfskin.experiment.sections.base import Evaluation, ReportSection
from tfskin.files import read_json


class DataCard(ReportSection):
    """Where the images come from, and what was ruled out between their splits."""

    heading = "Data"

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """Facts, a row a diagnosis, and a row a licence."""
        shards = evaluation.shards
        about = read_json(shards.folder / "shards.json")
        return [
            Facts(values=_facts(shards, about)),
            Table(
                caption="Images by diagnosis and split",
                headings=["Diagnosis", *shards.counts, "All"],
                rows=_rows(shards),
                marked="all",
            ),
            Table(
                caption="Licences of the images",
                headings=["Licence", "Images"],
                rows=[[name or "unknown", count] for name, count in about["licenses"].items()],
            ),
        ]


def _facts(shards: Shards, about: Mapping[str, Any]) -> dict[str, str]:
    proof = about.get("proof", {})
    links = proof.get("links", {})
    pairs = links.get("near duplicate", {}).get("pairs")
    return {
        "Shards": f"{shards.name} {shards.version}",
        "Source": about.get("source") or "unknown",
        "Fingerprint": shards.fingerprint,
        "Groups": f"{about['groups']:,} of images that share a lesion or a patient, are near "
        "duplicates, or are linked photographs of one lesion; no group is in two splits",
        "Near duplicates": "not looked for"
        if pairs is None
        else f"{pairs:,} pairs, each within one split",
        "Photographs of one lesion": _describe_photographs(links.get("photograph")),
        "Not ruled out across splits": ", ".join(proof.get("not_ruled_out", [])) or "nothing",
        "Largest side": f"{shards.max_side} px",
    }


def _describe_photographs(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return "not looked for"
    return (
        f"{counts['pairs']:,} pairs found by what they show, each within one split, "
        f"{counts['new_pairs']:,} of them by nothing else; {counts['cut']:,} links cut, "
        f"{counts['cut_in_two_splits']:,} of them between two splits; largest group "
        f"{counts['largest_group']:,} images"
    )


def _rows(shards: Shards) -> list[list[Any]]:
    """A row a diagnosis, the most frequent first; below them one of all."""
    splits = list(shards.counts.values())
    totals: Counter[str] = Counter()
    for counts in splits:
        totals.update(counts)
    order = sorted(totals, key=lambda name: (-totals[name], name))
    rows: list[list[Any]] = [
        [name or "none", *(counts.get(name, 0) for counts in splits), totals[name]]
        for name in order
    ]
    return [*rows, ["all", *(sum(counts.values()) for counts in splits), totals.total()]]

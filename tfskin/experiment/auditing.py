"""A data set on disk -> what is wrong with it, before anything is trained."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from tfskin.datasets.audit import audit_records, describe_problems
from tfskin.datasets.audit_report import write_audit
from tfskin.datasets.options import PrepareOptions
from tfskin.datasets.sources import data_set_name
from tfskin.experiment.preparing import (
    PHANTOM,
    beam_run,
    download_sources,
    gather_records,
)

logger = logging.getLogger(__name__)


def audit(
    source: str,
    path: Path | str | None = None,
    *,
    output: Path | str | None = None,
    options: PrepareOptions | None = None,
) -> dict[str, Any]:
    """What was found, as counts; tables and a page are written to ``audits/<name>``.

    Looks at every file (unreadable, cut off, no image, CMYK, 16 bits, animated, transparent,
    turned, absurdly large), at near duplicates within and across sources, at artefacts, and at
    what each artefact and each metadata field says about the diagnosis.

    Args:
        source: a layout on disk, as for :func:`tfskin.prepare`.
        path: where it lies; none for phantoms, which are generated.
        output: where ``report.html``, ``images.csv``, ``duplicates.csv``, ``associations.csv``
            and ``summary.json`` go.
        options: further sources, download, Beam, on_error, what to look for; splits and shards are
            passed over.

    Returns:
        The content of ``summary.json``.

    Raises:
        UserError: as ``read_records``; an unusable picture, where ``on_error`` is "fail".

    Example:
        >>> from tfskin.datasets.options import PhantomOptions, SourceOptions
        >>> few = SourceOptions(phantom=PhantomOptions(lesions=20))
        >>> options = tfskin.PrepareOptions(source=few)
        >>> found = tfskin.audit("phantom", output="audits/phantom", options=options)
        >>> found["problems"]
        0
    """
    chosen = options or PrepareOptions(on_error="skip")
    name = chosen.name or data_set_name(source)
    folder = Path(output) if output else audit_folder(source, chosen)
    if chosen.download:
        download_sources(source, path, options=chosen)
    if source == PHANTOM and path is None:
        with tempfile.TemporaryDirectory() as drawn:
            return _audit(source, Path(drawn) / name, folder, chosen)
    return _audit(source, path, folder, chosen)


def audit_folder(source: str, options: PrepareOptions) -> Path:
    """Where an audit goes unless it is told."""
    return Path("audits") / (options.name or data_set_name(source))


def _audit(
    source: str,
    path: Path | str | None,
    folder: Path,
    options: PrepareOptions,
) -> dict[str, Any]:
    records = gather_records(source, path, options=options)
    found = audit_records(
        records,
        on_error=options.on_error,
        near_duplicates=options.near_duplicates,
        artefacts=options.artefacts,
        workers=options.shards.workers,
        beam=beam_run(options, folder),
    )
    if len(found.problems):
        logger.warning(f"{describe_problems(found)}")
    named = [options.name or data_set_name(source), *(other for other, _ in options.also)]
    return write_audit(folder, found, title=", ".join(dict.fromkeys(named)))

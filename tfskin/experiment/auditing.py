"""A data set on disk -> what is wrong with it, before anything is trained."""

from pathlib import Path
from typing import Any

from tfskin.datasets.audit_report import write_audit
from tfskin.datasets.options import PrepareOptions
from tfskin.datasets.sources import data_set_name
from tfskin.experiment.preparing import gathered, look_at_records
from tfskin.locks import only_writer


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
        UserError: as ``read_records``; an unusable image, where ``on_error`` is "fail".

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
    named = dict.fromkeys([name, *(other for other, _ in chosen.also)])
    with only_writer(folder), gathered(source, path, name, chosen) as records:
        found = look_at_records(records, chosen, folder)
        return write_audit(folder, found, title=", ".join(named))


def audit_folder(source: str, options: PrepareOptions) -> Path:
    """Where an audit goes unless it is told."""
    return Path("audits") / (options.name or data_set_name(source))

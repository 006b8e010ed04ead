"""The public archives of the sources: where they are published, and how they get onto the disk."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import requests

from tfskin.datasets.transfers import FoundFile, RemoteFile, fetch_file, find_file
from tfskin.datasets.unpacking import unpack_archive
from tfskin.errors import UserError, nearest_hint
from tfskin.locks import only_writer
from tfskin.progress import progress_bar

logger = logging.getLogger(__name__)

_DATAVERSE = "https://dataverse.harvard.edu/api"
_HAM10000 = f"{_DATAVERSE}/datasets/:persistentId/?persistentId=doi:10.7910/DVN/DBW86T"
_PAGES = {"ham10000": "https://doi.org/10.7910/DVN/DBW86T"}
_CHALLENGES_PAGE = "https://challenge.isic-archive.com/data/"


def _isic(folder: str, *names: str) -> tuple[RemoteFile, ...]:
    """Files of a challenge, in the archive's bucket of today and in that of the challenges."""
    buckets = (
        f"https://isic-archive.s3.amazonaws.com/challenges/{folder}",
        f"https://isic-challenge-data.s3.amazonaws.com/{folder}",
    )
    return tuple(
        RemoteFile(name, tuple(f"{bucket}/{name}" for bucket in buckets), _DIGESTS.get(name, ""))
        for name in names
    )


# The ISIC publishes no checksums. These are what independent public projects noted of the files.
_DIGESTS = {
    "ISBI2016_ISIC_Part3_Training_Data.zip": "sha256:"
    "d78bd1de08511b514e58784c91fd2d8dab24e407cafd023a7debbceb9155ffb2",
    "ISBI2016_ISIC_Part3_Training_GroundTruth.csv": "sha256:"
    "0ffadd63b7cec650cddfbe5df54d1d3167453fe6004c2bbf05824184b0c4d405",
    "ISIC2018_Task3_Training_GroundTruth.zip": "md5:8302427e4ce0c107559531b9f444abe9",
    "ISIC2018_Task3_Training_LesionGroupings.csv": "md5:9517b6aa6902d6c27e234bac8279a64a",
    "ISIC_2019_Training_Input.zip": "sha256:"
    "5075020b720c8f1b9b7f3ff85326c55ce0435e5906c41fbd338994feef886df1",
    "ISIC_2019_Training_GroundTruth.csv": "sha256:"
    "aa88e9638fe4df9ef330dc4ba22fa4bd475c44af692fffb870c73091ab25cdcd",
    "ISIC_2019_Training_Metadata.csv": "sha256:"
    "d93994a8ed201d474de9a7af7e17ec30929cbc4a5220659ecbde17cbe83e9316",
}

ARCHIVES: dict[str, tuple[RemoteFile, ...]] = {
    # Its checksums are asked of the Dataverse itself.
    "ham10000": (
        RemoteFile("HAM10000_metadata.tab", (f"{_DATAVERSE}/access/datafile/4338392",)),
        RemoteFile("HAM10000_images_part_1.zip", (f"{_DATAVERSE}/access/datafile/3172585",)),
        RemoteFile("HAM10000_images_part_2.zip", (f"{_DATAVERSE}/access/datafile/3172584",)),
    ),
    "isic_2016": _isic(
        "2016",
        "ISBI2016_ISIC_Part3_Training_GroundTruth.csv",
        "ISBI2016_ISIC_Part3_Test_GroundTruth.csv",
        "ISBI2016_ISIC_Part3_Training_Data.zip",
        "ISBI2016_ISIC_Part3_Test_Data.zip",
    ),
    "isic_2017": _isic(
        "2017",
        "ISIC-2017_Training_Part3_GroundTruth.csv",
        "ISIC-2017_Validation_Part3_GroundTruth.csv",
        "ISIC-2017_Test_v2_Part3_GroundTruth.csv",
        "ISIC-2017_Training_Data.zip",
        "ISIC-2017_Validation_Data.zip",
        "ISIC-2017_Test_v2_Data.zip",
    ),
    "isic_2018": _isic(
        "2018",
        "ISIC2018_Task3_Training_LesionGroupings.csv",
        "ISIC2018_Task3_Training_GroundTruth.zip",
        "ISIC2018_Task3_Validation_GroundTruth.zip",
        "ISIC2018_Task3_Test_GroundTruth.zip",
        "ISIC2018_Task3_Training_Input.zip",
        "ISIC2018_Task3_Validation_Input.zip",
        "ISIC2018_Task3_Test_Input.zip",
    ),
    "isic_2019": _isic(
        "2019",
        "ISIC_2019_Training_GroundTruth.csv",
        "ISIC_2019_Training_Metadata.csv",
        "ISIC_2019_Test_GroundTruth.csv",
        "ISIC_2019_Test_Metadata.csv",
        "ISIC_2019_Training_Input.zip",
        "ISIC_2019_Test_Input.zip",
    ),
    # The test set of 2020 has no public truth.
    "isic_2020": _isic(
        "2020",
        "ISIC_2020_Training_GroundTruth_v2.csv",
        "ISIC_2020_Training_Duplicates.csv",
        "ISIC_2020_Training_JPEG.zip",
    ),
    "isic_2024": _isic(
        "2024",
        "ISIC_2024_Training_GroundTruth.csv",
        "ISIC_2024_Training_Supplement.csv",
        "ISIC_2024_Training_Input.zip",
    ),
    "milk10k": _isic(
        "milk10k",
        "MILK10k_Training_GroundTruth.csv",
        "MILK10k_Training_Metadata.csv",
        "MILK10k_Training_Input.zip",
    ),
}
"""Source -> the files that its layout needs, tables first: they are small and soon missed."""


def check_archives(source: str) -> None:
    """Refuse a source that has no public archives.

    Raises:
        UserError: it has none; names those that have.
    """
    if source not in ARCHIVES:
        hint = nearest_hint(source, list(ARCHIVES)) or f"; there are for {', '.join(ARCHIVES)}"
        raise UserError(f"--download: there are no public archives for '{source}'{hint}")


def download_source(source: str, folder: Path) -> None:
    """Bring a source's public archives into ``folder``, unpacked; what is there is left alone.

    Each archive becomes a folder of its name, which appears when all of it is there, and is then
    deleted; a table keeps its name. Run again after a stop, it goes on where it was. Checked are:
    the SHA-256 or MD5 where one is known, else the MD5 by which Amazon S3 names what was stored in
    one piece, else the size; and the CRC-32 of every file in an archive.

    Args:
        source: a name of :data:`ARCHIVES`.
        folder: is made where it is missing.

    Raises:
        UserError: a source without public archives, no connection, too little room on the disk,
            a wrong checksum, an archive that is damaged or unsafe, or another process at it.
    """
    check_archives(source)
    missing = [file for file in ARCHIVES[source] if not _place_of(file, folder).exists()]
    if not missing:
        logger.info(f"{folder}: everything of {source} is there already")
        return
    found = _find_all(source, missing, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder):
        _announce(source, found, folder)
        for file in found:
            _bring(file, folder)


def _place_of(file: RemoteFile, folder: Path) -> Path:
    """The folder or table that is there when the file was brought."""
    return folder / (file.name.removesuffix(".zip"))


def _find_all(source: str, files: list[RemoteFile], folder: Path) -> list[FoundFile]:
    try:
        if source == "ham10000":
            files = _with_dataverse_digests(files)
        return [find_file(file) for file in files]
    except UserError as error:
        page = _PAGES.get(source, _CHALLENGES_PAGE)
        raise UserError(
            f"{error}; mend the connection and run the command again, or unpack what "
            f"{page} offers in {folder} and leave --download out"
        ) from None


def _with_dataverse_digests(files: list[RemoteFile]) -> list[RemoteFile]:
    """With the MD5 that the Dataverse publishes.

    Not of tables: it hands those out in another form than the one that it made the MD5 of.
    """
    try:
        answer = requests.get(_HAM10000, timeout=60)
        answer.raise_for_status()
        about = [entry["dataFile"] for entry in answer.json()["data"]["latestVersion"]["files"]]
        published = {entry["filename"]: str(entry["md5"]).lower() for entry in about}
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return files  # find_file says what is wrong with the connection
    return [
        replace(file, digest=f"md5:{published[file.name]}")
        if file.name.endswith(".zip") and file.name in published
        else file
        for file in files
    ]


def _announce(source: str, found: list[FoundFile], folder: Path) -> None:
    """Say how much will come, and see that there is room: an archive lies beside its content."""
    sizes = [file.size or 0 for file in found]
    archives = [file.size or 0 for file in found if file.file.name.endswith(".zip")]
    left = sum(sizes) - sum(_bytes_here(file, folder) for file in found)
    needed = left + max(archives, default=0)
    free = shutil.disk_usage(folder).free
    unknown = " and what has no known size" if any(file.size is None for file in found) else ""
    logger.info(
        f"{source}: {_show_bytes(left)}{unknown} to download into {folder}, {len(found)} files "
        f"({_show_bytes(needed)} of disk space needed, {_show_bytes(free)} free)"
    )
    if needed > free:
        raise UserError(
            f"{folder}: {_show_bytes(needed)} are needed to download and unpack {source}, and "
            f"{_show_bytes(free)} are free; free some, or give a folder on another disk"
        )


def _bytes_here(found: FoundFile, folder: Path) -> int:
    place = folder / found.file.name
    return place.stat().st_size if place.exists() else found.part_bytes(folder)


def _bring(found: FoundFile, folder: Path) -> None:
    """Download one file, check it, unpack it."""
    name, place = found.file.name, folder / found.file.name
    checks = []
    if not place.exists():
        with progress_bar(name, total=found.size, unit="bytes") as advance:
            checks.append(fetch_file(found, folder, advance=advance))
    elif found.size is not None and place.stat().st_size != found.size:
        raise UserError(
            f"{place}: has {place.stat().st_size} bytes, and the published file {found.size}; "
            "delete it and run the command again"
        )
    size = place.stat().st_size
    if name.endswith(".zip"):
        target = _place_of(found.file, folder)
        with progress_bar(f"unpacking {name}", total=None, unit="bytes") as advance:
            count = unpack_archive(place, target, advance=advance)
        place.unlink()
        checks.append(f"CRC-32 of {count} files")
    checked = " and ".join(check for check in checks if check) or "nothing to check it by"
    logger.info(f"{name}: {_show_bytes(size)}, checked: {checked}")


def _show_bytes(count: int) -> str:
    """``2.6 GiB``."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"

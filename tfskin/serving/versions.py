"""The numbered folders of a served model."""

from pathlib import Path


def list_versions(folder: Path | str) -> list[tuple[int, Path]]:
    """``(version, path)`` of every version in a model's folder, lowest first.

    As in TensorFlow Serving, a version is a folder whose name is a whole number.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(
        (int(path.name), path)
        for path in folder.iterdir()
        if path.is_dir() and path.name.isascii() and path.name.isdigit()
    )


def next_version(folder: Path | str) -> int:
    """The number after the highest version in a model's folder; 1 if there is none."""
    return max((number for number, _ in list_versions(folder)), default=0) + 1

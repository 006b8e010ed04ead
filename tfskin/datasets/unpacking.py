"""ZIP archives from strangers -> folders: whole, within their folder, every checksum compared."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from tfskin.errors import UserError
from tfskin.files import replace_folder

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
_LEFT_OUT = "__MACOSX/"  # resource forks, no images


def unpack_archive(archive: Path, folder: Path, *, advance: Callable[[int], None]) -> int:
    """How many files were unpacked into ``folder``, which appears when all of them are there.

    The CRC-32 of every file is compared. Where all lies in one folder of the archive's name, as
    ``a.zip`` with ``a/1.jpg``, that level is left out.

    Args:
        archive: a ZIP file.
        folder: must not be there.
        advance: called with the unpacked bytes of each file.

    Raises:
        UserError: a name that leads out of the folder, a link, a file that is locked by a
            password, two different files of one name, no file at all, not enough room on the
            disk, or a damaged archive, which is deleted.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.filename.startswith(_LEFT_OUT)]
            for member in members:
                _check_member(archive, member)
            members = _without_copies(archive, members)
            _check_room(archive, sum(member.file_size for member in members))
            with replace_folder(folder) as temporary:
                for member in members:
                    opened.extract(member, temporary)
                    advance(member.file_size)
                _lift_only_folder(temporary, folder.name)
    except _DAMAGED as error:
        archive.unlink()
        raise UserError(
            f"{archive}: is damaged ({error}) and was deleted; run the command again"
        ) from None
    return sum(not member.is_dir() for member in members)


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise UserError(f"{archive}: '{name}' leads out of its folder; don't use this archive")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{archive}: '{name}' is a link; don't use this archive")
    if member.flag_bits & 1:
        raise UserError(f"{archive}: '{name}' is locked by a password; unpack it by hand")


def _without_copies(archive: Path, members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The members, each name once; the last of two would silently replace the first."""
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in members:
        path = PurePosixPath(member.filename)
        first = found.setdefault(path, member)
        if (first.CRC, first.file_size) != (member.CRC, member.file_size):
            raise UserError(
                f"{archive}: holds two different files named '{path}'; don't use this archive"
            )
    files = {path for path, member in found.items() if not member.is_dir()}
    if not files:
        raise UserError(f"{archive}: holds no files; delete it, and download it again")
    inside = next((path for path in found if not files.isdisjoint(path.parents)), None)
    if inside is not None:
        raise UserError(f"{archive}: '{inside}' lies in a file, no folder; don't use this archive")
    return list(found.values())


def _check_room(archive: Path, needed: int) -> None:
    free = shutil.disk_usage(archive.parent).free
    if needed > free:
        raise UserError(
            f"{archive}: unpacks to {needed} bytes, and {free} are free; free some disk space and "
            "run the command again"
        )


def _lift_only_folder(folder: Path, name: str) -> None:
    if [child.name for child in folder.iterdir()] != [name] or not (folder / name).is_dir():
        return
    inner = (folder / name).rename(folder / f".lifted-{name}")  # a child may be called the same
    for child in list(inner.iterdir()):
        child.rename(folder / child.name)
    inner.rmdir()

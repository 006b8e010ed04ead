"""Files from the web: resumed after a stop, whole and checked before they get their name."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tfskin.errors import UserError

_TIMEOUT = (20, 60)  # seconds to connect, and between two pieces
_CHUNK_BYTES = 64 * 1024
_TRIES_WITHOUT_PROGRESS = 5
_PAUSE_SECONDS = 2.0
_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")
_HEAD_REFUSED = (403, 405, 501)  # an address signed for GET answers 403 to HEAD


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: what it is called on disk.
        addresses: of the same file; the first one that answers is taken.
        digest: "sha256:" or "md5:" and its checksum in hexadecimal; "" where none is known.
    """

    name: str
    addresses: tuple[str, ...]
    digest: str = ""


@dataclass(frozen=True)
class FoundFile:
    """A file as its server describes it.

    Attributes:
        file: which one.
        address: where it was found.
        size: in bytes; None where the server does not say.
        tag: the server's name of this version (ETag); "" where it gives none.
        stored_md5: the MD5 that Amazon S3 gives as the tag of a file that was stored in one piece;
            "" for one stored in several, and on other servers.
    """

    file: RemoteFile
    address: str
    size: int | None
    tag: str
    stored_md5: str

    def part(self, folder: Path) -> Path:
        """Where its bytes gather; another version of the file gathers under another name."""
        version = hashlib.sha256(f"{self.size} {self.tag}".encode()).hexdigest()[:8]
        return folder / f"{self.file.name}.{version}.part"

    def part_bytes(self, folder: Path) -> int:
        """How many bytes of it are there already."""
        part = self.part(folder)
        return part.stat().st_size if part.is_file() else 0


def find_file(file: RemoteFile) -> FoundFile:
    """The file with its size and version, without its content.

    Raises:
        UserError: none of its addresses answers with it.
    """
    faults = []
    for address in file.addresses:
        try:
            answer = _ask(address)
        except requests.RequestException as error:
            faults.append(f"{address}: {_explain(error)}")
            continue
        tag = answer.headers.get("ETag", "").strip('"')
        size = answer.headers.get("Content-Length", "")
        stored = answer.headers.get("Server") == "AmazonS3" and _PLAIN_MD5.fullmatch(tag)
        return FoundFile(
            file=file,
            address=address,
            size=int(size) if size.isdigit() else None,
            tag=tag,
            stored_md5=tag if stored else "",
        )
    raise UserError("; ".join(faults))


def fetch_file(found: FoundFile, folder: Path, *, advance: Callable[[int], None]) -> str:
    """What was checked, such as "SHA-256"; the file then lies in ``folder`` under its name.

    Its bytes gather in ``<name>.<version>.part``, where a later call goes on (HTTP Range), however
    this one ended; a server without ranges starts afresh. A connection that breaks is taken up
    again, until five times in a row brought nothing. The checksum is compared over the whole file:
    the one that is known of it, else the MD5 of Amazon S3, else there is only the size to compare.

    Args:
        found: as :func:`find_file` returns it.
        folder: where it goes.
        advance: called with the number of bytes that came; negative where they are dropped.

    Raises:
        UserError: the connection breaks and stays broken, or the checksum or size is wrong: what
            was downloaded is then deleted.
    """
    part = found.part(folder)
    for old in folder.glob(f"{found.file.name}.*.part"):
        if old != part:
            old.unlink()
    best, failures = found.part_bytes(folder), 0
    advance(best)
    while found.size is None or found.part_bytes(folder) != found.size:
        reason = _transfer(found, folder, advance)
        if not reason and found.size is None:
            break
        have = found.part_bytes(folder)
        failures = 0 if have > best else failures + 1
        best = max(best, have)
        if failures == _TRIES_WITHOUT_PROGRESS:
            of_all = f"{have} of {found.size} bytes" if found.size else f"{have} bytes"
            raise UserError(
                f"{found.address}: stops after {of_all} ({reason or 'no more is sent'}); "
                "run the same command again to go on"
            )
        if reason:
            time.sleep(_PAUSE_SECONDS)
    checked = _verify(found, part)
    part.replace(folder / found.file.name)
    return checked


def _ask(address: str) -> requests.Response:
    """The headers of a file; by a GET that is not read where HEAD is refused."""
    headers = {"Accept-Encoding": "identity"}
    answer = requests.head(address, allow_redirects=True, timeout=_TIMEOUT, headers=headers)
    if answer.status_code in _HEAD_REFUSED:
        answer = requests.get(address, stream=True, timeout=_TIMEOUT, headers=headers)
        answer.close()
    answer.raise_for_status()
    return answer


def _transfer(found: FoundFile, folder: Path, advance: Callable[[int], None]) -> str:
    """Append what is missing to the part; why that ended too early, or ""."""
    have = found.part_bytes(folder)
    if found.size is None or have > found.size:
        found.part(folder).unlink(missing_ok=True)
        advance(-have)
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(found.address, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            tag = answer.headers.get("ETag", "").strip('"')
            if tag and found.tag and tag != found.tag:
                return "the file has changed on the server"
            goes_on = answer.status_code == 206 and _starts_at(answer, have)
            if have and not goes_on:
                advance(-have)
            with found.part(folder).open("ab" if goes_on else "wb") as stream:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
                    advance(len(chunk))
    except requests.RequestException as error:
        return _explain(error)
    return ""


def _starts_at(answer: requests.Response, start: int) -> bool:
    return bool(answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"))


def _verify(found: FoundFile, part: Path) -> str:
    """The name of the checksum that fits."""
    expected = found.file.digest or (f"md5:{found.stored_md5}" if found.stored_md5 else "")
    if not expected:
        return "size" if found.size is not None else ""
    algorithm, _, digest = expected.partition(":")
    with part.open("rb") as stream:
        seen = hashlib.file_digest(stream, algorithm).hexdigest()
    name = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
    if seen != digest:
        part.unlink()
        raise UserError(
            f"{found.address}: what came has the {name} {seen} instead of {digest} and is deleted; "
            "run the command again, or download the file by hand and look at it"
        )
    return name


def _explain(error: Exception) -> str:
    """A few words: the library's own message is three lines of nested exceptions."""
    answer: Any = getattr(error, "response", None)
    if answer is not None:
        return f"HTTP {answer.status_code}"
    reasons = {
        requests.exceptions.ProxyError: "the proxy cannot be reached",
        requests.exceptions.SSLError: "its certificate is not accepted",
        requests.exceptions.Timeout: "no answer in time",
        requests.exceptions.ChunkedEncodingError: "the connection broke",
        requests.exceptions.ConnectionError: "no connection",
    }
    kinds = (reason for kind, reason in reasons.items() if isinstance(error, kind))
    return next(kinds, type(error).__name__)

"""What the words of tables mean: which say "unknown", ages, and spellings of one name."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

import pandas as pd

from tfskin.errors import UserError

logger = logging.getLogger(__name__)

UNKNOWN_AGE = -1.0
OLDEST_AGE = 120.0

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".gif", ".bmp", ".dib"),
        *(".tif", ".tiff", ".webp"),
    }
)

# What programs write for "not known". No diagnosis is called so.
_EMPTY_WORDS = frozenset({"", "nan", "null", "na", "n/a", "#n/a", "<na>", "nat", "?", "-", "--"})
# What people write for it. A diagnosis may be called so: ISIC 2020 has a category "unknown".
_UNKNOWN_WORDS = frozenset({"none", "unknown", "not available", "missing"})
_MINUS_ONE = re.compile(r"-1(\.0*)?")
_AGE = re.compile(
    r"(?:>=?|≥)?\s*(-?\d+(?:[.,]\d+)?)\s*(?:\+|and over|or older)?\s*(?:y|yrs?|years?)?",
    re.IGNORECASE,
)
_ARCHIVE_ID = re.compile(r"(ISIC_\d{7})(_downsampled)?|(IP|IL|HAM|BCN|MSK\d*)_\d+", re.IGNORECASE)
_COPY = "_downsampled"
_NAMED = 5


def says_nothing(word: str) -> bool:
    """Whether no value stands in a cell: it is empty, ``NaN``, ``NA``, ``-1``, ``-1.0``, ..."""
    word = word.strip().lower()
    return word in _EMPTY_WORDS or _MINUS_ONE.fullmatch(word) is not None


def says_unknown(word: str) -> bool:
    """Whether a cell :func:`says_nothing` or holds a word such as "unknown"."""
    return says_nothing(word) or word.strip().lower() in _UNKNOWN_WORDS


def parse_ages(words: Sequence[str], ids: Sequence[str], source: str) -> list[float]:
    """Ages in years, -1 where unknown; ``85+``, ``>=85`` and ``85 years`` are 85.

    An age below 0 or above 120 is unknown, and a warning says which images have one.

    Raises:
        UserError: an age that is no number; the message names the image.
    """
    ages, dropped = [], []
    for image_id, word in zip(ids, words, strict=True):
        if says_unknown(word):
            ages.append(UNKNOWN_AGE)
            continue
        age = _parse_age(word)
        if age is None:
            raise UserError(
                f"{source}: image '{image_id}': age '{word}' is no number; write years, or nothing"
            )
        if not 0 <= age <= OLDEST_AGE:
            dropped.append(f"{image_id}' ({word})")
            age = UNKNOWN_AGE
        ages.append(age)
    if dropped:
        shown = ", ".join(f"'{name}" for name in dropped[:_NAMED])
        more = f" and {len(dropped) - _NAMED} more" if len(dropped) > _NAMED else ""
        logger.warning(
            f"{source}: {len(dropped)} ages are below 0 or above {OLDEST_AGE:.0f} and are taken "
            f"as unknown: those of {shown}{more}"
        )
    return ages


def _parse_age(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        match = _AGE.fullmatch(word)
        return float(match[1].replace(",", ".")) if match else None


def clean_id(word: str) -> str:
    """An id in the one spelling that tfskin compares.

    Without surrounding blanks, in Unicode's composed form; ids of the ISIC Archive and of the
    collections in it (``isic_0024306``, ``ip_12``) in capitals.
    """
    word = unicodedata.normalize("NFC", word.strip())
    if not _ARCHIVE_ID.fullmatch(word):
        return word
    stem, found, _ = word.lower().partition(_COPY)
    return stem.upper() + found


def is_archive_image(word: str) -> bool:
    """Whether an id is that of an image in the ISIC Archive: it means one image everywhere."""
    return re.fullmatch(r"ISIC_\d{7}(_downsampled)?", word) is not None


def clean_image_id(word: str) -> str:
    """As :func:`clean_id`, and without an image's suffix: ``ISIC_0024306.jpg`` names the image."""
    return clean_id(strip_suffix(word.strip()))


def strip_suffix(name: str) -> str:
    """The name of a file without an image's suffix; any other name as it is."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a path's own takes three times as long)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def spelling_key(name: str) -> str:
    """What is equal for names that differ in case, blanks, underscores or Unicode form alone.

    ``12`` and ``12.0`` are equal too, for a table with a gap in a column of numbers gets the dots;
    ``1 2`` and ``12`` are not.
    """
    word = name.casefold()
    if not name.isascii():
        word = unicodedata.normalize("NFKC", name).casefold()
        word = "".join(letter for letter in word if unicodedata.category(letter) != "Cf")
    word = re.sub(r"(?<=\d)[\s_]+(?=\d)", "\0", word.strip())
    word = re.sub(r"[\s_]+", "", word)
    return re.sub(r"^(\d+)\.0+$", r"\1", word)


def join_spellings(values: pd.Series, what: str, source: str) -> pd.Series:
    """The values, with those that differ in spelling alone written in one way, which is said.

    The spelling that is used most is kept, and of those used as often the first one.

    Args:
        values: names, "" where unknown.
        what: they are, for the warning, such as "values of lesion_id".
        source: named in the warning.
    """
    counts = values[values != ""].value_counts(sort=False)
    kept: dict[str, str] = {}
    for name in counts.index:
        best = kept.setdefault(spelling_key(name), name)
        if counts[name] > counts[best]:
            kept[spelling_key(name)] = name
    changed = {
        name: kept[spelling_key(name)] for name in counts.index if kept[spelling_key(name)] != name
    }
    if not changed:
        return values
    shown = ", ".join(f"{a!r} is {b!r}" for a, b in list(changed.items())[:_NAMED])
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    logger.warning(
        f"{source}: {what} that differ in case, blanks or Unicode form alone are taken as one: "
        f"{shown}{more}"
    )
    return values.replace(changed)


def find_near_spellings(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that :func:`spelling_key` takes for one."""
    first: dict[str, str] = {}
    pairs = []
    for name in dict.fromkeys(names):
        other = first.setdefault(spelling_key(name), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def forbidden_in_name(name: str) -> str:
    """What in the name of a class can't be written and read back, as words; "" for a good name.

    ``labels.txt`` has a line a class, and a prediction set ``"; "`` between its classes.
    """
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "a line break or control character"
    return '"; "' if "; " in name else ""


def shown_image(image_id: str) -> str:
    """What the archive calls the image that an id ends in, without a copy's ending.

    ``train__nv__ISIC_0024306_downsampled`` shows ``ISIC_0024306``; any other id shows itself,
    without ``_downsampled``.
    """
    stem = re.sub(rf"{_COPY}$", "", image_id, flags=re.IGNORECASE)
    match = re.search(r"(?:^|__)(ISIC_\d{7})$", stem, re.IGNORECASE)
    return match[1].upper() if match else stem

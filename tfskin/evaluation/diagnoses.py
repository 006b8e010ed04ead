"""Which diagnoses are malignant, and which class of a challenge each one is.

Names are those of any layout and of the ISIC Archive's tree: see :mod:`tfskin.datasets.diagnoses`.
Actinic keratosis and Bowen's disease count as malignant, as carcinoma in situ and its precursor,
since both are treated; a config can say otherwise (``evaluate.malignant``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfskin.datasets.diagnoses import common_name, tree_paths

MALIGNANT = frozenset({"mel", "bcc", "scc", "akiec", "mal_oth", "malignant"})
BENIGN = frozenset(
    {"nv", "bkl", "df", "vasc", "inf", "ben_oth", "benign", "non-malignant", "non_malignant"}
)

CHALLENGE_CLASSES = {
    name: name.upper() for name in ("mel", "nv", "bcc", "bkl", "df", "vasc", "scc")
} | {"akiec": "AK"}
"""Common name -> class of the 2018 and 2019 challenges. 2018 joins AK and Bowen's disease as
AKIEC; 2019 calls the class AK and has SCC beside it."""


def is_malignant(diagnosis: str) -> bool | None:
    """Whether a diagnosis is malignant; None where that is not known, or not certain."""
    name = common_name(diagnosis).strip().lower()
    if name in MALIGNANT or name in BENIGN:
        return name in MALIGNANT
    roots = {path.split(":")[0] for path in tree_paths(diagnosis)}
    return {("Malignant",): True, ("Benign",): False}.get(tuple(roots))


def challenge_class(diagnosis: str) -> str | None:
    """``MEL, NV, BCC, AK, SCC, BKL, DF, VASC``, or None where the name is of none of them."""
    return CHALLENGE_CLASSES.get(common_name(diagnosis))


def malignant_classes(classes: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """The classes that are malignant, and those of which it can't be said.

    Args:
        classes: class -> diagnoses in it. A class is what its diagnoses are; where these are
            unknown names, or none, what its own name says. A class that mixes benign and malignant
            diagnoses is of the second kind.
    """
    malignant, unknown = [], []
    for name, diagnoses in classes.items():
        found = {is_malignant(diagnosis) for diagnosis in diagnoses} or {None}
        kind = found.pop() if len(found) == 1 else None
        if kind is None and not found - {None}:
            kind = is_malignant(name)
        if kind:
            malignant.append(name)
        elif kind is None:
            unknown.append(name)
    return malignant, unknown

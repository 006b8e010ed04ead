"""Which diagnoses are malignant, and which class of a challenge each one is.

Names are those of HAM10000, of the ISIC challenges and of the ISIC Archive; case, blanks and
punctuation do not matter. Actinic keratosis and Bowen's disease count as malignant, as carcinoma
in situ and its precursor, since both are treated; a config can say otherwise
(``evaluate.malignant``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# The challenge classes of 2018 and 2019 under one name each. 2018 joins AK and Bowen's disease as
# AKIEC; 2019 calls the class AK and has SCC beside it. Searched from the top.
PATTERNS: tuple[tuple[str, str, bool | None], ...] = (
    # (class, what the name matches, malignant)
    ("AK", r"^akiec$|^ak$|actinic|^bowen|squamous cell carcinoma in situ", True),
    ("SCC", r"^scc$|squamous cell carcinoma|keratoacanthoma", True),
    ("BCC", r"^bcc$|basal cell carcinoma", True),
    ("MEL", r"^mel$|melanoma|lentigo maligna", True),
    ("", r"^non ?malignant|^not malignant|benign soft|^benign other", False),
    ("", r"malignant|carcinoma|sarcoma|lymphoma|metasta", True),
    ("BKL", r"^bkl$|^sk$|^blk$|benign keratosis|seborr?h|solar lentigo|lichen planus|"
            r"pigmented benign|lichenoid kerat|^keratosis$|flat wart", False),
    ("NV", r"^nv$|n(a?e)vus|nevi$|naevi$", False),
    ("DF", r"^df$|dermatofibroma", False),
    ("VASC", r"^vasc$|vascular|angioma|angiokeratoma|pyogenic granuloma", False),
    ("", r"^benign$|^benign |lentigo|scar$|cyst|verruca|neurofibroma|caf. au lait", False),
)  # fmt: skip


def is_malignant(diagnosis: str) -> bool | None:
    """Whether a diagnosis is malignant; None where its name is not known."""
    return _find(diagnosis)[1]


def challenge_class(diagnosis: str) -> str | None:
    """``MEL, NV, BCC, AK, SCC, BKL, DF, VASC``, or None where the name is of none of them."""
    return _find(diagnosis)[0] or None


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


def _find(diagnosis: str) -> tuple[str, bool | None]:
    plain = " ".join(re.sub(r"[^a-z0-9é]+", " ", diagnosis.lower()).split())
    for name, pattern, malignant in PATTERNS:
        if re.search(pattern, plain):
            return name, malignant
    return "", None

"""One table of diagnosis names: what each layout calls a disease, and where it hangs in the tree.

The tree is the ISIC Archive's, as the package ``isic-metadata`` holds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

_MELANOCYTIC = "Benign:Benign melanocytic proliferations"
_EPIDERMAL = "Benign:Benign epidermal proliferations"
_MALIGNANT_EPIDERMAL = "Malignant:Malignant epidermal proliferations"


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis of the challenges.

    Attributes:
        nodes: the places in the archive's tree that it stands for, levels separated by colons.
        names: what layouts call it beside its short name, in lower case.
    """

    nodes: tuple[str, ...]
    names: tuple[str, ...] = ()


DIAGNOSES: dict[str, Diagnosis] = {
    "mel": Diagnosis(
        ("Malignant:Malignant melanocytic proliferations (Melanoma)",),
        ("melanoma", "melanoma metastasis", "lentigo maligna"),
    ),
    "nv": Diagnosis(
        (_MELANOCYTIC,), ("nevus", "naevus", "melanocytic nevus", "melanocytic nevi", "moles")
    ),
    "bcc": Diagnosis(
        ("Malignant:Malignant adnexal epithelial proliferations - Follicular:Basal cell carcinoma",)
    ),
    "akiec": Diagnosis(
        (
            "Indeterminate:Indeterminate epidermal proliferations:Solar or actinic keratosis",
            f"{_MALIGNANT_EPIDERMAL}:Squamous cell carcinoma in situ",
        ),
        ("ak", "actinic keratosis", "solar keratosis", "bowen's disease", "bowens disease"),
    ),
    "bkl": Diagnosis(
        (
            f"{_EPIDERMAL}:Lichen planus like keratosis",
            f"{_EPIDERMAL}:Pigmented benign keratosis",
            f"{_EPIDERMAL}:Seborrheic keratosis",
            f"{_EPIDERMAL}:Solar lentigo",
        ),
        (
            *("seborrheic_keratosis", "seborrhoeic keratosis", "lichenoid keratosis"),
            *("benign keratosis", "lentigo nos", "pigmented benign keratosis"),
        ),
    ),
    "df": Diagnosis(
        ("Benign:Benign soft tissue proliferations - Fibro-histiocytic:Dermatofibroma",)
    ),
    "vasc": Diagnosis(
        (
            "Benign:Benign soft tissue proliferations - Vascular",
            "Benign:Hemorrhagic lesions",
        ),
        ("vascular lesion", "vascular lesions", "angioma", "hemangioma"),
    ),
    "scc": Diagnosis(
        (
            f"{_MALIGNANT_EPIDERMAL}:Squamous cell carcinoma, Invasive",
            f"{_MALIGNANT_EPIDERMAL}:Squamous cell carcinoma, NOS",
            f"{_MALIGNANT_EPIDERMAL}:Keratoacanthoma",
        ),
        ("sccka", "squamous cell carcinoma"),
    ),
    "inf": Diagnosis(("Benign:Inflammatory or infectious diseases",)),
    "ben_oth": Diagnosis((), ("benign other",)),
    "mal_oth": Diagnosis((), ("malignant other",)),
    "unk": Diagnosis((), ("unknown",)),
}
"""Short name -> diagnosis. The short names are those of HAM10000 (2018), ISIC 2019 (scc, unk) and
MILK10k (inf, ben_oth, mal_oth). Its SCCKA is scc; ISIC 2019's AK, which leaves Bowen's disease
out, is akiec, which holds it."""


def common_name(diagnosis: str) -> str:
    """The short name in :data:`DIAGNOSES` of a layout's name, or the name itself.

    Case does not matter. A name of the archive's tree gets the short name of the nearest node
    above it.

    Example:
        >>> [common_name(name) for name in ("AK", "Melanoma, NOS", "nevus", "Scar")]
        ['akiec', 'mel', 'nv', 'Scar']
    """
    found = _short_names().get(diagnosis.strip().lower())
    if found:
        return found
    for path in tree_paths(diagnosis):
        for short, entry in DIAGNOSES.items():
            if any(_lies_under(path, node) for node in entry.nodes):
                return short
    return diagnosis


def tree_paths(diagnosis: str) -> tuple[str, ...]:
    """The places of a name in the archive's tree, such as "Malignant:...:Melanoma in situ".

    A short name or a layout's name has the places of its entry; a name of any level of the tree
    its own; "" levels are left out; a name that is nowhere has none.
    """
    word = diagnosis.strip().lower()
    short = _short_names().get(word)
    if short and DIAGNOSES[short].nodes:
        return DIAGNOSES[short].nodes
    return _tree().get(word, ())


def match_diagnoses(wanted: str, known: Iterable[str]) -> list[str]:
    """Those of ``known`` that ``wanted`` stands for, in their order.

    - A name among ``known`` that is no short name stands for itself alone.
    - A short name of :data:`DIAGNOSES` stands for every spelling of it ("mel": "MEL",
      "Melanoma in situ", ...).
    - A name of the archive's tree stands for everything under it ("Malignant").
    """
    names = list(known)
    if wanted in DIAGNOSES:
        return [name for name in names if name == wanted or common_name(name) == wanted]
    if wanted in names:
        return [wanted]
    nodes = _tree().get(wanted.strip().lower(), ())
    return [
        name
        for name in names
        if tree_paths(name)
        and all(any(_lies_under(path, node) for node in nodes) for path in tree_paths(name))
    ]


def _lies_under(path: str, node: str) -> bool:
    return path == node or path.startswith(f"{node}:")


@cache
def _short_names() -> dict[str, str]:
    table = {}
    for short, entry in DIAGNOSES.items():
        for name in (short, *entry.names):
            table[name] = short
    return table


@cache
def _tree() -> dict[str, tuple[str, ...]]:
    """Name of a node, in lower case -> the paths that end in it; whole paths are names too."""
    from isic_metadata.diagnosis_hierarchical import DiagnosisEnum

    table: dict[str, tuple[str, ...]] = {}
    for member in DiagnosisEnum:
        path = member.value
        for name in {path.lower(), path.split(":")[-1].lower()}:
            table[name] = (*table.get(name, ()), path)
    return table

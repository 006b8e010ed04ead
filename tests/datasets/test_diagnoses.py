import pytest

from tfskin.datasets.diagnoses import DIAGNOSES, common_name, match_diagnoses, tree_paths


@pytest.mark.parametrize(
    ("name", "short"),
    [
        *(("MEL", "mel"), ("Melanoma, NOS", "mel"), ("Melanoma in situ", "mel")),
        *(("melanoma", "mel"), ("Malignant melanocytic proliferations (Melanoma)", "mel")),
        *(("AK", "akiec"), ("AKIEC", "akiec"), ("Solar or actinic keratosis", "akiec")),
        *(("Nevus", "nv"), ("nevus", "nv"), ("Nevus, Spitz", "nv")),
        *(("SCCKA", "scc"), ("SCC", "scc"), ("Squamous cell carcinoma, Invasive", "scc")),
        *(("seborrheic keratosis", "bkl"), ("Solar lentigo", "bkl"), ("bkl", "bkl")),
        *(("Basal cell carcinoma", "bcc"), ("Dermatofibroma", "df"), ("VASC", "vasc")),
        *(("my own class", "my own class"), ("", ""), ("benign", "benign")),
    ],
)
def test_a_name_of_any_layout_has_its_short_name(name, short):
    assert common_name(name) == short


def test_every_node_of_the_table_is_in_the_archives_tree():
    for short, entry in DIAGNOSES.items():
        for node in entry.nodes:
            assert tree_paths(node) == (node,) or tree_paths(node.split(":")[-1]), (short, node)
            assert common_name(node) == short


def test_names_belong_to_one_diagnosis():
    names = [name for entry in DIAGNOSES.values() for name in entry.names]
    assert len(names) == len(set(names))
    assert not set(names) & set(DIAGNOSES)


KNOWN = ["MEL", "Melanoma in situ", "Nevus", "Scar", "bkl", "mel", "nv", "strange"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("mel", ["MEL", "Melanoma in situ", "mel"]),
        ("MEL", ["MEL"]),
        ("Malignant", ["MEL", "Melanoma in situ", "mel"]),
        ("Benign", ["Nevus", "Scar", "bkl", "nv"]),
        ("strange", ["strange"]),
        ("df", []),
        ("nonsense", []),
    ],
)
def test_a_class_takes_a_name_all_its_spellings_or_a_branch_of_the_tree(wanted, found):
    assert match_diagnoses(wanted, KNOWN) == found

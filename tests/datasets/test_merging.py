from typing import Any

import pandas as pd

from tests.datasets.tiny import no_duplicates
from tfskin.datasets.groups import group_records
from tfskin.datasets.merging import merge_records
from tfskin.datasets.records import RECORD_COLUMNS


def table(source: str, rows: dict[str, str], **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": list(rows), "diagnosis": list(rows.values())})
    unknown: dict[str, Any] = dict.fromkeys(RECORD_COLUMNS, "")
    unknown |= {"age": -1.0, "source": source}
    for name, value in (unknown | columns).items():
        if name not in ("image_id", "diagnosis"):
            frame[name] = value
    return frame


def test_an_image_of_the_archive_stands_once_and_blanks_are_filled():
    first = table("isic_2019", {"ISIC_0000001": "MEL", "ISIC_0000002": "NV"})
    later = table("isic_2020", {"ISIC_0000001": "melanoma"}, patient_id="IP_1", age=50.0)
    merged = merge_records([first, later])
    assert merged.repeated == 1
    assert merged.conflicts == {}
    records = merged.records.set_index("image_id")
    assert records["diagnosis"].to_dict() == {"ISIC_0000001": "mel", "ISIC_0000002": "nv"}
    assert records.loc["ISIC_0000001", "patient_id"] == "IP_1"
    assert records.loc["ISIC_0000001", "age"] == 50
    assert records.loc["ISIC_0000001", "source"] == "isic_2019"


def test_a_blank_diagnosis_is_filled_and_a_licence_comes_with_its_attribution():
    first = table("isic_archive", {"ISIC_0000001": "", "ISIC_0000002": ""}, attribution="A")
    first["license"] = ["", "CC-0"]
    later = table("isic_2024", {"ISIC_0000001": "MEL", "ISIC_0000002": "NV"}, attribution="B")
    merged = merge_records([first, later.assign(license="CC-BY")])
    assert merged.conflicts == {}
    columns = ["diagnosis", "license", "attribution"]
    assert merged.records[columns].to_numpy().tolist() == [
        ["mel", "CC-BY", "B"],
        ["nv", "CC-0", "A"],
    ]


def test_sources_that_disagree_are_reported():
    merged = merge_records(
        [table("a", {"ISIC_0000001": "MEL"}), table("b", {"ISIC_0000001": "NV"})]
    )
    assert merged.conflicts == {"ISIC_0000001": ["mel", "nv"]}


def test_a_test_image_of_any_source_stays_test():
    old = table("isic_2016", {"ISIC_0000001": "benign", "ISIC_0000003": "benign"}, split="test")
    new = table("isic_2019", {"ISIC_0000001": "NV", "ISIC_0000002": "NV"})
    for order in ([old, new], [new, old]):
        splits = merge_records(order).records.set_index("image_id")["split"].to_dict()
        assert splits == {"ISIC_0000001": "test", "ISIC_0000002": "", "ISIC_0000003": "test"}


def test_equal_names_of_other_images_stay_apart():
    merged = merge_records([table("one", {"a__1": "x"}), table("two", {"a__1": "x", "b": "y"})])
    assert merged.repeated == 0
    assert merged.records["image_id"].tolist() == ["one__a__1", "two__a__1", "b"]


def test_two_tables_of_one_source_are_not_confused():
    ids = {"nevus__1": "nevus", "ISIC_0000001": "nevus"}
    tables = [table("table", ids, lesion_id=["7", ""], patient_id=["P", ""]) for _ in range(3)]
    merged = merge_records(tables)
    assert merged.repeated == 2
    assert merged.records["image_id"].tolist() == [
        "table__nevus__1",
        "ISIC_0000001",
        "table_2__nevus__1",
        "table_3__nevus__1",
    ]
    assert group_records(merged.records, no_duplicates()).tolist() == [0, 1, 2, 3]


def test_a_patient_of_one_table_stays_one_though_its_rows_name_several_sources():
    rows = table("a", {"x": "NV", "y": "NV"}, patient_id="P1").assign(source=["a", "b"])
    assert group_records(merge_records([rows]).records, no_duplicates()).tolist() == [0, 0]


def test_lesion_numbers_of_two_sources_are_not_confused_but_the_archives_are():
    first = table("one", {"a": "x", "b": "x"}, lesion_id=["7", "IL_1"])
    second = table("two", {"c": "x", "d": "x"}, lesion_id=["7", "IL_1"])
    groups = group_records(merge_records([first, second]).records, no_duplicates())
    assert groups.tolist() == [0, 1, 2, 1]


def test_a_downsampled_copy_is_linked_across_sources():
    first = table("isic_2019", {"ISIC_0000001_downsampled": "NV"})
    second = table("isic_2020", {"ISIC_0000001": "nevus", "ISIC_0000009": "nevus"})
    groups = group_records(merge_records([first, second]).records, no_duplicates())
    assert groups.tolist() == [0, 0, 1]


def test_what_a_left_out_row_links_stays_linked():
    archive = table("isic_archive", {"ISIC_0000001": "Nevus"}, lesion_id="IL_1")
    ids = {"ISIC_0000001": "NV", "ISIC_0000002": "NV", "ISIC_0000003": "NV"}
    later = table("isic_2019", ids, lesion_id=["7", "7", "8"])
    merged = merge_records([archive, later])
    assert merged.records["lesion_id"].tolist() == ["IL_1", "isic_2019:7", "isic_2019:8"]
    assert merged.records["link"].tolist() == ["ISIC_0000001", "ISIC_0000001", ""]
    assert group_records(merged.records, no_duplicates()).tolist() == [0, 0, 1]


def test_a_list_of_duplicates_is_kept_though_an_earlier_source_has_the_images():
    ids = [f"ISIC_{number:07d}" for number in (1, 2, 3)]
    archive = table("isic_archive", dict.fromkeys(ids, "Nevus"))
    link = ["ISIC_0000001", "ISIC_0000001", ""]
    listed = table("isic_2020", dict.fromkeys(ids, "nevus"), link=link)
    small = table("isic_2019", {"ISIC_0000002_downsampled": "NV"})
    records = merge_records([archive, listed, small]).records
    assert group_records(records, no_duplicates()).tolist() == [0, 0, 1, 0]


def test_lesions_of_the_collections_in_the_archive_are_the_same_in_every_source():
    first = table("ham10000", {"a": "nv"}, lesion_id="HAM_0000001")
    second = table("isic_2019", {"b": "NV", "c": "NV"}, lesion_id=["HAM_0000001", "MSK4_0000001"])
    groups = group_records(merge_records([first, second]).records, no_duplicates())
    assert groups.tolist() == [0, 0, 1]


def test_names_can_stay_as_they_are():
    merged = merge_records(
        [table("a", {"x": "MEL"}), table("b", {"y": "Melanoma"})], harmonise=False
    )
    assert merged.records["diagnosis"].tolist() == ["MEL", "Melanoma"]


def test_spellings_of_one_name_are_joined_across_sources(news):
    tables = [table("a", {"x": "Nevus", "z": "Nevus"}), table("b", {"y": "nevus"})]
    merged = merge_records(tables, harmonise=False)
    assert set(merged.records["diagnosis"]) == {"Nevus"}
    assert "'nevus' is 'Nevus'" in news[0]

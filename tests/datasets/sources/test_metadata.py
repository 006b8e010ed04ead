import pytest

from tfskin.datasets.sources.metadata import Metadata, read_metadata
from tfskin.errors import UserError


def read(tmp_path, text: str | bytes) -> Metadata:
    file = tmp_path / "rows.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(file)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_line_ends(tmp_path, delimiter, end):
    lines = [["id", "name"], ["1", '"a, b; c"'], [], ["2", " d "]]
    metadata = read(tmp_path, end.join(delimiter.join(line) for line in lines))
    assert metadata.rows.to_dict("list") == {"id": ["1", "2"], "name": ["a, b; c", "d"]}
    assert metadata.rows.index.tolist() == [2, 4]


def test_one_column_is_enough(tmp_path):
    assert read(tmp_path, "id\n1\n2\n").rows["id"].tolist() == ["1", "2"]


def test_nothing_is_taken_for_a_number_or_missing(tmp_path):
    assert read(tmp_path, "id,x\n007,NA\n").rows.iloc[0].tolist() == ["007", "NA"]


def test_delimiters_at_the_end_of_a_line_are_accepted(tmp_path):
    assert read(tmp_path, "id,x\n1,2,,\n").rows.iloc[0].tolist() == ["1", "2"]


def test_columns_are_found_whatever_their_case(tmp_path):
    metadata = read(tmp_path, "Image_ID,Label\n1,a\n")
    assert metadata.get("image_id").tolist() == ["1"]
    assert metadata.find("other", "LABEL") == "Label"
    assert metadata.find("other") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line is empty"),
        ("\n1,2\n", "first line is empty"),
        ("id,x\n", "no row under the header"),
        ("id,x,id\n1,2,3\n", "column 'id' stands there twice"),
        ("id,x\n1,2\n3\n", "line 3 has 1 fields, the header has 2"),
        ("id,x\n1,2,3\n", "line 2 has 3 fields, the header has 2"),
        ('id,x\n1,"2\n3,4\n', "line .*quotation marks"),
        (b"id,x\n\xff\xfe,2\n", "not a CSV file in UTF-8"),
        ("id,x\n1,2\n".encode("utf-16"), "not a CSV file in UTF-8"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, words):
    with pytest.raises(UserError, match=rf"rows\.csv: .*{words}") as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_missing_column_lists_what_is_there(tmp_path):
    with pytest.raises(UserError, match=r"no column 'idd' \(did you mean 'id'\?\); found: id, x;"):
        read(tmp_path, "id,x\n1,2\n").require("idd", remedy="choose one")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('id,x\n1,a\n2,"b\n3,c\n4,d\n', "line 3: "),
        ('id,x\n1,a\n2,"b\n3,c\n4,d"\n5,e\n', "line 3: a quotation mark swallows .* line 5"),
        ('id\n1\n"2\n3"\n', "line 3: a quotation mark swallows"),
        ('id;x\n1;"a\n2;b"\n', "line 2: a quotation mark swallows"),
    ],
)
def test_a_quotation_mark_that_swallows_rows_is_named_with_its_line(tmp_path, text, words):
    with pytest.raises(UserError, match=rf"rows\.csv: {words}.*mend its quotation marks"):
        read(tmp_path, text)


def test_a_note_may_be_of_several_lines(tmp_path):
    metadata = read(
        tmp_path, 'id,x,y\n1,"a note\nof, say, two lines",b\n2,c,d\n'.replace(", ", " ")
    )
    assert len(metadata.rows) == 2


def test_a_word_for_nothing_is_empty(tmp_path):
    with pytest.raises(UserError, match=r"line 3: 'x' is '-1\.0', which is no value; fill it in"):
        read(tmp_path, "id,x\n1,a\n2,-1.0\n").require_values("x", remedy="")

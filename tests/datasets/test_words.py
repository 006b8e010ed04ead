import pandas as pd
import pytest

from tfskin.datasets.words import (
    clean_image_id,
    find_near_spellings,
    forbidden_in_name,
    join_spellings,
    parse_ages,
    says_nothing,
    says_unknown,
    shown_image,
    spelling_key,
)
from tfskin.errors import UserError


@pytest.mark.parametrize("word", ["", " ", "-1", "-1.0", "-1.", "NaN", "NA", "#N/A", "<NA>", "-"])
def test_no_value(word):
    assert says_nothing(word)
    assert says_unknown(word)


@pytest.mark.parametrize("word", ["1", "-10", "-1.5", "IP_1", "0", "melanoma"])
def test_a_value(word):
    assert not says_unknown(word)


def test_a_diagnosis_may_be_called_unknown_but_a_patient_may_not():
    assert not says_nothing("unknown")
    assert says_unknown("Unknown")


@pytest.mark.parametrize(
    ("word", "age"),
    [
        *(("85+", 85), (">85", 85), (">= 85", 85), ("≥85", 85), ("85 years", 85), ("85.0", 85)),
        *(("90 and over", 90), ("7,5", 7.5), ("0", 0), ("-1", -1), ("-1.0", -1), ("unknown", -1)),
    ],
)
def test_ages(word, age, news):
    assert parse_ages([word], ["x"], "here") == [age]
    assert news == []


@pytest.mark.parametrize("word", ["-5", "999", "1970", "inf", "-5.0 years"])
def test_an_age_that_nobody_has_is_said_before_it_is_dropped(word, news):
    assert parse_ages(["40", word], ["x", "y"], "here") == [40, -1]
    assert (
        f"1 ages are below 0 or above 120 and are taken as unknown: those of 'y' ({word})"
        in (news[0])
    )


@pytest.mark.parametrize("word", ["old", "40-45", "++", "85+5"])
def test_what_is_no_age(word):
    with pytest.raises(UserError, match=r"image 'x': age '.*' is no number"):
        parse_ages([word], ["x"], "here")


@pytest.mark.parametrize(
    ("word", "image_id"),
    [
        *(("ISIC_0024310.jpg", "ISIC_0024310"), (" isic_0024310.JPEG ", "ISIC_0024310")),
        *(("ISIC_0024310_Downsampled", "ISIC_0024310_downsampled"), ("a.jfif", "a")),
        *(("scan.v2", "scan.v2"), ("cafe\u0301.png", "caf\u00e9"), ("aB.jpg", "aB")),
    ],
)
def test_an_image_has_one_id(word, image_id):
    assert clean_image_id(word) == image_id


def test_copies_and_folders_show_the_image_of_the_archive():
    shown = [
        *("ISIC_0000001_downsampled", "train__nv__ISIC_0000001", "isic_0000001"),
        *("x_downsampled", "XISIC_0000001"),
    ]
    assert list(map(shown_image, shown)) == [*["ISIC_0000001"] * 3, "x", "XISIC_0000001"]


@pytest.mark.parametrize(
    "names",
    [
        *(("Malignant", "malignant"), ("basal cell", "Basal  Cell"), ("basal_cell", "basal cell")),
        *(("n\u00e9vus", "ne\u0301vus"), ("a\u00a0b", "a b"), ("12", "12.0"), ("a\u200b", "a")),
    ],
)
def test_spellings_of_one_name(names):
    one, other = names
    assert spelling_key(one) == spelling_key(other)
    assert find_near_spellings(names) == [names]


@pytest.mark.parametrize("names", [("1 2", "12"), ("a", "b"), ("1.5", "1"), ("mel-1", "mel1")])
def test_different_names(names):
    assert find_near_spellings(names) == []


def test_the_most_used_spelling_is_kept_and_said(news):
    values = pd.Series(["nevus", "Nevus", "Nevus", "mel", "", "MEL"])
    joined = join_spellings(values, "values of diagnosis", "here")
    assert joined.tolist() == ["Nevus", "Nevus", "Nevus", "mel", "", "mel"]
    assert len(news) == 1
    assert "'nevus' is 'Nevus', 'MEL' is 'mel'" in news[0]


def test_names_that_are_spelt_alike_are_left_alone(news):
    values = pd.Series(["nevus", "mel", "nevus"])
    assert join_spellings(values, "x", "here") is values
    assert news == []


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\u2028b", "a\x85b", "a\tb", "mel; nv"])
def test_names_that_cannot_be_read_back(name):
    assert forbidden_in_name(name)


@pytest.mark.parametrize("name", ["Melanoma, NOS", "a;b", "n\u00e9vus", "a\u00a0b", "a: b"])
def test_names_that_can(name):
    assert forbidden_in_name(name) == ""

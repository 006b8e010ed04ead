"""Photographs of one lesion without ids: kept on one side by prepare, found in a split by audit."""

import json
from dataclasses import replace

import pandas as pd
import pytest

import tfskin
from tests.datasets.photographs.scenes import make_skin, photograph_again
from tests.news import hear
from tfskin.datasets import images
from tfskin.datasets.options import PhantomOptions, ShardOptions, SourceOptions
from tfskin.datasets.shards import load_shards
from tfskin.datasets.splits_file import read_splits_csv
from tfskin.errors import UserError
from tfskin.experiment import preparing

FEW = tfskin.PrepareOptions(name="few", artefacts=False)
AGAIN = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """16 lesions without ids; the first four, a0 to a3, are photographed again as b0 to b3."""
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(16):
        make_skin(number).save(folder / f"a{number}.jpg", quality=92)
    for number in range(AGAIN):
        again, _ = photograph_again(make_skin(number), turn=40 + 50 * number, zoom=1.15, dark=0.8)
        again.save(folder / f"b{number}.jpg", quality=85)
    ids = sorted(path.stem for path in folder.glob("*.jpg"))
    rows = pd.DataFrame({"image_id": ids, "path": [f"{name}.jpg" for name in ids]})
    rows["label"] = [("mel", "nv")[int(name[1:]) % 2] for name in ids]
    rows.to_csv(folder / "table.csv", index=False)
    rows["lesion_id"] = ids
    rows.to_csv(folder / "wrong_ids.csv", index=False)
    rows["split"] = ["test" if name.startswith("b") else "train" for name in ids]
    rows[["image_id", "split"]].to_csv(folder / "leaks.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("shards")
    return tfskin.prepare("table", folder / "table.csv", output=output, options=FEW)


def test_photographs_of_one_lesion_stay_in_one_split(shards):
    table = pd.read_csv(shards.folder / "splits.csv", keep_default_na=False).set_index("image_id")
    for number in range(AGAIN):
        assert (table.loc[f"a{number}"] == table.loc[f"b{number}"]).all()
    assert set(table["linked_by"]) == {"", "photograph"}
    assert (table["linked_by"] != "").sum() == 2 * AGAIN
    proof = json.loads((shards.folder / "shards.json").read_text())["proof"]
    found = proof["links"]["photograph"]
    assert (found["pairs"], found["new_pairs"], found["largest_group"]) == (AGAIN, AGAIN, 2)
    assert (found["cut"], found["cut_in_two_splits"]) == (0, 0)
    assert proof["not_ruled_out"] == ["lesion", "patient"]
    assert load_shards(shards.folder).fingerprint == shards.fingerprint
    assert not (shards.folder.parent / preparing.FEATURES_FOLDER).exists()


def test_one_thread_finds_the_same(folder, shards, tmp_path):
    options = replace(FEW, shards=ShardOptions(workers=1))
    again = tfskin.prepare("table", folder / "table.csv", output=tmp_path, options=options)
    for name in ("splits.csv", "shards.json"):
        assert (again.folder / name).read_bytes() == (shards.folder / name).read_bytes()


def test_what_was_not_looked_for_is_not_ruled_out(folder, tmp_path):
    options = replace(FEW, photographs=False)
    shards = tfskin.prepare("table", folder / "table.csv", output=tmp_path, options=options)
    proof = json.loads((shards.folder / "shards.json").read_text())["proof"]
    assert "photograph" not in proof["links"]
    assert proof["not_ruled_out"] == ["lesion", "patient", "photograph"]
    assert proof["groups"]["groups"] == 16 + AGAIN


def test_a_search_goes_on_where_it_was_stopped(folder, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tfskin.datasets.photographs.search.index_images", stop)
        with pytest.raises(KeyboardInterrupt):
            tfskin.prepare("table", folder / "table.csv", output=tmp_path, options=FEW)
    kept = tmp_path / "few" / preparing.FEATURES_FOLDER
    assert list(kept.glob("features-*.npy"))
    monkeypatch.setattr(
        "tfskin.datasets.photographs.store.read_features", lambda _: pytest.fail("read again")
    )
    tfskin.prepare("table", folder / "table.csv", output=tmp_path, options=FEW)
    assert not kept.exists()


def test_pairs_across_lesion_ids_are_told_and_kept_together(folder, tmp_path):
    news: list[str] = []
    with hear(news.append):
        shards = tfskin.prepare("table", folder / "wrong_ids.csv", output=tmp_path, options=FEW)
    assert any("4 pairs of photographs look like one lesion and have two" in line for line in news)
    split = read_splits_csv(shards.folder / "splits.csv")
    assert all(split[f"a{number}"] == split[f"b{number}"] for number in range(AGAIN))
    proof = json.loads((shards.folder / "shards.json").read_text())["proof"]
    assert proof["links"]["photograph"]["across_lesions"] == AGAIN


def test_photographs_link_merged_sources(folder, tmp_path):
    rows = pd.read_csv(folder / "table.csv")
    rows["path"] = [str(folder / name) for name in rows["path"]]
    for name in "ab":
        rows[rows["image_id"].str.startswith(name)].to_csv(tmp_path / f"{name}.csv", index=False)
    options = replace(FEW, also=[("table", tmp_path / "b.csv")])
    shards = tfskin.prepare("table", tmp_path / "a.csv", output=tmp_path, options=options)
    split = read_splits_csv(shards.folder / "splits.csv")
    assert all(split[f"a{number}"] == split[f"b{number}"] for number in range(AGAIN))


def test_a_given_split_that_tears_photographs_apart_is_refused(folder, tmp_path):
    options = replace(FEW, split_file=folder / "leaks.csv")
    with pytest.raises(UserError, match=r"leaks\.csv: 4 groups that .* --no-photographs"):
        tfskin.prepare("table", folder / "table.csv", output=tmp_path, options=options)
    options = replace(options, photographs=False)
    assert tfskin.prepare("table", folder / "table.csv", output=tmp_path, options=options).counts


def test_leaked_photographs_are_dropped(folder, tmp_path):
    rows = pd.read_csv(folder / "table.csv").merge(pd.read_csv(folder / "leaks.csv"))
    rows["path"] = [str(folder / name) for name in rows["path"]]
    rows.to_csv(tmp_path / "given.csv", index=False)
    with pytest.raises(UserError, match=r"tear 4 groups .* --drop-leaks"):
        tfskin.prepare("table", tmp_path / "given.csv", output=tmp_path, options=FEW)
    options = replace(FEW, drop_leaks=True)
    shards = tfskin.prepare("table", tmp_path / "given.csv", output=tmp_path, options=options)
    about = json.loads((shards.folder / "shards.json").read_text())
    assert set(about["left_out"]) == {f"a{number}" for number in range(AGAIN)}

    found = tfskin.audit("table", tmp_path / "given.csv", output=tmp_path / "seen", options=FEW)
    assert found["leaks"]["test"]["photograph"] == AGAIN  # the source's split is judged unasked


def test_the_audit_finds_what_a_split_leaks(folder, tmp_path):
    options = replace(FEW, split_file=folder / "leaks.csv", on_error="skip")
    found = tfskin.audit("table", folder / "table.csv", output=tmp_path, options=options)
    assert found["photograph_pairs"] == AGAIN
    leaks = found["leaks"]["test"]
    assert (leaks["images"], leaks["photograph"], leaks["any"]) == (AGAIN, AGAIN, AGAIN)
    assert leaks["id"] == leaks["copy"] == leaks["chain"] == 0
    table = pd.read_csv(tmp_path / "leaks.csv")
    pairs = table[["image_id_1", "image_id_2"]].to_numpy().tolist()
    assert sorted(pairs) == [[f"a{number}", f"b{number}"] for number in range(AGAIN)]
    assert (table["probability"] > 0.9).all()
    page = (tmp_path / "report.html").read_text()
    assert "What the split leaks" in page
    assert page.count("train and test, by photograph") == AGAIN
    assert "built-in method" not in page
    assert not (tmp_path / preparing.FEATURES_FOLDER).exists()


def test_a_split_of_other_images_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "other.csv").write_text("image_id,split\nelsewhere,train\n")
    options = replace(FEW, split_file=tmp_path / "other.csv", photographs=False)
    with pytest.raises(UserError, match=r"other\.csv: has no row for any image"):
        tfskin.audit("table", folder / "table.csv", output=tmp_path, options=options)
    (tmp_path / "other.csv").write_text("image_id,split\na0,nowhere\n")
    monkeypatch.setattr(images, "read_bytes", lambda _: pytest.fail("looked at an image"))
    with pytest.raises(UserError, match="unknown split 'nowhere'"):
        tfskin.audit("table", folder / "table.csv", output=tmp_path, options=options)


def test_drawn_lesions_are_not_searched_unless_asked(tmp_path, monkeypatch):
    asked: list[int] = []

    def look(paths, **_):
        asked.append(len(paths))
        return pd.DataFrame({"first": [], "second": [], "probability": []}, dtype=int)

    monkeypatch.setattr("tfskin.datasets.photographs.search.find_photographs", look)
    few = SourceOptions(phantom=PhantomOptions(lesions=12, image_size=(48, 64)))
    options = tfskin.PrepareOptions(source=few, artefacts=False)
    shards = tfskin.prepare("phantom", output=tmp_path, options=options)
    assert asked == []
    options = replace(options, photographs=True, overwrite=True)
    tfskin.prepare("phantom", output=tmp_path, options=options)
    assert asked == [sum(sum(counts.values()) for counts in shards.counts.values())]

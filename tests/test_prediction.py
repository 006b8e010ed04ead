import csv
import io
import json
import math
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from tests.serving.images import broken_files, encode, encode_turned, make_image
from tfskin.errors import UserError
from tfskin.evaluation.decision import Conformal, Decision
from tfskin.inputs import Sample
from tfskin.inputs.windows import cut_window
from tfskin.prediction.answers import Answers, Prediction
from tfskin.prediction.find import count_images, find_images, iterate_images
from tfskin.prediction.options import StreamOptions
from tfskin.prediction.predictors import (
    Predictor,
    find_saved_model,
    keras_predictor,
    saved_model_predictor,
)
from tfskin.prediction.stream import predict_images
from tfskin.prediction.tables import RowWriter, predictions_table, write_predictions
from tfskin.prediction.windows import cut_windows
from tfskin.schema import WindowConfig
from tfskin.serving.graph import GraphOptions
from tfskin.serving.saved_model import ExportOptions, export_saved_model

NAMES = ["bkl", "mel", "nv"]
SIZE = (16, 20)
DECISION = Decision(
    class_names=tuple(NAMES),
    temperature=1.3,
    malignant=("mel",),
    conformal=Conformal(coverage=0.9, per_class={"bkl": 1.0, "mel": 0.7, "nv": 0.1}),
)
GRAPH = GraphOptions(image_size=SIZE, decision=DECISION)


@pytest.fixture(scope="module")
def model():
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.Flatten()(x)
    initial = keras.initializers.GlorotUniform(seed=0)
    return keras.Model(image, keras.layers.Dense(3, kernel_initializer=initial, name="logits")(x))


@pytest.fixture(scope="module")
def predictor(model):
    return keras_predictor(model, options=GRAPH)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    options = ExportOptions(graph=GRAPH, output_dir=folder, name="tiny", version=3)
    samples = [Sample(encode(make_image(seed))) for seed in range(2)]
    return export_saved_model(model, options=options, samples=samples)


def fill(folder, names, data=None):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(make_image(0)) if data is None else data)
    return folder


def names_of(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_folder_is_searched_deep_sorted_and_without_hidden_files(tmp_path):
    names = ["b.JPG", "a.png", "sub/c.jpeg", "sub/deep/d.Tiff"]
    fill(tmp_path, [*names, "._a.png", ".cache/e.jpg"])
    fill(tmp_path, ["notes.txt", "metadata.csv"], b"id,note\n")
    assert names_of(find_images([tmp_path]), tmp_path) == [
        "a.png",
        "b.JPG",
        "sub/c.jpeg",
        "sub/deep/d.Tiff",
    ]


def test_files_folders_and_patterns_give_each_image_once(tmp_path):
    fill(tmp_path, ["x/1.jpg", "x/2.jpg", "y/3.jpg", "y/z/4.png", "5.dat"])
    inputs = [tmp_path / "5.dat", tmp_path / "x", tmp_path / "*" / "*.jpg", f"{tmp_path}/**/*.png"]
    assert names_of(find_images(inputs), tmp_path) == [
        "5.dat",
        "x/1.jpg",
        "x/2.jpg",
        "y/3.jpg",
        "y/z/4.png",
    ]


def test_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    fill(tmp_path, ["scan[1].jpg"])
    assert names_of(find_images([tmp_path / "scan[1].jpg"]), tmp_path) == ["scan[1].jpg"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing.jpg", "missing.jpg: no such file or folder"),
        ("empty", "empty: no images in this folder"),
        ("*.jpg", "no images match"),
    ],
)
def test_inputs_without_images_are_named(tmp_path, given, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        find_images([tmp_path / given])
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_no_input_at_all_is_refused():
    with pytest.raises(UserError, match="no images given"):
        find_images([])


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_predictions_come_in_order_whatever_the_batch(predictor, tmp_path, batch_size):
    for seed in range(5):
        fill(tmp_path, [f"{seed}.jpg"], encode(make_image(seed)))
    paths = find_images([tmp_path])
    found = list(predict_images(predictor, paths, options=StreamOptions(batch_size)))
    assert [one.path for one in found] == paths
    for one in found:
        alone = next(predict_images(predictor, [one.path]))
        np.testing.assert_allclose(one.probabilities, alone.probabilities, atol=1e-6)
        assert sum(one.probabilities) == pytest.approx(1, abs=1e-5)
        assert one.probability == max(one.probabilities)
        assert one.predicted == NAMES[int(np.argmax(one.probabilities))]
        assert one.error == ""


def test_bad_files_are_listed_with_a_reason_and_harm_no_other(predictor, tmp_path):
    good = fill(tmp_path, ["good.jpg"]) / "good.jpg"
    bad = {
        "missing.jpg": "cannot be read: No such file or directory",
        "empty": "is empty",
        "html": "is a web page or XML, no image",
        "truncated jpeg": "is cut off or damaged",
        "png with a wrong checksum": "is cut off or damaged",
        "png of 60000 x 60000": "has too many pixels",
        "jpeg of 20000 x 2": "has 20000 x 2 pixels, and 8 are the smallest side",
    }
    broken = broken_files()
    for name in set(bad) & set(broken):
        (tmp_path / name).write_bytes(broken[name])
    paths = [good, *(tmp_path / name for name in bad), good]
    found = list(predict_images(predictor, paths))
    for one, reason in zip(found, ["", *bad.values(), ""], strict=True):
        assert one.error.startswith(reason), one
        assert bool(one.error) == bool(reason), one
        assert ";" not in one.error
        assert str(tmp_path) not in one.error
    alone = next(predict_images(predictor, [good]))
    for one in (found[0], found[-1]):
        np.testing.assert_allclose(one.probabilities, alone.probabilities, atol=1e-6)
    assert found[1].predicted == ""
    assert math.isnan(found[1].probability)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every file")
def test_file_without_permission_is_listed(predictor, tmp_path):
    path = fill(tmp_path, ["x.jpg"]) / "x.jpg"
    path.chmod(0)
    assert "Permission denied" in next(predict_images(predictor, [path])).error


def test_folder_named_like_an_image_is_listed(predictor, tmp_path):
    assert "Is a directory" in next(predict_images(predictor, [tmp_path])).error


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF"])
def test_lossless_formats_predict_the_same(predictor, tmp_path, kind):
    image = make_image(0).convert("P").convert("RGB")
    (tmp_path / "x").write_bytes(encode(image, kind))
    (tmp_path / "y").write_bytes(encode(image, "PNG"))
    first, second = predict_images(predictor, [tmp_path / "x", tmp_path / "y"])
    assert first.error == ""
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-3)


def thirds(encoded):
    return Answers(np.full((len(encoded), 3), 1 / 3, "float32"), np.ones(len(encoded), bool))


def test_a_few_batches_are_in_memory_at_a_time(tmp_path):
    sizes = []

    def function(encoded):
        sizes.append(len(encoded))
        return thirds(encoded)

    paths = find_images([fill(tmp_path, [f"{number}.jpg" for number in range(9)])])
    taken = []

    def watched():
        for path in paths:
            taken.append(path)
            yield path

    predictor = Predictor(NAMES, function, "thirds", parallel=1)
    stream = predict_images(predictor, watched(), options=StreamOptions(3))
    assert sizes == []
    next(stream)
    assert len(taken) <= 6
    assert len(list(stream)) == 8
    assert sizes == [3, 3, 3]


def test_saved_model_predicts_as_the_keras_model(predictor, saved, tmp_path):
    served = saved_model_predictor(saved.parent)
    assert served.name == str(saved)
    assert served.class_names == NAMES
    fill(tmp_path, ["turned.jpg"], encode_turned(make_image(1), 6, ">"))
    fill(tmp_path, ["upright.jpg", "bad.jpg"])
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    paths = find_images([tmp_path])
    for one, other in zip(
        predict_images(served, paths), predict_images(predictor, paths), strict=True
    ):
        assert one.error == other.error
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
        assert one.prediction_set == other.prediction_set
    assert served.extras == ("malignancy", "prediction_set")


def test_saved_models_of_one_place_are_told_apart(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "1")
    before = saved_model_predictor(folder).version
    assert before == saved_model_predictor(saved).version != ""
    (folder / "variables" / "more").write_bytes(b"other weights")
    assert saved_model_predictor(folder).version != before


def test_newest_version_is_taken_by_number(saved):
    with pytest.raises(UserError, match="holds no SavedModel"):
        find_saved_model(saved / "variables")
    (saved.parent / "20").mkdir()
    assert find_saved_model(saved.parent) == find_saved_model(saved) == saved


def test_what_is_no_saved_model_is_named(tmp_path):
    with pytest.raises(UserError, match="missing: no such folder"):
        saved_model_predictor(tmp_path / "missing")
    with pytest.raises(UserError, match="holds no SavedModel"):
        saved_model_predictor(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be loaded"):
        saved_model_predictor(tmp_path)


def test_a_foreign_saved_model_is_refused(model, tmp_path):
    model.export(tmp_path / "foreign", verbose=False)
    with pytest.raises(UserError, match="lacks class_names, probabilities, valid"):
        saved_model_predictor(tmp_path / "foreign")


def test_table_and_csv_have_a_row_an_image(tmp_path):
    predictions = [
        Prediction(tmp_path / "ä, b.jpg", NAMES, (0.1, 0.7, 0.2)),
        Prediction(tmp_path / "bad.jpg", NAMES, (), "the file is empty"),
    ]
    table = predictions_table(predictions, class_names=NAMES)
    assert list(table.columns) == ["path", "predicted", "probability", *NAMES, "error"]
    assert table["predicted"].tolist() == ["mel", ""]
    assert table.loc[1, NAMES].isna().all()
    write_predictions(predictions, tmp_path / "out" / "predictions.csv", class_names=NAMES)
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["path"] == str(tmp_path / "ä, b.jpg")
    assert [float(rows[0][name]) for name in NAMES] == [0.1, 0.7, 0.2]
    assert rows[1] == {
        "path": str(tmp_path / "bad.jpg"),
        "predicted": "",
        "probability": "",
        **dict.fromkeys(NAMES, ""),
        "error": "the file is empty",
    }


def test_class_names_with_spaces_can_be_told_apart_in_a_prediction_set():
    names = ["Basal cell carcinoma", "Nevus", "Solar lentigo"]
    one = Prediction(Path("a.jpg"), names, (0.5, 0.4, 0.1), prediction_set=(names[0], names[1]))
    table = predictions_table([one], class_names=names)
    assert table["prediction_set"].tolist() == ["Basal cell carcinoma; Nevus"]


def test_json_lines_hold_names_and_what_the_model_decides(tmp_path):
    predictions = [
        Prediction(Path("a.jpg"), NAMES, (0.1, 0.7, 0.2), "", 0.7, ("mel", "nv")),
        Prediction(Path("bad.jpg"), NAMES, (), "is empty"),
    ]
    write_predictions(predictions, tmp_path / "out.jsonl", class_names=NAMES)
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "path": "a.jpg",
            "predicted": "mel",
            "probability": 0.7,
            "probabilities": {"bkl": 0.1, "mel": 0.7, "nv": 0.2},
            "malignancy": 0.7,
            "prediction_set": ["mel", "nv"],
        },
        {"path": "bad.jpg", "error": "is empty"},
    ]
    with pytest.raises(UserError, match=r"must end in .csv or .jsonl"):
        write_predictions(predictions, tmp_path / "out.txt", class_names=NAMES)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("cut", [0, 1, 30])
def test_a_file_that_was_stopped_goes_on_where_it_ends(tmp_path, suffix, cut):
    awkward = ["a.jpg", "b, c.jpg", "caf\udce9.jpg", "d\ne.jpg", "f.jpg"]
    rows = [Prediction(Path(name), NAMES, (0.1, 0.7, 0.2), "", 0.7) for name in awkward]

    def open_writer(name):
        identity = {"model": "x"}
        return RowWriter(
            tmp_path / name, class_names=NAMES, identity=identity, extras=["malignancy"]
        )

    reference = open_writer(f"all{suffix}")
    reference.write(rows)
    expected = reference.finish().read_bytes()
    first = open_writer(f"out{suffix}")
    first.write(rows[:2])
    first.write(rows[2:4])
    kept = first.part.read_bytes()
    first.part.write_bytes(kept[: len(kept) - cut])  # killed in the middle of a row
    second = open_writer(f"out{suffix}")
    rest = iter([one.path for one in rows])
    done = second.skip_done(rest)
    assert done == (4 if cut == 0 else 3)
    left = list(rest)
    assert left == [one.path for one in rows[done:]]
    second.write(rows[done:])
    assert second.finish().read_bytes() == expected
    assert {path.name for path in tmp_path.iterdir()} == {f"all{suffix}", f"out{suffix}"}


def test_a_stopped_file_of_other_images_or_another_model_is_refused(tmp_path):
    rows = [Prediction(Path("a.jpg"), NAMES, (0.1, 0.7, 0.2))]
    writer = RowWriter(tmp_path / "o.csv", class_names=NAMES, identity={"model": "x"})
    writer.write(rows)
    with pytest.raises(UserError, match="another model"):
        RowWriter(tmp_path / "o.csv", class_names=NAMES, identity={"model": "y"})
    again = RowWriter(tmp_path / "o.csv", class_names=NAMES, identity={"model": "x"})
    with pytest.raises(UserError, match=r"row 1 is of 'a.jpg', not of 'b.jpg'"):
        again.skip_done(iter([Path("b.jpg")]))


def test_paths_come_from_tables_and_from_standard_input(tmp_path):
    fill(tmp_path, ["images/a.jpg", "images/b.jpg"])
    table = tmp_path / "paths.csv"
    table.write_text("\ufeffid,path\n1,images/b.jpg\n2,gone.jpg\n3,\n", encoding="utf-8")
    assert list(iterate_images([table])) == [
        *(tmp_path / "images" / "b.jpg", tmp_path / "gone.jpg"),
    ]
    lines = io.StringIO("x.jpg\n\ny z.jpg\n")
    assert list(iterate_images(["-"], standard_input=lines)) == [Path("x.jpg"), Path("y z.jpg")]
    assert count_images([table, tmp_path / "images"]) == 3
    assert count_images(["-", table]) is None
    table.write_text("id,name\n1,a\n")
    with pytest.raises(
        UserError, match=r"no column 'path' or .*; found: id, name; name the column"
    ):
        list(iterate_images([table]))


def test_windows_are_those_of_training(predictor):
    original = make_image(0, width=90, height=60)
    windows = WindowConfig(size=32, stride=24)
    found = np.stack([np.asarray(window) for window in cut_windows(original, windows)])
    image = np.asarray(original)
    cut = [cut_window(image, number, windows).numpy() for number in range(len(found))]
    assert len(found) == 4 * 3
    np.testing.assert_array_equal(found, cut)
    assert not found[-1, 60 - 2 * 24 :].any()  # what lies beyond the border is black


def test_windows_are_averaged(predictor, tmp_path):
    image = make_image(0, width=90, height=60)
    (tmp_path / "x.png").write_bytes(encode(image, "PNG"))
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    windows = WindowConfig(size=40, stride=30)
    options = StreamOptions(batch_size=3, windows=windows)
    bad, found = predict_images(predictor, find_images([tmp_path]), options=options)
    assert bad.error == "is a web page or XML, no image"
    parts = predictor.function([encode(w, "PNG") for w in cut_windows(image, windows)])
    assert len(parts.probabilities) == 6
    np.testing.assert_allclose(found.probabilities, parts.probabilities.mean(axis=0), atol=1e-6)
    assert found.malignancy == pytest.approx(found.probabilities[1], abs=1e-6)
    assert found.prediction_set is None


def test_class_named_like_a_column_keeps_its_own():
    prediction = Prediction(Path("x.jpg"), ["error", "none"], (0.2, 0.8))
    table = predictions_table([prediction], class_names=["error", "none"])
    assert table.iloc[0].to_dict() == {
        "path": "x.jpg",
        "predicted": "none",
        "probability": 0.8,
        "class error": 0.2,
        "none": 0.8,
        "error": "",
    }


def test_empty_table_has_its_columns():
    table = predictions_table([], class_names=NAMES)
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert "mel" in table.columns


def test_real_images_are_predicted(predictor, real_ham10000, real_isic_archive):
    paths = find_images([real_ham10000])[:5] + find_images([real_isic_archive / "*.jpg"])[:2]
    found = list(predict_images(predictor, paths))
    assert [one.error for one in found] == [""] * 7


def test_a_file_name_that_is_not_utf8_is_written_with_its_bytes_escaped(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    rows = [Prediction(path, ["a", "b"], (0.25, 0.75))]
    write_predictions(rows, tmp_path / "out.csv", class_names=["a", "b"])
    assert "caf\\udce9.jpg" in (tmp_path / "out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["=1+1.png", "+x.png", "-x.png", "@x.png"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_name_is_no_formula_in_a_spreadsheet(predictor, tmp_path, monkeypatch, name, suffix):
    monkeypatch.chdir(tmp_path)
    make_image(0).save(name)
    writer = RowWriter(tmp_path / f"p{suffix}", class_names=NAMES, identity={})
    writer.write(list(predict_images(predictor, [Path(name)])))
    again = RowWriter(tmp_path / f"p{suffix}", class_names=NAMES, identity={})
    assert again.skip_done(iter([Path(name)])) == 1
    written = again.finish().read_text()
    assert f"./{name}" in written
    if suffix == ".csv":
        table = pd.read_csv(tmp_path / "p.csv")
        assert Path(table["path"][0]) == Path(name)
        table.to_csv("again.csv", index=False)
        assert find_images(["again.csv"]) == [Path(name)]


def test_predict_reads_the_tables_that_prepare_reads(tmp_path):
    from tfskin.datasets.sources import read_records

    fill(tmp_path, ["cafe\u0301/a.jpg", "cafe\u0301/b.jfif", "c.jpg"])
    for delimiter, suffix in ((";", "csv"), (",", "csv"), ("\t", "tab")):
        table = tmp_path / f"t.{suffix}"
        rows = [("Image", "label"), ("caf\u00e9\\a.jpg", "x"), ("caf\u00e9/b", "x"), ("c.jpg", "y")]
        table.write_text("\n".join(delimiter.join(row) for row in rows), encoding="utf-8")
        found = find_images([table])
        assert names_of(found, tmp_path) == ["cafe\u0301/a.jpg", "cafe\u0301/b.jfif", "c.jpg"]
        assert [str(path) for path in found] == read_records("table", table)["path"].tolist()


def test_a_quotation_mark_that_swallows_rows_of_a_table_of_paths_is_named(tmp_path):
    fill(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    table = tmp_path / "t.csv"
    table.write_text('path,note\na.jpg,x\nb.jpg,"y\nc.jpg,z\n')
    with pytest.raises(UserError, match=r"t\.csv: line 3: .*quotation marks"):
        find_images([table])


def test_predict_finds_the_images_that_prepare_finds(tmp_path):
    from tfskin.datasets.finding import LeftOut
    from tfskin.datasets.sources import read_records

    fill(tmp_path / "elsewhere", ["5.jpg", "6"])
    fill(tmp_path / "data", ["a/1.jfif", "a/2.JPE", "a/3", "b/4.jpg", "b/4_segmentation.png"])
    fill(tmp_path / "data", ["b/notes.txt"], b"text")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere")
    left_out = LeftOut()
    assert count_images([tmp_path / "data"], left_out=left_out) == 6
    assert left_out.describe().startswith(
        "left out 2 of 8 files: 1 masks or superpixels, 1 no readable im"
    )
    prepared = read_records("image_folder", tmp_path / "data")["path"].tolist()
    assert [str(path) for path in find_images([tmp_path / "data"])] == prepared
    assert len(find_images([tmp_path / "data" / "*" / "*"])) == 6

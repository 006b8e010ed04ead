import keras
import pytest

from tfskin.training import tensorboard as room


def read_scalars(folder):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for path in folder.rglob("events.*"):
        for event in loader.EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[path.parent.name, value.tag, event.step] = float(make_ndarray(value.tensor))
    return found


def build_model():
    image = keras.Input((2,))
    model = keras.Model(image, keras.layers.Dense(1)(image))
    model.compile("sgd", "mse")
    return model


def test_train_and_val_figures_are_events(tmp_path):
    log = room.make_epoch_logger(tmp_path, build_model())
    log({"epoch": 1, "loss": 0.5, "val_loss": 0.75, "val_auc": None})
    log({"epoch": 2, "loss": 0.25, "val_loss": 0.5, "val_auc": 0.875})
    found = read_scalars(tmp_path)
    assert found["train", "epoch_loss", 2] == 0.25
    assert found["validation", "epoch_loss", 1] == 0.75
    assert found["validation", "epoch_auc", 2] == 0.875


def test_without_the_package_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    room.make_epoch_logger(tmp_path / "tb", build_model())({"epoch": 1, "loss": 0.5})
    assert not (tmp_path / "tb").exists()

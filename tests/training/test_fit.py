"""The fit on a tiny net: resumption, best weights, what is said."""

import errno
from typing import Any

import keras
import numpy as np
import pytest

from tfskin.errors import UserError
from tfskin.evaluation.metrics import compute_metrics, metrics_from_confusion
from tfskin.training.checkpoints import read_checkpoint, save_checkpoint
from tfskin.training.fit import FitData, FitOptions, compile_model, fit, stalled
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import choose_precision, dtype_policy, has_gpu
from tfskin.training.schedules import make_schedule

SAVE = "tfskin.training.keeping.save_checkpoint"
NAMES = ["nevus", "melanoma"]


def make_images(seed: int, size: int = 40):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    images = rng.normal(size=(size, 8, 8, 3)) * 30 + 100 + 60 * labels[:, None, None, None]
    return images.astype("float32"), labels


class Batches(keras.utils.PyDataset):
    def __init__(self, images, labels, size=10, skip=0):
        super().__init__()
        self.images, self.labels, self.size = images[skip * size :], labels[skip * size :], size

    def __len__(self):
        return -(-len(self.images) // self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return self.images[part], self.labels[part]


def make_data(broken: bool = False) -> FitData:
    images, labels = make_images(0)
    val_images, val_labels = make_images(1)

    def make_epoch(epoch, steps):
        order = np.random.default_rng(epoch).permutation(len(images))
        seen = images[order]
        if broken and epoch == 1:
            seen[20:] = np.nan
        return Batches(seen, labels[order], skip=steps)

    def score(truth, probabilities):
        figures = compute_metrics(truth, probabilities, NAMES)
        return {
            "auc": figures["macro_auc"],
            "loss": figures["log_loss"],
            "balanced_accuracy": figures["balanced_accuracy"],
        }

    def score_confusion(matrix):
        return {"balanced_accuracy": metrics_from_confusion(matrix, NAMES)["balanced_accuracy"]}

    return FitData(
        make_epoch=make_epoch,
        steps_per_epoch=4,
        images_per_epoch=40,
        val_batches=Batches(val_images, val_labels),
        val_labels=val_labels,
        score=score,
        score_confusion=score_confusion,
    )


def make_model(policy: str = "float32", epochs: int = 4, **recipe: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    with dtype_policy(policy):
        image = keras.Input((8, 8, 3), name="image")
        x = keras.layers.Rescaling(1 / 255)(image)
        x = keras.layers.Conv2D(4, 3)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dropout(0.3)(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        logits = keras.layers.Dense(2, name="logits", dtype="float32")(x)
        model = keras.Model(image, logits)
        kind = recipe.pop("schedule", "cosine")
        rate = make_schedule(kind, learning_rate=0.01, steps_per_epoch=4, epochs=epochs)
        compile_model(model, build_optimizer("adamw", learning_rate=rate, **recipe))
    return model


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


def test_it_learns_and_keeps_the_best_weights(tmp_path, news):
    model = make_model()
    state = fit(model, make_data(), options=FitOptions(4, tmp_path))
    assert state.epoch == 4
    assert len(news) == 4
    assert "images/s" in news[0]
    assert state.history[-1]["loss"] < state.history[0]["loss"]
    best = max(row["val_auc"] for row in state.history)
    assert state.best_score == best
    assert state.history[state.best_epoch - 1]["val_auc"] == best
    kept = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    images, labels = make_images(1)
    probabilities = keras.ops.softmax(kept.predict(images, verbose=0))
    assert compute_metrics(labels, np.asarray(probabilities), NAMES)["macro_auc"] == best


# In groups of three of the four batches, so that the end of an epoch ends a short group.
RECIPE: dict[str, Any] = {"accumulate": 3, "batches_per_epoch": 4, "ema": 0.9, "clip_norm": 1.0}


def without_times(history):
    return [{k: v for k, v in row.items() if "second" not in k} for row in history]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A fit that nobody stops: its weights and history."""
    model = make_model(**RECIPE)
    options = FitOptions(4, tmp_path_factory.mktemp("whole"))
    state = fit(model, make_data(), options=options)
    return weights_of(model), without_times(state.history)


class Killed(BaseException):
    """What nothing in the fit catches."""


def killing(save, number):
    """``save_checkpoint``, and the end of the process after so many calls."""
    left = [number]

    def save_and_die(*args, **kwargs):
        save(*args, **kwargs)
        left[0] -= 1
        if not left[0]:
            raise Killed

    return save_and_die


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_stopped_fit_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch, whole, policy, news):
    """It stops after step 3 of the first epoch, and once more after step 2 of the next."""
    options = FitOptions(4, tmp_path, checkpoint_minutes=1e-9)
    with monkeypatch.context() as patch:
        patch.setattr(SAVE, killing(save_checkpoint, 3))
        with pytest.raises(Killed):
            fit(make_model(policy, **RECIPE), make_data(), options=options)
    with monkeypatch.context() as patch:
        patch.setattr(SAVE, killing(save_checkpoint, 3))
        with pytest.raises(Killed):
            fit(make_model(policy, **RECIPE), make_data(), options=options)
    last = make_model(policy, **RECIPE)
    state = fit(last, make_data(), options=options)
    assert news[0] == "going on after epoch 0 and step 3 of the next"
    assert "going on after epoch 1 and step 2 of the next" in news
    weights, history = whole
    if policy != "float32":
        model = make_model(policy, **RECIPE)
        options = FitOptions(4, tmp_path / "whole")
        undisturbed = fit(model, make_data(), options=options)
        weights, history = weights_of(model), without_times(undisturbed.history)
    assert without_times(state.history) == history
    for one, other in zip(weights, weights_of(last), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_torn_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, news):
    options = FitOptions(2, tmp_path)
    fit(make_model(), make_data(), options=options)
    before, newest = sorted(options.checkpoints.iterdir())
    content, whole = newest.read_bytes(), before.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:1000], bytes(flipped), b""):
        newest.write_bytes(damaged)
        found = read_checkpoint(options.checkpoints)
        assert found is not None
        assert found.path == before
        assert [f"{newest}: is damaged" in line for line in news] == [True]
    before.write_bytes(b"")
    with pytest.raises(UserError, match=r"is damaged .* none before it .* --overwrite"):
        fit(make_model(), make_data(), options=options)
    before.write_bytes(whole)
    news.clear()
    state = fit(make_model(), make_data(), options=options)
    assert news[1] == "going on after epoch 1"
    assert state.epoch == 2
    again = read_checkpoint(options.checkpoints)
    assert again is not None
    assert again.path == newest


def test_a_full_disk_costs_the_checkpoint_not_the_fit(tmp_path, monkeypatch, whole, news):

    def full_in_epoch_two(folder, model, state, whole):
        if state.epoch == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_checkpoint(folder, model, state)
        if state.epoch == 3:
            raise Killed

    monkeypatch.setattr(SAVE, full_in_epoch_two)
    options = FitOptions(4, tmp_path / "full")
    with pytest.raises(Killed):
        fit(make_model(**RECIPE), make_data(), options=options)
    warnings = [line for line in news if line.startswith("warning")]
    assert len(warnings) == 1
    assert "after epoch 2 could not be written (No space left on device)" in warnings[0]
    names = [path.name for path in options.checkpoints.iterdir()]
    assert sorted(names) == [f"epoch-0000{epoch}-step-00000000.npz" for epoch in (1, 3)]
    monkeypatch.undo()
    state = fit(make_model(**RECIPE), make_data(), options=options)
    assert without_times(state.history) == whole[1]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    fit(make_model(), make_data(), options=FitOptions(1, tmp_path))
    other = make_model()
    compile_model(other, build_optimizer("sgd", learning_rate=0.1))
    with pytest.raises(UserError, match="does not fit the network and optimizer"):
        fit(other, make_data(), options=FitOptions(1, tmp_path))


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_weights(tmp_path):
    message = (
        r"^epoch 2, step 3: the loss is nan at learning rate 0\.00\d+; try a lower "
        r"train.learning_rate.*; the last good checkpoint is .*epoch-00001-step-00000002.npz$"
    )
    options = FitOptions(4, tmp_path, checkpoint_minutes=1e-9)
    with pytest.raises(UserError, match=message):
        fit(make_model(), make_data(broken=True), options=options)
    kept = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert all(np.isfinite(v.numpy()).all() for v in kept.variables)


class Length(keras.layers.Layer):
    """Each channel's length; of a black image it is 0, and its gradient no number."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, inputs):
        return keras.ops.sqrt(keras.ops.sum(keras.ops.square(inputs * self.scale), axis=(1, 2)))


@pytest.mark.parametrize("black_from", [20, 30])
def test_weights_that_are_no_numbers_are_never_written(tmp_path, black_from):
    """The loss of the step that spoils them is finite: within the epoch, and at its last step."""
    data = make_data()

    def make_epoch(epoch, steps):
        images, labels = make_images(0)
        if epoch == 1:
            images[black_from:] = 0.0
        return Batches(images, labels, skip=steps)

    image = keras.Input((8, 8, 3), name="image")
    logits = keras.layers.Dense(2, name="logits")(Length(name="length")(image / 1000))
    model = keras.Model(image, logits)
    compile_model(model, build_optimizer("sgd", learning_rate=1e-3))
    step = black_from // 10 + 1
    message = (
        rf"^epoch 2, step {step}: length/scale is no number \(NaN or infinity\) at learning rate "
        rf"0\.001; .*; the last good checkpoint is .*epoch-00001-step-0000000{step - 1}.npz$"
    )
    options = FitOptions(4, tmp_path, checkpoint_minutes=1e-9)
    spoilt = FitData(**{**vars(data), "make_epoch": make_epoch})
    with pytest.raises(UserError, match=message):
        fit(model, spoilt, options=options)
    for path in options.checkpoints.iterdir():
        with np.load(path) as file:
            assert all(np.isfinite(file[name]).all() for name in file.files if name != "state")


def test_patience_stops_when_nothing_gains(tmp_path):
    data = make_data()
    frozen = FitData(
        **{**vars(data), "score": lambda *_: {"auc": 0.5, "loss": 1.0, "balanced_accuracy": 0.5}}
    )
    options = FitOptions(10, tmp_path, patience=2)
    state = fit(make_model(epochs=10), frozen, options=options)
    assert (state.epoch, state.best_epoch) == (3, 1)


def test_a_figure_without_a_value_still_keeps_a_model(tmp_path):
    data = make_data()
    none = {"auc": None, "loss": 1.0, "balanced_accuracy": None}
    without = FitData(**{**vars(data), "score": lambda *_: none})
    state = fit(make_model(), without, options=FitOptions(1, tmp_path))
    assert state.best_epoch == 1
    assert (tmp_path / "model.keras").is_file()


def test_mixed_float16_really_updates_and_counts_what_it_skips(tmp_path, news):
    model = make_model("mixed_float16")
    model.optimizer.initial_scale = 2.0**40  # overflows until it has been halved often enough
    state = fit(model, make_data(), options=FitOptions(7, tmp_path))
    updates = int(model.optimizer.inner_optimizer.iterations)
    skipped = [row["skipped_steps"] for row in state.history]
    assert skipped[0] == 4
    assert "4 steps skipped by overflow" in news[0]
    assert updates > 0
    assert updates + sum(skipped) == 7 * 4


def test_what_is_judged_and_kept_are_the_averaged_weights(tmp_path):
    model = make_model(ema=0.99)
    state = fit(model, make_data(), options=FitOptions(1, tmp_path))
    kept = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    pairs = model.optimizer.averages()
    places = {id(variable): place for place, variable in enumerate(model.variables)}
    assert pairs
    for variable, average in pairs:
        found = kept.variables[places[id(variable)]].numpy()
        np.testing.assert_array_equal(found, average.numpy())
        assert (found != variable.numpy()).any()
    images, labels = make_images(1)
    probabilities = np.asarray(keras.ops.softmax(kept.predict(images, verbose=0)))
    figures = compute_metrics(labels, probabilities, NAMES)
    assert state.history[0]["val_loss"] == pytest.approx(figures["log_loss"])


def test_the_rate_falls_on_a_plateau_of_this_stage(tmp_path):
    data = make_data()
    flat = FitData(
        **{**vars(data), "score": lambda *_: {"auc": 0.5, "loss": 1.0, "balanced_accuracy": 0.5}}
    )
    options = FitOptions(5, tmp_path, plateau_patience=2, plateau_factor=0.5)
    model = make_model(schedule="plateau")
    state = fit(model, flat, options=options)
    rates = [row["learning_rate"] for row in state.history]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.005, 0.005])


def test_a_loss_that_has_not_moved_is_named():
    assert "learning_rate" in (stalled([{"loss": 0.70}, {"loss": 0.69}], 2) or "")
    assert stalled([{"loss": 0.70}, {"loss": 0.50}], 2) is None
    assert stalled([{"loss": 0.70}], 2) is None
    said = stalled([{"loss": n} for n in (0.70, 0.69, 0.695)], 2) or ""
    assert "not moved (0.700 to 0.695)" in said


@pytest.mark.parametrize("losses", [(0.693, 0.9, 1.23), (0.693, 1.5, 1.23), (0.3, 0.3, 1.23)])
def test_a_loss_that_has_risen_is_said_to_have_risen(losses):
    """That of a fine-tuning begins below what a guess would give."""
    said = stalled([{"loss": loss} for loss in losses], 2) or ""
    assert f"has risen ({losses[0]:.3f} to 1.230)" in said
    assert "ten times lower" in said
    assert "higher" not in said
    assert stalled([{"loss": loss} for loss in (*losses, 0.1, 1.23)], 2) is None


def test_auto_precision_is_float32_without_a_gpu():
    policy, reason = choose_precision("auto")
    assert policy == ("mixed_float16" if has_gpu() else "float32")
    assert reason.startswith("auto")
    assert choose_precision("mixed_bfloat16")[0] == "mixed_bfloat16"

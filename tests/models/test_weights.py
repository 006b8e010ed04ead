"""Weights from every kind of file, and what is said when they do not fit."""

import hashlib
import io
import urllib.error
import urllib.request
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.models.torch_writer import save_state
from tfskin.errors import UserError
from tfskin.layers import Scale
from tfskin.models import build_model, imagenet, load_weights
from tfskin.models.names import count_from_zero, snake_case
from tfskin.models.weight_files import read_weight_file
from tfskin.models.weights import from_keras_resnet

SIZE = (32, 32)
WIDTHS = (4, 4, 8, 8)


def small(classes=3, seed=0, **arguments):
    keras.utils.set_random_seed(seed)
    arguments = {"widths": WIDTHS, **arguments}
    model = build_model("resnet10", image_size=SIZE, num_classes=classes, **arguments)
    rng = np.random.default_rng(seed)
    for weight in model.weights:  # moving statistics away from 0 and 1
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def logits(model):
    images = np.random.default_rng(9).uniform(0, 255, (2, *SIZE, 3)).astype("float32")
    return keras.ops.convert_to_numpy(model(images, training=False))


def snapshot(model):
    return [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]


def torch_state(model):
    """The weights under torchvision's names and in PyTorch's layout."""
    order = ("weight", "bias", "running_mean", "running_var")
    state = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        name = layer.name.replace("layer1_0_", "layer1.0.").replace("layer2_0_", "layer2.0.")
        name = name.replace("layer3_0_", "layer3.0.").replace("layer4_0_", "layer4.0.")
        name = name.replace("downsample_", "downsample.").replace("logits", "fc")
        for key, weight in zip(order, layer.weights, strict=False):
            array = keras.ops.convert_to_numpy(weight)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            state[f"{name}.{key}"] = np.ascontiguousarray(array)
        if "running_mean" in str(state.keys()) and f"{name}.running_mean" in state:
            state[f"{name}.num_batches_tracked"] = np.array(7)
    return state


def write_torch_state(model, path):
    """``.pt``: in the layout from before PyTorch 1.6."""
    if path.suffix == ".safetensors":
        save_file(torch_state(model), path)
    else:
        save_state(path, torch_state(model), legacy=path.suffix == ".pt")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".safetensors", ".pth", ".pt"])
def test_every_format_gives_the_same_network(tmp_path, suffix):
    source, target = small(seed=1), small(seed=2)
    path = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        source.save(path)
    elif suffix == ".weights.h5":
        source.save_weights(path)
    else:
        write_torch_state(source, path)
    report = load_weights(target, str(path), name="resnet10")
    assert report.matched == report.total == len(target.weights)
    assert not report.fresh
    np.testing.assert_array_equal(logits(target), logits(source))


def test_a_folder_of_a_run_is_its_model(tmp_path):
    source, target = small(seed=1), small(seed=2)
    source.save(tmp_path / "model.keras")
    report = load_weights(target, str(tmp_path), name="resnet10")
    assert str(report).startswith(f"weights: {report.total} of {report.total} tensors from")
    np.testing.assert_array_equal(logits(target), logits(source))


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_another_number_of_classes_keeps_a_fresh_head(tmp_path, suffix):
    source, target = small(classes=5, seed=1), small(classes=3, seed=2)
    before = np.array(target.get_layer("logits").kernel)
    path = tmp_path / f"model{suffix}"
    source.save(path) if suffix == ".keras" else source.save_weights(path)
    report = load_weights(target, str(path), name="resnet10")
    assert report.fresh == ("logits",)
    assert report.matched == report.total - 2
    assert "fresh: logits" in str(report)
    np.testing.assert_array_equal(target.get_layer("logits").kernel, before)
    np.testing.assert_array_equal(
        target.get_layer("layer4_0_conv2").kernel, source.get_layer("layer4_0_conv2").kernel
    )


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".safetensors", ".pth", ".pt"])
def test_a_mismatch_names_the_first_layer_and_both_shapes_and_changes_nothing(tmp_path, suffix):
    source, target = small(seed=1, widths=(4, 4, 4, 8)), small(seed=2)
    before = logits(target)
    path = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        source.save(path)
    elif suffix == ".weights.h5":
        source.save_weights(path)
    else:
        write_torch_state(source, path)
    with pytest.raises(UserError) as caught:
        load_weights(target, str(path), name="resnet10")
    message = str(caught.value)
    assert str(path) in message
    assert "layer 'layer3_0_downsample_0'" in message or "layer 'layer3_0_conv1'" in message
    assert "(3, 3, 4, 8)" in message or "(1, 1, 4, 8)" in message
    assert "(3, 3, 4, 4)" in message or "(1, 1, 4, 4)" in message
    np.testing.assert_array_equal(logits(target), before)


def test_weights_of_another_network_are_refused(tmp_path):
    build_model("lenet", num_classes=3).save(tmp_path / "lenet.keras")
    with pytest.raises(UserError, match=r"layer 'conv1' of resnet10 is not in the file"):
        load_weights(small(), str(tmp_path / "lenet.keras"), name="resnet10")
    build_model("lenet", num_classes=3).save_weights(tmp_path / "lenet.weights.h5")
    with pytest.raises(UserError, match=r"holds 3 conv2d layers, the network has 12"):
        load_weights(small(), str(tmp_path / "lenet.weights.h5"), name="resnet10")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.keras", b"PK damaged", "cannot be read as weights"),
        ("a.weights.h5", b"no hdf", "cannot be read as weights"),
        ("a.safetensors", b"x", "cannot be read as weights"),
        ("a.pth", b"x", "cannot be read as weights"),
        ("a.onnx", b"x", "not from '.onnx'"),
        ("folder/x.txt", b"x", "no finished run"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    source = path.parent if name.startswith("folder") else path
    with pytest.raises(UserError, match=message) as caught:
        load_weights(small(), str(source), name="resnet10")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no file or run 'nowhere'"):
        load_weights(small(), "nowhere", name="resnet10")


@pytest.mark.parametrize("suffix", [".safetensors", ".keras"])
def test_weights_of_images_scaled_otherwise_are_refused(tmp_path, suffix):
    """Every tensor would match, and the images would be wrong."""
    path = tmp_path / f"model{suffix}"
    bottleneck: dict[str, Any] = {"image_size": SIZE, "num_classes": 3, "widths": WIDTHS}
    keras_own = build_model("resnet50", **bottleneck, stride_placement="v1")
    torch_own = build_model("resnet50", **bottleneck)
    target, before = torch_own, snapshot(torch_own)
    if suffix == ".keras":
        keras_own.save(path)
    else:
        save_file(torch_state(torch_own), path)
        target, before = keras_own, snapshot(keras_own)
    with pytest.raises(UserError, match=r"scaled as '(caffe|imagenet)'.*stride_placement"):
        load_weights(target, str(path), name="resnet50")
    for one, other in zip(before, snapshot(target), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_of_keras_resnets_has_the_scaling_of_caffe(tmp_path):
    for name, expected in (("conv1_conv", "caffe"), ("block1_conv1", None)):
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [name.encode()]
            file.create_group(name).attrs["weight_names"] = [b"kernel"]
            file[name]["kernel"] = np.zeros((3, 3, 3, 4), "float32")
        assert read_weight_file(path).scale == expected


@pytest.mark.parametrize(
    ("names", "scale"),
    [
        (("conv1.weight", "fc.bias"), "imagenet"),
        (("module.features.0.weight",), "imagenet"),
        (("_conv_stem.weight", "_fc.bias"), "mean_127"),
        (("_conv_stem.weight", "_blocks.0._se_reduce.weight"), "imagenet"),
        (("stem.weight",), None),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_names_of_modules_tell_how_images_were_scaled(tmp_path, names, scale, suffix):
    path, state = tmp_path / f"a{suffix}", {name: np.zeros(3, "f4") for name in names}
    save_file(state, path) if suffix == ".safetensors" else save_state(path, state)
    assert read_weight_file(path).scale == scale


def test_weights_of_another_color_space_are_refused(tmp_path):
    small(color_space="hsv").save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="scaled as 'otherwise'"):
        load_weights(small(), str(tmp_path), name="resnet10")


def test_a_legacy_h5_file_is_read_by_name(tmp_path):
    source, target = small(classes=5, seed=1), small(classes=5, seed=2)
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        layers = [layer for layer in source.layers if layer.weights]
        names = ["predictions" if x.name == "logits" else x.name for x in layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name, layer in zip(names, layers, strict=True):
            group = file.create_group(name)
            group.attrs["weight_names"] = [w.path.encode() for w in layer.weights]
            for weight in layer.weights:
                group[weight.path] = keras.ops.convert_to_numpy(weight)
    report = load_weights(target, str(path), name="resnet10")
    assert report.matched == report.total
    np.testing.assert_array_equal(logits(target), logits(source))


def test_a_bias_before_batch_norm_goes_into_the_moving_mean():
    kernel, bias = np.ones((1, 1, 2, 3)), np.array([1.0, 2.0, 3.0])
    gamma, beta, mean, variance = np.array([[1, 1, 1], [0, 0, 0], [5, 5, 5], [2, 2, 2]], float)
    found = from_keras_resnet(
        {
            "conv1_conv": [kernel, bias],
            "conv1_bn": [gamma, beta, mean, variance],
            "conv3_block1_0_conv": [kernel, bias],
            "conv3_block1_0_bn": [gamma, beta, mean, variance],
            "conv3_block2_3_bn": [gamma, beta, mean, variance],
            "conv3_block2_3_conv": [kernel, bias],
            "predictions": [kernel[0, 0], bias],
        }
    )
    assert set(found) == {
        "conv1",
        "bn1",
        "layer2_0_downsample_0",
        "layer2_0_downsample_1",
        "layer2_1_conv3",
        "layer2_1_bn3",
        "logits",
    }
    np.testing.assert_array_equal(found["bn1"][2], [4, 3, 2])
    assert len(found["conv1"]) == 1


def test_names_do_not_depend_on_the_process():
    names = ["conv2d_11", "conv2d_9", "conv2d_10", "mixed0", "batch_normalization"]
    assert count_from_zero(names) == {
        "conv2d_9": "conv2d",
        "conv2d_10": "conv2d_1",
        "conv2d_11": "conv2d_2",
        "batch_normalization": "batch_normalization",
    }
    assert snake_case("DepthwiseConv2D") == "depthwise_conv2d"
    assert snake_case("BatchNorm") == "batch_norm"


class Answer(io.BytesIO):
    """What a server sends."""

    def __init__(self, content):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content))}


class TestImageNet:
    """Published files, with the network replaced by bytes of ours."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        return tmp_path / "models"

    def publish(self, monkeypatch, content, checksum=None):
        digest = hashlib.sha256(content).hexdigest()
        file = imagenet.Published(
            "https://example.org/net.safetensors", "imagenet", "sha256", (checksum or digest)[:8]
        )
        monkeypatch.setitem(imagenet.PUBLISHED, "resnet10", [file])

        answer = Answer(content)
        monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: answer)

    def test_a_file_is_fetched_once(self, tmp_path, monkeypatch, home):
        source, target = small(seed=1), small(seed=2)
        save_file(torch_state(source), tmp_path / "x.safetensors")
        self.publish(monkeypatch, (tmp_path / "x.safetensors").read_bytes())
        load_weights(target, "imagenet", name="resnet10")
        np.testing.assert_array_equal(logits(target), logits(source))
        monkeypatch.setattr(urllib.request, "urlopen", None)
        load_weights(target, "imagenet", name="resnet10")
        assert [path.name for path in home.iterdir()] == ["net.safetensors"]

    def test_without_network_it_says_what_to_fetch_and_where_to_put_it(self, monkeypatch, home):
        def no_network(*_, **__):
            raise urllib.error.URLError("Name or service not known")

        monkeypatch.setattr(urllib.request, "urlopen", no_network)
        model = build_model("resnet18", image_size=SIZE, num_classes=2, widths=WIDTHS)
        with pytest.raises(UserError) as caught:
            load_weights(model, "imagenet", name="resnet18")
        message = str(caught.value)
        assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in message
        assert str(home / "resnet18-f37072fd.pth") in message
        assert "\n" not in message
        assert not list(home.glob("*"))

    def test_a_wrong_checksum_is_refused_and_not_kept(self, monkeypatch, home):
        self.publish(monkeypatch, b"something else", checksum="0" * 64)
        with pytest.raises(UserError, match="has not the sha256 00000000"):
            load_weights(small(), "imagenet", name="resnet10")
        assert not list(home.glob("*"))
        (home / "net.safetensors").write_bytes(b"torn")
        with pytest.raises(UserError, match="delete it"):
            load_weights(small(), "imagenet", name="resnet10")

    def test_a_network_without_published_weights_names_those_with(self):
        with pytest.raises(UserError, match=r"no ImageNet weights for 'resnet10'; .*resnet18"):
            load_weights(small(), "imagenet", name="resnet10")

    def test_another_color_space_is_refused(self):
        model = build_model("resnet18", image_size=SIZE, num_classes=2, color_space="hsv")
        with pytest.raises(UserError, match="color_space=rgb"):
            load_weights(model, "imagenet", name="resnet18")

    @pytest.mark.parametrize(
        ("placement", "classes", "file"),
        [
            ("v1.5", 7, "resnet50-0676ba61.pth"),
            ("v1", 7, "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
            ("v1", 1000, "resnet50_weights_tf_dim_ordering_tf_kernels.h5"),
        ],
    )
    def test_the_file_fits_the_networks_scaling_and_classes(self, placement, classes, file):
        model = build_model(
            "resnet50",
            image_size=SIZE,
            num_classes=classes,
            widths=WIDTHS,
            stride_placement=placement,
        )
        published = imagenet.choose_imagenet(model, "resnet50")
        assert published.name == file
        assert published.scale == model.get_layer("scale").mode

    def test_addresses_and_checksums_are_those_of_keras(self):
        from keras.src.applications import efficientnet_v2, resnet

        for depth in (50, 101, 152):
            files = [f for f in imagenet.PUBLISHED[f"resnet{depth}"] if f.algorithm == "md5"]
            assert tuple(f.checksum for f in files) == resnet.WEIGHTS_HASHES[f"resnet{depth}"]
        for size in "sml":
            files = imagenet.PUBLISHED[f"efficientnet_v2_{size}"]
            assert tuple(f.checksum for f in files) == efficientnet_v2.WEIGHTS_HASHES[f"-{size}"]
            assert files[0].url.startswith(efficientnet_v2.BASE_WEIGHTS_PATH)


RANGES = {
    "lenet": (-1, 1),
    "alexnet": (-2.12, 2.64),
    "vgg16": (-123.68, 151.061),
    "googlenet": (-2.12, 2.64),
    "resnet10": (-2.12, 2.64),
    "resnext50": (-2.12, 2.64),
    "inception_v3": (-1, 1),
    "efficientnet_lite0": (-0.9922, 1),
    "efficientnet_v2_s": (-1, 0.9922),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in ("resnext50", "efficientnet_v2_s") else ())
        for n in RANGES
    ],
)
def test_what_the_first_convolution_sees(name):
    arguments: dict[str, Any] = {"head_units": (2,)} if name in ("alexnet", "vgg16") else {}
    model = build_model(name, image_size=(75, 75), num_classes=2, **arguments)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    image = np.linspace(0, 255, 75 * 75 * 3).reshape(1, 75, 75, 3).astype("float32")
    seen = keras.ops.convert_to_numpy(keras.Model(model.input, first.input)(image))
    if "pad" in first.input._keras_history.operation.name:
        seen = seen[:, 3:-3, 3:-3]
    low, high = RANGES[name]
    assert seen.min() == pytest.approx(low, abs=0.1)
    assert seen.max() == pytest.approx(high, abs=0.1)
    scales = [x for x in model.layers if isinstance(x, Scale | keras.layers.Rescaling)]
    assert len(scales) == (0 if name == "lenet" else 1)


@pytest.mark.slow
def test_the_shared_inception_weights_equal_keras():
    from tests.conftest import SHARED

    path = SHARED.parent / "weights" / "inception_v3_notop.weights.h5"
    if not path.is_file():
        pytest.skip("the shared InceptionV3 weights (../shared/weights) are not here")
    model = build_model("inception_v3", image_size=(75, 75), num_classes=3)
    report = load_weights(model, str(path), name="inception_v3")
    assert (report.matched, report.total, report.fresh) == (376, 378, ("logits",))
    reference = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(75, 75, 3), pooling="avg"
    )
    reference.load_weights(path)
    images = np.random.default_rng(0).uniform(0, 255, (2, 75, 75, 3)).astype("float32")
    features = keras.Model(model.input, model.get_layer("pool").output)
    np.testing.assert_allclose(
        features.predict(images, verbose=0),
        reference.predict(images / 127.5 - 1, verbose=0),
        atol=1e-4,
    )

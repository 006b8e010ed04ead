"""Published ImageNet weights: which file, from where, with which checksum."""

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from tfskin.errors import UserError
from tfskin.files import replace_file
from tfskin.layers.scaling import Scale, ScaleMode
from tfskin.models.packaged import PACKAGED
from tfskin.progress import progress_bar

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
TORCH = "https://download.pytorch.org/models"
CHUNK = 1 << 20
TIMEOUT = 60


@dataclass(frozen=True)
class Published:
    """A published file of weights.

    Attributes:
        url: where it is.
        scale: the range of the images that it was trained on.
        algorithm: of the checksum.
        checksum: hexadecimal digits; PyTorch publishes the first eight.
        classes: of its head; none where it has no head.
    """

    url: str
    scale: ScaleMode
    algorithm: Literal["md5", "sha256"]
    checksum: str
    classes: int | None = 1000

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


def _keras(path: str, whole: str, headless: str, scale: ScaleMode, tail: str) -> list[Published]:
    """Keras's pair of files: with its head, and without."""
    middle = "_weights_tf_dim_ordering_tf_kernels" if tail else ""
    return [
        Published(f"{KERAS}/{path}{middle}.h5", scale, "md5", whole),
        Published(f"{KERAS}/{path}{middle}{tail or '_notop'}.h5", scale, "md5", headless, None),
    ]


def _torch(file: str) -> list[Published]:
    checksum = file.rpartition("-")[2].removesuffix(".pth")
    return [Published(f"{TORCH}/{file}", "imagenet", "sha256", checksum)]


# Keras: the addresses and MD5 sums in keras.applications. PyTorch: torchvision's first weights
# (IMAGENET1K_V1), whose names end in the first digits of their SHA-256.
PUBLISHED: dict[str, list[Published]] = {
    "alexnet": _torch("alexnet-owt-7be5be79.pth"),
    "vgg16": _keras(
        "vgg16/vgg16",
        "64373286793e3c8b2b4e3219cbf3544b",
        "6d6bbae143d832006294945121d1f1fc",
        "caffe",
        "_notop",
    ),
    "vgg19": _keras(
        "vgg19/vgg19",
        "cbe5617147190e668d6c5d5026f83318",
        "253f8cb515780f3b799900260a226db6",
        "caffe",
        "_notop",
    ),
    "resnet18": _torch("resnet18-f37072fd.pth"),
    "resnet34": _torch("resnet34-b627a593.pth"),
    "resnet50": _torch("resnet50-0676ba61.pth")
    + _keras(
        "resnet/resnet50",
        "2cb95161c43110f7111970584f804107",
        "4d473c1dd8becc155b73f8504c6f6626",
        "caffe",
        "_notop",
    ),
    "resnet101": _torch("resnet101-63fe2227.pth")
    + _keras(
        "resnet/resnet101",
        "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        "88cf7a10940856eca736dc7b7e228a21",
        "caffe",
        "_notop",
    ),
    "resnet152": _torch("resnet152-394f9c45.pth")
    + _keras(
        "resnet/resnet152",
        "100835be76be38e30d865e96f2aaae62",
        "ee4c566cf9a93f14d82f913c2dc6dd0c",
        "caffe",
        "_notop",
    ),
    "resnext50": _torch("resnext50_32x4d-7cdf4587.pth"),
    "resnext101": _torch("resnext101_32x8d-8ba56ff5.pth"),
    "inception_v3": _keras(
        "inception_v3/inception_v3",
        "9a0d58056eeedaa3f26cb7ebd46da564",
        "bcbd6486424b2319ff4ef7d526e38f63",
        "minus_one_one",
        "_notop",
    ),
    "efficientnet_v2_s": _keras(
        "efficientnet_v2/efficientnetv2-s",
        "e1d88a8495beba45748fedd0cecbe016",
        "af0682fb74e8c54910f2d4393339c070",
        "minus_one_below_one",
        "",
    ),
    "efficientnet_v2_m": _keras(
        "efficientnet_v2/efficientnetv2-m",
        "a3bf6aa3276309f4fc6a34aa114c95cd",
        "1b8dc055df72dde80d614482840fe342",
        "minus_one_below_one",
        "",
    ),
    "efficientnet_v2_l": _keras(
        "efficientnet_v2/efficientnetv2-l",
        "27e6d408b53c7ebc868fefa357689935",
        "b0b66b5c863aef5b46e8608fe1711615",
        "minus_one_below_one",
        "",
    ),
}


def cache_folder() -> Path:
    """Where files of weights are kept: ``~/.keras/models`` (``KERAS_HOME``), as Keras does."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def fetch_imagenet(model: keras.Model, name: str) -> Path:
    """The local file of a network's ImageNet weights, downloaded unless it is there.

    The file is the one that was trained with the range of images that the model's own first layer
    makes, so scaling can't be forgotten or doubled; with its head only where the model has 1,000
    classes. It lies in ``~/.keras/models`` (``KERAS_HOME``), where Keras itself looks, and its
    checksum is compared each time.

    Raises:
        UserError: no weights for this network, a colour space other than RGB, no connection, or
            a file whose checksum is wrong. The message says which file to fetch and where to put
            it.
    """
    published = choose_imagenet(model, name)
    path = cache_folder() / published.name
    if path.is_file():
        if not _checksum_fits(path, published):
            raise UserError(
                f"{path}: its {published.algorithm} is not {published.checksum}...: delete it, "
                f"and it is downloaded again from {published.url}"
            )
        return path
    try:
        _download(published, path)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"model.weights: {published.url} cannot be downloaded ({reason}); fetch it where "
            f"there is a connection and put it at {path} ({published.algorithm} "
            f"{published.checksum}), or give another model.weights"
        ) from None
    return path


def choose_imagenet(model: keras.Model, name: str) -> Published:
    """The published file that fits the model's scaling and number of classes."""
    if name not in PUBLISHED:
        raise UserError(
            f"model.weights: there are no ImageNet weights for '{name}'; there are for "
            f"{', '.join([*PACKAGED, *PUBLISHED])}"
        )
    scale = scale_of_rgb(model)
    fitting = [file for file in PUBLISHED[name] if file.scale == scale]
    classes = model.output_shape[-1]
    headless = [file for file in fitting if file.classes is None]
    return headless[0] if headless and classes != fitting[0].classes else fitting[0]


def scale_of_rgb(model: keras.Model) -> str:
    """The mode of the layer that scales the network's RGB images.

    Raises:
        UserError: the network sees another colour space.
    """
    scales = [layer.mode for layer in model.layers if isinstance(layer, Scale)]
    if not scales:
        raise UserError(
            "model.weights: ImageNet weights were trained on RGB; set model.color_space=rgb"
        )
    return scales[0]


def _download(published: Published, path: Path) -> None:
    with (
        replace_file(path) as temporary,
        urllib.request.urlopen(published.url, timeout=TIMEOUT) as answer,
        temporary.open("wb") as file,
    ):
        size = int(answer.headers.get("Content-Length") or 0)
        with progress_bar(published.name, total=size or None, unit="bytes") as advance:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                advance(len(chunk))
        file.flush()
        if not _checksum_fits(temporary, published):
            raise UserError(
                f"{published.url}: what was downloaded has not the {published.algorithm} "
                f"{published.checksum}; try again, or put the right file at {path}"
            )


def _checksum_fits(path: Path, published: Published) -> bool:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, published.algorithm).hexdigest()
    return digest.startswith(published.checksum)

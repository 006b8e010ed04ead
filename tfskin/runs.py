"""A run is a directory: what lies where in it, reading and writing."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfskin.errors import UserError, shorten
from tfskin.extensions import import_module
from tfskin.files import hidden_name, read_json, write_json
from tfskin.locks import only_writer
from tfskin.schema import Resize, WindowConfig

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from tfskin.evaluation.decision import Decision

SCHEMA_VERSION = 2

_ABOUT = ("python", "packages", "commit", "processor", "cpus", "seed")
"""What every version wrote into ``environment.json``."""

HELD_OUT_FILE = "held_out.npy"
"""In a run by stacking: (N, C) log-probabilities of calibration, each image's by a fit that has
not seen its group."""


Side = Annotated[int, Field(ge=1, le=4096)]


class RunInputs(BaseModel):
    """What a run's model is fed, whether one network or an ensemble (``inputs.json``).

    Attributes:
        shards: folder of the shards it was trained on.
        fingerprint: content fingerprint of those shards.
        classes: class -> diagnoses, as in the config.
        image_size: height and width in pixels.
        resize: how an image is brought to that size.
        exclude: artefacts whose images were left out.
        fold: which fold was val, where the shards hold folds.
        windows: the windows of the stored images that the model was trained on; None: the whole.
        max_side: the size cap of those images in pixels; None in runs that did not note it.
        order: digest of the order of the records that it was trained on; None for an ensemble,
            and in runs that did not note it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: str
    fingerprint: str
    classes: dict[str, list[str]] | None
    image_size: tuple[Side, Side]
    resize: Resize
    exclude: tuple[str, ...] = ()
    fold: int | None = None
    windows: WindowConfig | None = None
    max_side: int | None = Field(default=None, ge=1)
    order: str | None = None


@dataclass(frozen=True)
class Run:
    """A run directory. Its layout is the same for one network and for an ensemble.

    Attributes:
        folder: where it lies.
        destination: where it will lie once it is whole; None for one that lies there already.
    """

    folder: Path
    destination: Path | None = None

    @property
    def home(self) -> Path:
        """The folder that reports name."""
        return self.destination or self.folder

    @property
    def name(self) -> str:
        """The name of that folder."""
        return self.home.resolve().name

    @property
    def model_path(self) -> Path:
        """Where the best weights are."""
        return self.folder / "model.keras"

    @property
    def finished(self) -> bool:
        """Whether training came to its end.

        The figures of one that was stopped may be there (``tfskin-evaluate``), but say nothing of
        its training.
        """
        path = self.folder / "metrics.json"
        if not path.is_file() or not self.model_path.is_file():
            return False
        try:
            metrics = read_json(path)
        except ValueError:
            return True  # whoever reads the figures says that they are no JSON
        return not isinstance(metrics, dict) or bool({"training", "members"} & set(metrics))

    def class_names(self) -> list[str]:
        """Index -> class."""
        names = self._json("class_names.json")
        is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not is_list or not names or len(set(names)) < len(names):
            raise UserError(
                f"{self.folder / 'class_names.json'}: must be a list of class names, each once"
            )
        return names

    def inputs(self) -> RunInputs:
        """What the model is fed."""
        path = self.folder / "inputs.json"
        try:
            # Of JSON text, in which a list may stand for a tuple though types are strict.
            text = json.dumps(self._json("inputs.json"))
            inputs = RunInputs.model_validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the file"
            raise UserError(
                shorten(f"{path}: {key}: {first['msg']}", 300) + "; train the run again"
            ) from None
        if inputs.classes is not None and list(inputs.classes) != self.class_names():
            raise UserError(
                f"{path}: its classes are not those of class_names.json; train the run again"
            )
        return inputs

    def decision(self, *, before_evaluation: bool = False) -> "Decision":
        """What is done with the model's logits; temperature 1 where nothing was fitted.

        Args:
            before_evaluation: only what training or ensembling wrote, whatever is wrong with what
                evaluation added.

        Raises:
            UserError: ``decision.json`` does not have the form of docs/metrics-schema.md.
        """
        from tfskin.evaluation.decision import parse_decision

        path = self.folder / "decision.json"
        values = {"temperature": 1.0, "split": None}
        if path.is_file():
            values = self._json(path.name)
        return parse_decision(
            values, self.class_names(), source=str(path), before_evaluation=before_evaluation
        )

    def metrics(self) -> dict[str, Any]:
        """Every figure with its interval."""
        metrics = self._json("metrics.json")
        if not isinstance(metrics, dict) or not {"splits", "model"} <= set(metrics):
            raise UserError(
                f"{self.folder / 'metrics.json'}: holds no figures; delete it, and the command "
                "that made the run writes it again"
            )
        return metrics

    def predictions(self, split: str) -> "pd.DataFrame":
        """The table of a split's predictions: ids, group, label, one probability per class."""
        import pandas as pd

        path = self.folder / "predictions" / f"{split}.csv"
        text = dict.fromkeys(("image_id", "lesion_id", "patient_id", "label"), str)
        return pd.read_csv(path, dtype=text, keep_default_na=False)

    def imports(self) -> list[str]:
        """The modules that define layers of a user's own network, which loading it may need."""
        found = self.environment().get("imports", [])
        return [module for module in found if isinstance(module, str)]

    def environment(self) -> dict[str, Any]:
        """What ``environment.json`` holds; nothing where it is missing."""
        path = self.folder / "environment.json"
        values = self._json(path.name) if path.is_file() else {}
        if not isinstance(values, dict):
            raise UserError(f"{path}: must hold an object; delete it, or train the run again")
        lacking = [key for key in _ABOUT if values and key not in values]
        if lacking or not isinstance(values.get("packages", {}), dict):
            raise UserError(
                f"{path}: has no '{(lacking or ['packages'])[0]}' as it was written; delete it, or "
                "train the run again"
            )
        return values

    def load_model(self) -> "keras.Model":
        """The Keras model: RGB 0..255 in, logits out."""
        import keras

        if not self.model_path.is_file():
            raise UserError(f"{self.folder}: no model.keras yet; train it first (tfskin-train)")
        missing = [reason for module in self.imports() if (reason := _import_own(module))]
        try:
            model = keras.saving.load_model(self.model_path, compile=False)
        except Exception as error:  # a damaged file fails in every layer of the format
            reason = (missing or str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{self.model_path}: cannot be loaded: {reason}") from None
        if model.output_shape[-1] != len(self.class_names()):
            raise UserError(
                f"{self.folder}: the model has {model.output_shape[-1]} outputs, but "
                f"class_names.json names {len(self.class_names())} classes"
            )
        wanted = (*self.inputs().image_size, 3)
        given = tuple(model.input_shape[1:]) if isinstance(model.input_shape, tuple) else ()
        if len(given) != 3 or any(a not in (None, b) for a, b in zip(given, wanted, strict=True)):
            raise UserError(
                f"{self.folder}: the model takes images of {given}, but inputs.json says "
                f"{wanted}; put back the files of one run, or train it again"
            )
        if name := first_not_finite(model):
            raise UserError(
                f"{self.model_path}: {name} is no number (NaN or infinity), so what it says means "
                "nothing; train the run again, with a lower train.learning_rate or "
                "train.precision=float32"
            )
        return model

    def _json(self, name: str) -> Any:
        path = self.folder / name
        try:
            return read_json(path)
        except FileNotFoundError:
            raise UserError(f"{self.folder}: not a run: it has no {name}") from None
        except ValueError as error:
            raise UserError(f"{path}: not JSON: {error}") from None


def first_not_finite(model: "keras.Model") -> str:
    """The path of the first variable that holds NaN or infinity; "" where none does."""
    import keras
    import numpy as np

    for variable in model.variables:
        value = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
        if not np.isfinite(value).all():
            return str(variable.path)
    return ""


def _import_own(module: str) -> str | None:
    """Import a module of the user's; what is wrong and what to do, where that fails."""
    try:
        import_module(module)
    except Exception as error:  # whatever the user's module does
        return (
            f"its layers are defined in '{module}', which cannot be imported ({error}); install "
            "the package that holds it, or run the command in the folder that it lies in"
        )
    return None


@contextmanager
def only_trainer(folder: Path, *, overwrite: bool = False) -> Iterator[None]:
    """Hold a run directory for this process, made or, with ``overwrite``, emptied before.

    Raises:
        UserError: another process has it; ``overwrite`` and not a run.
    """
    with only_writer(folder, nested=True):
        shutil.rmtree(_doomed(folder), ignore_errors=True)  # of a killed deletion
        if overwrite:
            remove_run(folder)
        folder.mkdir(parents=True, exist_ok=True)
        yield


def remove_run(folder: Path) -> None:
    """Delete a run directory, and nothing else; see :func:`check_removable`."""
    check_removable(folder)
    if folder.exists():
        # A killed deletion must not leave half a run under its name.
        doomed = _doomed(folder)
        if doomed.exists():
            shutil.rmtree(doomed)
        folder.replace(doomed)
        shutil.rmtree(doomed)


def _doomed(folder: Path) -> Path:
    return folder.with_name(f".removing-{hidden_name(folder)}")


def check_removable(folder: Path) -> None:
    """Refuse to delete what is not a run directory.

    Raises:
        UserError: the folder holds something that is not a run, or is a link.
    """
    if not folder.exists():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder}: is a link or a file; --overwrite replaces run directories only")
    if any(folder.iterdir()) and not (folder / "inputs.json").is_file():
        raise UserError(
            f"{folder}: is not a run, so --overwrite leaves it; choose another --output"
        )


def open_run(folder: Path | str) -> Run:
    """The run in ``folder``.

    Raises:
        UserError: the folder is missing, or not a run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run; tfskin-train writes runs/<name>")
    if not (folder / "inputs.json").is_file():
        raise UserError(
            f"{folder}: not a run: it has no inputs.json; name a folder that tfskin-train or "
            "tfskin-ensemble wrote"
        )
    return Run(folder)


def write_environment(run: Run, *, seed: int, fingerprint: str, more: dict[str, Any]) -> None:
    """Write ``environment.json``: versions, commit, hardware, seed, fingerprint of the shards."""
    packages = ("tfskin", "tensorflow", "keras", "tensorflow-datasets", "numpy", "scikit-learn")
    write_json(
        run.folder / "environment.json",
        {
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in packages},
            "commit": _commit(),
            "platform": platform.platform(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "seed": seed,
            "shards_fingerprint": fingerprint,
            **more,
        },
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that tfskin runs from; none for an installed wheel."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _processor() -> str:
    """The processor's name; :func:`platform.processor` is empty on most Linux systems."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

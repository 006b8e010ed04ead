"""What stands around a model's versions: how a server is started, and how it is asked."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from tfskin.errors import UserError
from tfskin.files import write_text
from tfskin.locks import only_writer
from tfskin.serving.warm_up import BATCH_SIZES

MODELS_FILE = "models.config"
BATCHING_FILE = "batching.config"
_MOMENT = 60.0
"""Seconds that another export may take to add its line."""

_README = """# {name}

A skin-lesion classifier for TensorFlow Serving. It is research software and **not a medical
device**. Each version is a folder with a number; what it was trained on, how well it does and
whose images are in it stands in `<version>/assets.extra/MODEL_CARD.md` and `LICENSES.md` there.

Classes: {classes}.

## Start a server

From the folder that holds `{models_file}`, which is the one above this:

```
docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD:/models:ro" tensorflow/serving \\
    --model_config_file=/models/{models_file} \\
    --enable_batching=true --batching_parameters_file=/models/{batching_file}
```

It is ready, and warmed up, when this says `AVAILABLE`:

```
curl http://localhost:8501/v1/models/{name}
```

## Ask it

An image is sent as it is: JPEG, PNG, GIF or uncompressed BMP, of any size up to {megapixels}
megapixels, and a side of at most 20 times the other.

```
curl -d @{name}/request.json http://localhost:8501/v1/models/{name}:predict

printf '{{"instances": [{{"b64": "%s"}}]}}' "$(base64 < lesion.jpg | tr -d '\\n')" |
    curl -d @- http://localhost:8501/v1/models/{name}:predict
```

Other signatures are asked with `"signature_name"` beside `"instances"`: {signatures}.
`images` and `images_uint8` take RGB arrays in 0..255 in place of files; a server that batches
needs them to be of one size.

With tfskin:

```
tfskin-predict http://localhost:8501/v1/models/{name} images/ --output predictions.csv
tfskin-predict grpc://localhost:8500/{name} images/ --output predictions.csv
```

## What it says

One row an image. A file that cannot be read harms no other: its row says `valid` false, `reason`
why, and holds zeros.

{outputs}
"""

_MEANINGS = {
    "probabilities": "one a class, in the order of `class_names`",
    "class_names": "the same in every row; also in `<version>/assets/class_names.txt`",
    "top_probabilities": "of the most probable classes, highest first",
    "top_indices": "their places in `class_names`",
    "top_names": "their names",
    "entropy": "-sum p log p in nats: 0 where the model is sure, at most log(classes)",
    "malignancy": "sum of the probabilities of {malignant}",
    "operating_points": "names of the thresholds on `malignancy`",
    "is_malignant": "whether `malignancy` reaches each of them",
    "prediction_set": "the classes that cannot be ruled out at {coverage} coverage; an empty set "
    "says that the image is unlike those of every class",
    "member_probabilities": "of each member of the ensemble, before they are combined",
    "member_names": "their names",
    "model_version": "the number of the version that answered",
    "valid": "whether the file could be read",
    "reason": "why not",
}


def write_surroundings(
    output_dir: Path, name: str, *, description: dict, outputs: Sequence[str], example: bytes
) -> None:
    """Write what a server of all models in ``output_dir`` needs, and this model's ``README.md``.

    ``models.config`` gets an entry for the model unless it has one; ``batching.config`` is
    written where it is missing. What was changed by hand stays.

    Args:
        output_dir: the folder of all models.
        name: of the model.
        description: as ``export.json`` holds it.
        outputs: of the signature ``serving_default``.
        example: an encoded image for ``request.json``.
    """
    with only_writer(output_dir / MODELS_FILE, wait=_MOMENT):  # exports of all names share it
        add_model(output_dir / MODELS_FILE, name)
        batching = output_dir / BATCHING_FILE
        if not batching.exists():
            write_text(batching, _batching_config())
    instance = {"b64": base64.b64encode(example).decode()}
    write_text(output_dir / name / "request.json", json.dumps({"instances": [instance]}) + "\n")
    others = [f"`{other}`" for other in description["signatures"] if other != "serving_default"]
    text = _README.format(
        name=name,
        classes=", ".join(description["class_names"]),
        models_file=MODELS_FILE,
        batching_file=BATCHING_FILE,
        megapixels=description["max_pixels"] // 1_000_000,
        signatures=", ".join(others),
        outputs=_describe_outputs(outputs, description),
    )
    write_text(output_dir / name / "README.md", text)


def add_model(path: Path, name: str) -> None:
    """Give a server's list of models an entry for ``/models/<name>``, unless it has one.

    Raises:
        UserError: the file is no such list.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else "model_config_list {\n}\n"
    if name in list_models(path):
        return
    entry = (
        f'  config {{\n    name: "{name}"\n    base_path: "/models/{name}"\n'
        '    model_platform: "tensorflow"\n  }\n'
    )
    head, brace, tail = text.rpartition("}")
    write_text(path, head + entry + brace + tail)


def list_models(path: Path) -> list[str]:
    """The names in a server's list of models; none where the file is missing.

    Raises:
        UserError: the file is no such list.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError, OSError) as error:
        raise UserError(
            f"{path}: is no list of models ({error}); mend it, or delete it to have it written anew"
        ) from None
    return [entry.name for entry in config.model_config_list.config]


def _batching_config() -> str:
    """Batches of at most the largest size that the warm-up runs; threads: one a core."""
    sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in BATCH_SIZES)
    return (
        f"max_batch_size {{ value: {BATCH_SIZES[-1]} }}\n"
        "batch_timeout_micros { value: 2000 }\n"
        "max_enqueued_batches { value: 100 }\n"
    ) + sizes


def _describe_outputs(outputs: Sequence[str], description: dict) -> str:
    words = {
        "malignant": " + ".join(description["malignant"]),
        "coverage": f"{description['conformal_coverage'] or 0:.0%}".replace("%", " %"),
    }
    known = [name for name in _MEANINGS if name in outputs]
    return "\n".join(f"- `{name}`: {_MEANINGS[name].format(**words)}." for name in known)

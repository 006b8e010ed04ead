"""The rules of the house: who may import TensorFlow, and which way imports point."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tfskin"

# A room may import the rooms above it and itself; rooms on one line stand side by side and may
# import one another.
ORDER = [
    {"config", "errors", "extensions", "files", "locks", "options", "progress", "runs", "schema"}
    | {"startup", "threads"},
    {"datasets"},
    {"inputs"},
    {"layers"},
    {"models"},
    {"training"},
    {"testing"},
    {"evaluation"},
    {"ensembling"},
    {"serving"},
    {"prediction"},
    {"annotation"},
    {"experiment"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
DATA_SIDE = {"datasets", "inputs"}
MODEL_SIDE = {"layers", "models", "training"}
PLAIN_ARGUMENTS = {"layers", "models"}

TENSORFLOW = {"tensorflow", "tensorflow_datasets"}
TENSORFLOW_ROOMS = {"datasets", "inputs", "serving", "prediction"}
TENSORFLOW_FILES = {
    "training/distribution.py",  # speaks to tf.distribute
    "evaluation/explanations.py",  # Keras has no backend-neutral gradient
    "startup.py",  # imports it first, to silence it, and uses nothing of it
}
# A run hands out its decision as the type that evaluation made; only that function imports it.
DOWNWARD = {("runs.py", "evaluation")}
# It hands out the functions of every room, when they are first asked for.
DOOR = "tfskin"


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(tree: ast.AST, file: Path) -> Iterator[tuple[int, str]]:
    """``(line, module)`` of every import, late ones and those by name included.

    ``from tfskin import config`` is the module ``tfskin.config``; relative imports are resolved.
    """
    package = ("tfskin", *file.parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "tfskin":
                for alias in node.names:
                    yield node.lineno, f"tfskin.{alias.name}"
            else:
                yield node.lineno, module
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
            argument = node.args[0]
            if name in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield node.lineno, str(argument.value)


def module_of(file: Path) -> str:
    parts = ["tfskin", *file.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(sources: dict[Path, str]) -> dict[str, set[str]]:
    """Module -> modules of the package that its file imports, late or for types alone too."""
    known = {module_of(file) for file in sources}
    graph: dict[str, set[str]] = {module: set() for module in known}
    for file, source in sources.items():
        here = module_of(file)
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
                continue
            for _, module in imports(node, file):
                names = [alias.name for alias in getattr(node, "names", ())]
                inner = {f"{module}.{name}" for name in names} & known
                graph[here] |= inner or ({module} & known)
        graph[here].discard(here)
    graph[DOOR] = set()
    return graph


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = {
        path.relative_to(PACKAGE): path.read_text(encoding="utf-8") for path in package_files()
    }
    try:
        list(TopologicalSorter(import_graph(files)).static_order())
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize(
    "imported",
    [
        "from tfskin.datasets import splits",
        "from .splits import make_splits",
        "if TYPE_CHECKING:\n  from tfskin.datasets.splits import x",
        "def f():\n  import tfskin.datasets.splits",
    ],
)
def test_a_circle_is_seen(imported: str) -> None:
    files = {
        Path("__init__.py"): "from tfskin.datasets.splits import x",
        Path("datasets/__init__.py"): "",
        Path("datasets/splits.py"): "from tfskin.datasets.folds import y",
        Path("datasets/folds.py"): imported,
    }
    with pytest.raises(CycleError):
        list(TopologicalSorter(import_graph(files)).static_order())
    files[Path("datasets/folds.py")] = "from tfskin import __version__"
    list(TopologicalSorter(import_graph(files)).static_order())


def faults(source: str, file: Path) -> list[str]:
    """One sentence for each broken rule in a file; ``file`` is relative to the package."""
    room = file.parts[0].removesuffix(".py")
    if room == "__init__":
        return []  # it hands out the public functions of every room
    if room not in RANK:
        return [f"tfskin/{file}:1: the room '{room}' has no place in the order, give it one here"]
    found = []
    for line, module in imports(ast.parse(source), file):
        reason = _tensorflow_fault(module, room, file) or _direction_fault(module, room, file)
        if reason:
            found.append(f"tfskin/{file}:{line}: {reason}")
    return found


def _tensorflow_fault(module: str, room: str, file: Path) -> str | None:
    if module.split(".")[0] not in TENSORFLOW:
        return None
    if room in TENSORFLOW_ROOMS or file.as_posix() in TENSORFLOW_FILES:
        return None
    return f"imports {module}, which only {', '.join(sorted(TENSORFLOW_ROOMS))} may"


def _direction_fault(module: str, room: str, file: Path) -> str | None:
    parts = module.split(".")
    if parts[0] != "tfskin" or len(parts) == 1:
        return None
    other = parts[1]
    if other not in RANK:
        # `from tfskin import __version__` names no module.
        unknown = (PACKAGE / other).is_dir() or (PACKAGE / f"{other}.py").is_file()
        return f"imports {module}, a room without a place in the order" if unknown else None
    if (file.as_posix(), other) in DOWNWARD:
        return None
    if RANK[other] > RANK[room]:
        return f"imports {module}, but {room} stands above {other}: imports point up only"
    if (room in DATA_SIDE and other in MODEL_SIDE) or (room in MODEL_SIDE and other in DATA_SIDE):
        return f"imports {module}, but data side and model side do not import each other"
    if room in PLAIN_ARGUMENTS and other in ("config", "schema", "runs"):
        return f"imports {module}, but {room} takes plain arguments"
    return None


@pytest.mark.parametrize("path", package_files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_follow_the_rules(path: Path) -> None:
    found = faults(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE))
    assert not found, "\n" + "\n".join(found)


def test_no_room_is_named_like_a_public_function() -> None:
    import tfskin

    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not rooms & set(getattr(tfskin, "__all__", ())), "a function hides a room"


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("layers/color.py", "import tensorflow as tf", "imports tensorflow, which only"),
        ("training/fit.py", "def f():\n  from tensorflow.data import Dataset", "fit.py:2: imports"),
        ("models/x.py", "import importlib\nimportlib.import_module('tensorflow')", "x.py:2:"),
        ("experiment.py", "import tensorflow_datasets", "imports tensorflow_datasets"),
        ("inputs/decode.py", "import tensorflow as tf", None),
        ("prediction.py", "import tensorflow as tf", None),
        ("training/distribution.py", "import tensorflow as tf", None),
        ("training/fit.py", "import tensorflow_probability", None),
        ("datasets/splits.py", "from tfskin.inputs import make_dataset", "stands above inputs"),
        ("datasets/splits.py", "from ..inputs.decode import x", "imports tfskin.inputs.decode"),
        ("datasets/sources/table.py", "from ...cli import x", "imports tfskin.cli"),
        ("layers/color.py", "from tfskin.models import MODELS", "stands above models"),
        ("layers/color.py", "from .scaling import Scale", None),
        ("layers/color.py", "from . import scaling", None),
        ("config.py", "from tfskin import datasets", "stands above datasets"),
        ("config.py", "from tfskin import __version__", None),
        ("models/x.py", "from tfskin.layers import Scale", None),
        ("models/x.py", "from tfskin.config import ModelConfig", "takes plain arguments"),
        ("models/x.py", "from tfskin.errors import UserError", None),
        ("training/fit.py", "from tfskin.inputs import make_dataset", "data side and model side"),
        ("training/fit.py", "from tfskin.runs import Run", None),
        ("cli/train.py", "from tfskin.experiment import train", None),
        ("novel/x.py", "", "has no place in the order"),
    ],
)
def test_rules_are_seen(file: str, source: str, fault: str | None) -> None:
    found = faults(source, Path(file))
    if fault is None:
        assert not found
    else:
        assert len(found) == 1
        assert fault in found[0]

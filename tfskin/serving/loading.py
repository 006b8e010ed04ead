"""A SavedModel into memory: from a folder of any name, and only what touches nothing else."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from tfskin.errors import UserError

# In TensorFlow's paths of checkpoints these are a pattern.
_PATTERN = re.compile(r"[*?\[\]\\{}]")
_MOST_BYTES = 2**31
"""Of ``saved_model.pb``: Protocol Buffers take no more."""

# What reads or writes a file, speaks with a host or runs Python, by its name and by what it takes.
_OUTSIDE = re.compile(
    r"File|Checkpoint|^(Save|Restore)|Merge.*Checkpoint|Reader|Writer|Dataset|Iterator|Summary|Lmdb"
    r"|Sql|Rpc|Socket|Send|Recv|PyFunc|PyExec|Print|Debug|Audio.*Read|BigQuery|Remote|Cluster"
    r"|Proto|Tpu|TPU|CompileAndExecute|Initialize|RunGraph|Custom|Collective|Nccl"
)
_ARGUMENTS = re.compile(
    r"file|path|prefix|address|hostname|host_|url|directory|logdir|server|command|descriptor|region",
    re.IGNORECASE,
)
# What has a state, and keeps it in memory; and data sets of tensors, by which images are decoded.
_IN_MEMORY = frozenset(
    {
        *("VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp"),
        *("DestroyResourceOp", "DisableCopyOnRead", "StatefulPartitionedCall", "NoOp"),
        *("HashTableV2", "LookupTableImportV2", "MutableHashTableV2", "LookupTableFindV2"),
        *("RandomUniform", "RandomStandardNormal", "RandomUniformInt", "TruncatedNormal"),
        *("StatelessIf", "StatefulIf", "If", "While", "Case", "Assert", "Placeholder"),
        *("AssignAddVariableOp", "AssignSubVariableOp", "ResourceGather"),
        *("TensorDataset", "TensorSliceDataset", "ConcatenateDataset", "BatchDatasetV2"),
        *("MapDataset", "ParallelMapDatasetV2", "FilterDataset", "IgnoreErrorsDataset"),
        "DatasetToSingleElement",
    }
)
# What saves and restores variables in every SavedModel; TensorFlow's loader runs none of it.
_SAVER = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})


def load_saved_model(path: Path | str, *, trust: bool = True) -> Any:
    """The loaded SavedModel of a folder.

    TensorFlow takes the folder's name for a pattern when it looks for the variables; where that
    matters it is given another name of the same folder.

    Args:
        path: the folder that holds ``saved_model.pb``.
        trust: whether its graph may do anything; see :func:`refuse_outside`.

    Raises:
        UserError: ``trust`` is false and the graph is refused.
        OSError, ValueError, tf.errors.OpError: no SavedModel.
    """
    folder = Path(path).absolute()
    if not trust:
        refuse_outside(folder)
    if not _PATTERN.search(str(folder)):
        return tf.saved_model.load(str(folder))
    with tempfile.TemporaryDirectory(prefix="tfskin-", dir=_plain_folder()) as place:
        other = Path(place) / "saved_model"
        other.symlink_to(folder, target_is_directory=True)
        return tf.saved_model.load(str(other))


def refuse_outside(folder: Path) -> None:
    """Refuse a SavedModel whose graph has operations on files, hosts or Python.

    What a graph says runs with the rights of whoever loads it. Allowed are the operations of this
    TensorFlow that compute, decode what they are given, or keep a state in memory; everything
    else is refused. The functions that save and restore variables are passed over as long as
    nothing else calls them: TensorFlow's loader does not.

    Raises:
        UserError: names the operation; or the file is no SavedModel.
    """
    found = sorted({name for name in _operations(folder) if not is_harmless(name)})
    if found:
        shown = ", ".join(found[:5])
        raise UserError(
            f"{folder}: its graph has operations on files, hosts or Python, or unknown ones "
            f"({shown}), which would run with your rights; give --trust if you know who made it"
        )


def is_harmless(name: str) -> bool:
    """Whether an operation of TensorFlow touches nothing but its tensors and a state in memory."""
    known = op_def_registry.get(name)
    if known is None:
        return False
    if name in _IN_MEMORY:
        return True
    if known.is_stateful or _OUTSIDE.search(name):
        return False
    return not any(_ARGUMENTS.search(one.name) for one in (*known.input_arg, *known.attr))


def _operations(folder: Path) -> Iterator[str]:
    """The operations of a graph and its functions, without its own saver's."""
    path = folder / "saved_model.pb"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path}: is larger than a SavedModel can be")
        model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise UserError(f"{folder}: cannot be loaded as a SavedModel: {error}") from None
    for graph in model.meta_graphs:
        library = graph.graph_def.library.function
        functions = {one.signature.name: list(one.node_def) for one in library}
        nodes = list(graph.graph_def.node)
        savers = _savers(graph, nodes, functions)
        for node in nodes:
            if node.name not in savers:
                yield from _of(node, functions, savers)
        for name, body in functions.items():
            if name not in savers:
                for node in body:
                    yield from _of(node, functions, savers)


def _of(node: Any, functions: dict[str, Any], savers: set[str]) -> Iterator[str]:
    """The operation of a node; of one that calls a saver, what that does."""
    if node.op not in functions:
        yield node.op
    for name in _called(node):
        if name in savers and name in functions:
            yield from (inner.op for inner in functions[name])


def _called(node: Any) -> Iterator[str]:
    yield node.op
    for value in node.attr.values():
        yield from (f.name for f in (value.func, *value.list.func) if f.name)


def _savers(graph: Any, nodes: list[Any], functions: dict[str, Any]) -> set[str]:
    """The nodes by which a SavedModel saves and restores itself, and their functions.

    Only functions that save and restore, do nothing else outside, and are no function of the
    model's objects count as such. A SavedModel without objects (of TensorFlow 1) has none: its
    loader does run them.
    """
    if not graph.HasField("object_graph_def"):
        return set()
    saver, public = graph.saver_def, graph.object_graph_def.concrete_functions
    ends = {
        name.partition(":")[0]
        for name in (saver.save_tensor_name, saver.restore_op_name, saver.filename_tensor_name)
        if name
    }
    found = set()
    for node in nodes:
        if node.name in ends:
            inner = [name for name in _called(node) if name in functions]
            is_plain = all(
                one.op in _SAVER or is_harmless(one.op) for name in inner for one in functions[name]
            )
            if is_plain and not any(name in public for name in inner):
                found |= {node.name, *inner}
    return found


def _plain_folder() -> str | None:
    """A folder for temporary files whose own name is no pattern; None for the usual one."""
    usual = tempfile.gettempdir()
    if not _PATTERN.search(usual):
        return None
    return next((p for p in ("/tmp", "/var/tmp") if Path(p).is_dir()), None)

"""A SavedModel is a program: which are loaded, and from which folders."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

import tfskin
from tfskin.errors import UserError
from tfskin.prediction.predictors import saved_model_predictor
from tfskin.serving.loading import is_harmless, load_saved_model, refuse_outside

NAMES = ("probabilities", "class_names", "valid")


class Plain(tf.Module):
    """What any export looks like; ``act`` does what else there is."""

    def __init__(self, act=None):
        super().__init__()
        self.act = act or (lambda encoded: encoded)
        self.weight = tf.Variable([0.25, 0.75])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        image_bytes = self.act(image_bytes)
        rows = tf.shape(image_bytes)[0]
        return {
            "probabilities": tf.tile(self.weight[None], [rows, 1]),
            "class_names": tf.tile(tf.constant([["mel", "nv"]]), [rows, 1]),
            "valid": tf.fill([rows], value=True),
        }


def save(folder: Path, act=None) -> Path:
    module = Plain(act)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def write(encoded):
    with tf.control_dependencies([tf.io.write_file("written.txt", "x")]):
        return tf.identity(encoded)


def in_a_branch(encoded):
    return tf.cond(tf.size(encoded) > 9**9, lambda: write(encoded), lambda: encoded)


def in_a_map(encoded):
    return tf.map_fn(lambda one: tf.io.read_file("secret.txt") + one, encoded)


def in_python(encoded):
    return tf.reshape(tf.py_function(lambda x: x, [encoded], tf.string), [-1])


def restore(encoded):
    return tf.raw_ops.RestoreV2(
        prefix="secret", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.string]
    )[0]


ACTS = {
    "reads": lambda encoded: encoded + tf.io.read_file("secret.txt"),
    "writes": write,
    "lists": lambda encoded: tf.concat([encoded, tf.io.matching_files("*")], 0),
    "prints": lambda encoded: tf.strings.as_string(tf.py_function(len, [encoded], tf.int32))[None],
    "branch": in_a_branch,
    "map": in_a_map,
    "python": in_python,
    "restore": restore,
}


@pytest.mark.parametrize("act", ACTS)
def test_a_graph_that_reaches_outside_is_refused(tmp_path, monkeypatch, act):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    folder = save(tmp_path / "served", ACTS[act])
    with pytest.raises(UserError, match=r"served: its graph has operations on files, hosts.*--tru"):
        saved_model_predictor(folder)
    assert not (tmp_path / "written.txt").exists()


def test_what_only_computes_is_loaded_and_what_is_trusted_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert saved_model_predictor(save(tmp_path / "plain")).class_names == ["mel", "nv"]
    trusted = saved_model_predictor(save(tmp_path / "writes", write), trust=True)
    assert trusted.class_names == ["mel", "nv"]
    assert (tmp_path / "written.txt").exists()


def test_a_function_that_calls_the_saver_is_refused(tmp_path):
    """Whoever names its function like the saver's, or calls that, is no saver."""
    from tensorflow.core.protobuf import saved_model_pb2

    folder = save(tmp_path / "served")
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = model.meta_graphs[0]
    saver = next(
        one.signature.name
        for one in graph.graph_def.library.function
        if any(node.op == "SaveV2" for node in one.node_def)
    )
    refuse_outside(folder)
    body = next(
        one
        for one in graph.graph_def.library.function
        if not any(node.op in ("SaveV2", "RestoreV2") for node in one.node_def)
    )
    node = body.node_def.add(name="more", op="StatefulPartitionedCall")
    node.attr["f"].func.name = saver
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"MergeV2Checkpoints|SaveV2"):
        refuse_outside(folder)
    node.Clear()
    body.node_def.pop()
    graph.object_graph_def.concrete_functions[saver].SetInParent()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"MergeV2Checkpoints|SaveV2"):
        refuse_outside(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "RestoreV2", "PyFunc"),
        *("EagerPyFunc", "TextLineDataset", "TFRecordDatasetV2", "FixedLengthRecordReaderV2"),
        *("LoadAndRemapMatrix", "GenerateVocabRemapping", "ImmutableConst", "DecodeProtoV2"),
        *("InitializeTableFromTextFileV2", "FixedUnigramCandidateSampler", "SqlDataset"),
        *("WriteSummary", "CreateSummaryFileWriter", "PrintV2", "RpcCall", "DataServiceDataset"),
        *("_Recv", "GeneratorDataset", "SaveDatasetV2", "LMDBDataset", "no such operation"),
    ],
)
def test_operations_that_reach_outside_are_known_as_such(name):
    assert not is_harmless(name)


def test_our_own_exports_are_loaded_from_a_folder_of_any_name(tmp_path, tiny_runs):
    exported = tfskin.export(tiny_runs[0], output=tmp_path / "exports")
    image = b"no image"
    for name in ("a [1] {x} ü %41 'q'", "a*b?c", "back\\slash", "[0-9]"):
        folder = shutil.copytree(exported, tmp_path / name / "1")
        assert saved_model_predictor(folder.parent).class_names == ["melanoma", "nevus"]
        serve = load_saved_model(folder).signatures["serving_default"]
        assert not serve(image_bytes=tf.constant([image]))["valid"].numpy().any()


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 40])
def test_what_is_no_saved_model_is_one_line(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        saved_model_predictor(tmp_path)

"""Tensors of PyTorch's files: what is read, and what is refused without running anything."""

import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from tests.models.torch_writer import (
    STORAGES,
    Call,
    Global,
    Raw,
    Reference,
    pickled,
    save_state,
    storage,
    tensor,
    whole,
    write_legacy,
    write_zip,
)
from tfskin.errors import UserError
from tfskin.models.torch_files import read_torch_tensors
from tfskin.models.weight_files import read_weight_file

NUMBERS = np.arange(24, dtype="f4")
ran: list[str] = []


def tripwire(*_):
    ran.append("code ran")


TRIPWIRE = Global(__name__, "tripwire")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("code", STORAGES)
def test_every_type_of_number(tmp_path, code, legacy):
    array = np.array([[0, 1, 3], [7, 0, 1]]).astype(code)
    path = save_state(
        tmp_path / "a.pth", {"x": array, "y": array[0], "n": array[1, 0]}, legacy=legacy
    )
    found = read_torch_tensors(path)
    assert list(found) == ["x", "y", "n"]
    assert found["x"].dtype == array.dtype
    assert found["n"].shape == ()
    for name, expected in (("x", array), ("y", array[0]), ("n", array[1, 0])):
        np.testing.assert_array_equal(found[name], expected)


def test_bfloat16_becomes_the_same_float32(tmp_path):
    values = np.array([1.0, -2.5, 3.0e38, 1e-40, np.inf], "f4")
    upper = (values.view("u4") >> 16).astype("u2")
    reference = Reference(("storage", Global("torch", "BFloat16Storage"), "0", "cpu", 5))
    path = write_zip(
        tmp_path / "a.pth", pickled({"x": tensor(reference, (5,), (1,))}), {"0": upper.tobytes()}
    )
    expected = (upper.astype("u4") << 16).view("f4")
    np.testing.assert_array_equal(read_torch_tensors(path)["x"], expected)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "expected"),
    [
        ((4, 6), (6, 1), 0, NUMBERS.reshape(4, 6)),
        ((6, 4), (1, 6), 0, NUMBERS.reshape(4, 6).T),
        ((2, 3), (12, 2), 5, NUMBERS[[5, 7, 9, 17, 19, 21]].reshape(2, 3)),
        ((), (), 23, NUMBERS[23]),
        ((3, 2), (0, 1), 4, np.tile(NUMBERS[4:6], (3, 1))),
        ((0, 5), (5, 1), 24, np.zeros((0, 5))),
    ],
)
def test_tensors_are_views_of_their_storage(tmp_path, shape, strides, offset, expected):
    view = tensor(storage("0", NUMBERS), shape, strides, offset)
    path = write_zip(
        tmp_path / "a.pth",
        pickled({"x": view, "whole": whole("0", NUMBERS)}),
        {"0": NUMBERS.tobytes()},
    )
    found = read_torch_tensors(path)
    np.testing.assert_array_equal(found["x"], expected)
    np.testing.assert_array_equal(found["whole"], NUMBERS)


def test_a_part_of_an_old_storage(tmp_path):
    identity = ("storage", Global("torch.cuda", "FloatStorage"), "9", "cuda:0", 24, ("9v", 10, 6))
    program = pickled({"x": tensor(Reference(identity), (2, 3), (3, 1))})
    path = write_legacy(tmp_path / "a.pt", program, {"9": NUMBERS})
    np.testing.assert_array_equal(read_torch_tensors(path)["x"], NUMBERS[10:16].reshape(2, 3))


def test_numbers_whose_high_byte_comes_first(tmp_path):
    data = {"0": NUMBERS.astype(">f4").tobytes()}
    path = write_zip(tmp_path / "a.pth", pickled({"x": whole("0", NUMBERS)}), data)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", b"big")
    np.testing.assert_array_equal(read_torch_tensors(path)["x"], NUMBERS)


def test_parameters_nesting_and_what_is_no_tensor(tmp_path):
    ordered = Call(Global("collections", "OrderedDict"), ())
    rebuild = Global("torch._utils", "_rebuild_parameter")
    state = {"w": Call(rebuild, (whole("0", NUMBERS), True, ordered)), "version": 3}
    found = {"epoch": 7, "state_dict": state, "shape": Call(Global("torch", "Size"), ((1, 2),))}
    path = write_zip(tmp_path / "a.pth", pickled(found), {"0": NUMBERS.tobytes()})
    assert list(read_torch_tensors(path)) == ["w"]


def reduced(module, name, *arguments):
    return Call(Global(module, name), arguments)


MALICIOUS = {
    "os.system": reduced("os", "system", "echo"),
    "tripwire": Call(TRIPWIRE, ()),
    "eval": reduced("builtins", "eval", "1"),
    "getattr of a known module": reduced("builtins", "getattr", Global("torch", "Size"), "x"),
    "dotted name": reduced("collections", "OrderedDict.__init__.__globals__"),
    "in the arguments of a tensor": tensor(Call(TRIPWIRE, ()), (1,), (1,)),
    "in the items of an ordered dict": reduced(
        "collections", "OrderedDict", [("a", Call(TRIPWIRE, ()))]
    ),
    "in a reference to a storage": Reference(("storage", TRIPWIRE, "0", "cpu", 1)),
    "by the newer instruction": Raw(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93)R"),
    "line breaks in a name": Raw(b"X\x04\x00\x00\x00o\ns\nX\x06\x00\x00\x00system\x93)R"),
    "by memory": Raw(b"cos\nsystem\nq\x00h\x00)R"),
    "INST": Raw(f"(i{__name__}\ntripwire\n".encode()),
    "OBJ": Raw(f"(c{__name__}\ntripwire\no".encode()),
    "NEWOBJ": Raw(b"ccollections\nOrderedDict\n)\x81"),
    "EXT1": Raw(b"\x82\x01"),
    "state of a function": Raw(b"ccollections\nOrderedDict\n}b"),
    "state of a tensor": Raw(pickled(whole("0", NUMBERS))[2:-1] + b"}b"),
    "a call of text": Raw(b"X\x01\x00\x00\x00a)R"),
    "arguments that are none": Raw(b"ccollections\nOrderedDict\n]R"),
    "too many arguments": reduced("collections", "OrderedDict", 1, 2, 3),
    "items of a tuple": Raw(b"))e"),
    "a tuple as key": Raw(b"}))s"),
    "nothing remembered": Raw(b"h\x07"),
    "an empty stack": Raw(b"\x85"),
    "an end without a beginning": Raw(b"t"),
    "text as a size": tensor(storage("0", NUMBERS), ("a",), (1,)),  # type: ignore[arg-type]
    "text as a storage": tensor("0", (1,), (1,)),
    "a reference to a module": Reference(("module", None, "0", "cpu", 1)),
    "a text for numbers": Reference(("storage", Global("torch", "FloatStorage"), "0", "cpu", "9")),
    "a number as key of a storage": Reference(("storage", Global("torch", "IntStorage"), 0, "", 9)),
    "sparse tensors": reduced("torch._utils", "_rebuild_sparse_tensor"),
    "numpy": reduced("numpy.core.multiarray", "_reconstruct"),
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_asks_for_more_is_refused_in_one_line(tmp_path, name, legacy):
    path, program = tmp_path / "a.pth", pickled({"x": MALICIOUS[name]})
    if legacy:
        write_legacy(path, program, {"0": NUMBERS})
    else:
        write_zip(path, program, {"0": NUMBERS.tobytes()})
    with pytest.raises(ValueError):
        read_torch_tensors(path)
    with pytest.raises(UserError, match=r"a\.pth: cannot be read as weights: .") as caught:
        read_weight_file(path)
    assert "\n" not in str(caught.value)
    assert not ran


def test_a_bare_pickle_is_refused_before_it_runs(tmp_path):
    (tmp_path / "a.pt").write_bytes(pickled(Call(TRIPWIRE, ())))
    with pytest.raises(UserError, match=r"asks for '.*tripwire'; only tensors are read"):
        read_weight_file(tmp_path / "a.pt")
    assert not ran


def test_a_far_place_in_memory_costs_none(tmp_path):
    program = b"\x80\x02" + pickled({"x": whole("0", NUMBERS)})[2:-1] + b"r\xff\xff\xff\xff."
    path = write_zip(tmp_path / "a.pth", program, {"0": NUMBERS.tobytes()})
    assert list(read_torch_tensors(path)) == ["x"]


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((25,), (1,), 0),
        ((24,), (1,), 1),
        ((2, 2), (23, 1), 0),
        ((2,), (-1,), 5),
        ((2,), (1,), -1),
        ((-1,), (1,), 0),
        ((1 << 70,), (1,), 0),
        ((2, 3), (1,), 0),
        ((1 << 40,), (0,), 0),
    ],
)
def test_a_tensor_stays_in_its_storage(tmp_path, shape, strides, offset):
    program = pickled({"x": tensor(storage("0", NUMBERS), shape, strides, offset)})
    path = write_zip(tmp_path / "a.pth", program, {"0": NUMBERS.tobytes()})
    with pytest.raises(ValueError, match=r"beyond|repeats|shape"):
        read_torch_tensors(path)


def test_a_storage_has_the_length_that_it_should_have(tmp_path):
    program = pickled({"x": tensor(storage("0", NUMBERS, numbers=25), (1,), (1,))})
    for data in ({"0": NUMBERS.tobytes()}, {}):
        path = write_zip(tmp_path / "a.pth", program, data)
        with pytest.raises(ValueError, match="should have 100 bytes and has"):
            read_torch_tensors(path)
    path = write_legacy(tmp_path / "b.pth", program, {"0": NUMBERS})
    with pytest.raises(ValueError, match="should have 25 numbers"):
        read_torch_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, legacy):
    content = save_state(
        tmp_path / "a.pth", {"x": NUMBERS, "y": NUMBERS}, legacy=legacy
    ).read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "b.pth").write_bytes(content[:length])
        with pytest.raises(UserError, match="cannot be read as weights"):
            read_weight_file(tmp_path / "b.pth")


def test_a_storage_longer_than_the_file_is_not_made_room_for(tmp_path):
    program = pickled({"x": tensor(storage("0", NUMBERS, numbers=1 << 60), (1,), (1,))})
    path = write_legacy(tmp_path / "a.pth", program, {"0": NUMBERS})
    content = path.read_bytes()
    place = content.rindex(struct.pack("<q", NUMBERS.size))
    path.write_bytes(content[:place] + struct.pack("<q", 1 << 60) + content[place + 8 :])
    with pytest.raises(ValueError, match="is the file whole"):
        read_torch_tensors(path)


def test_zip_files_of_other_kinds(tmp_path):
    program = pickled({"x": whole("0", NUMBERS)})
    path = write_zip(
        tmp_path / "a.pth", program, {"0": bytes(96)}, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(ValueError, match="compressed"):
        read_torch_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("something.txt", "else")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_torch_tensors(path)
    write_zip(path, program, {"0": NUMBERS.tobytes()})
    content = path.read_bytes()  # every record of the directory is 1 GB long now
    sizes = struct.pack("<II", 96, 96)
    path.write_bytes(content.replace(sizes, struct.pack("<II", 1 << 30, 1 << 30)))
    with pytest.raises(ValueError, match="longer than the file"):
        read_torch_tensors(path)


def test_files_without_tensors_say_what_to_save(tmp_path):
    values: list[Any] = [{"epoch": 3}, [whole("0", NUMBERS)], {"state_dict": 3}, {"model": {}}]
    for value in values:
        path = write_zip(tmp_path / "a.pth", pickled(value), {"0": NUMBERS.tobytes()})
        with pytest.raises(ValueError, match=r"save model\.state_dict"):
            read_torch_tensors(path)


def torch_tensors(torch):
    torch.manual_seed(0)
    shared = torch.arange(60).float()
    types = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")
    more = ("uint16", "uint32", "uint64")
    found = {name: (torch.rand(3, 4, 2) * 100).to(getattr(torch, name)) for name in (*types, *more)}
    return found | {
        "bool": torch.rand(5) > 0.5,
        "complex64": torch.randn(3, dtype=torch.complex64),
        "bfloat16": torch.randn(4, 5).bfloat16(),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "transposed": torch.rand(4, 5, 6).permute(2, 0, 1),
        "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "slice": shared[7:40:3],
        "window": shared.view(6, 10)[1:4, 2:9:2],
        "same storage": shared,
        "expanded": torch.rand(3, 1).expand(3, 7),
        "parameter": torch.nn.Parameter(torch.rand(2, 3)),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_everything_that_torch_writes_is_read_as_torch_does(tmp_path, protocol, zipped):
    torch = pytest.importorskip("torch")
    tensors = torch_tensors(torch)
    options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "a.pth", **options)
    found = read_torch_tensors(tmp_path / "a.pth")
    assert list(found) == list(tensors)
    for name, expected in tensors.items():
        expected = expected.detach()
        expected = (expected.float() if name == "bfloat16" else expected).numpy()
        assert found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_torch_is_read_and_a_whole_model_is_not(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    options = {"_use_new_zipfile_serialization": zipped}
    torch.save(model.state_dict(), tmp_path / "a.pth", **options)
    found = read_torch_tensors(tmp_path / "a.pth")
    assert list(found) == list(model.state_dict())
    torch.save(model, tmp_path / "b.pth", **options)
    with pytest.raises(UserError, match=r"'torch\.nn\..*'; only tensors are read"):
        read_weight_file(tmp_path / "b.pth")

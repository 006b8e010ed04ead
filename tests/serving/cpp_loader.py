"""The C++ loader of SavedModels that TensorFlow Serving uses, as a small program of its own."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

SOURCE = Path(__file__).with_name("loader.cc")


class NoCompiler(Exception):
    """Why the loader cannot be compiled here."""


def compile_loader(folder: Path) -> Path:
    """The program, compiled against TensorFlow's wheel unless it is in ``folder`` already.

    Raises:
        NoCompiler: no C++ compiler, or a TensorFlow without headers or without its C++ library.
    """
    program = folder / f"loader-{tf.__version__}"
    if program.exists():
        return program
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise NoCompiler("no g++ or clang++ on the PATH")
    include, library = Path(tf.sysconfig.get_include()), Path(tf.sysconfig.get_lib())
    header = include / "tensorflow" / "cc" / "saved_model" / "loader.h"
    if not header.is_file() or not (library / "libtensorflow_cc.so.2").is_file():
        raise NoCompiler("this TensorFlow has no C++ headers or no libtensorflow_cc.so.2")
    command = [compiler, *tf.sysconfig.get_compile_flags(), "-O1", str(SOURCE)]
    command += ["-o", str(program), f"-L{library}", "-Wl,--no-as-needed"]
    command += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command += [f"-Wl,-rpath,{library}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCompiler(f"{compiler} failed: {done.stderr.strip()[-500:]}")
    return program


def write_requests(path: Path, tensors: list[np.ndarray | list[bytes]]) -> None:
    """Write what the program reads."""
    with path.open("wb") as file:
        for tensor in tensors:
            data = tf.make_tensor_proto(tensor).SerializeToString()
            file.write(struct.pack("<Q", len(data)) + data)


def read_answers(data: bytes) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of each batch."""
    place = 0
    outputs: dict[str, np.ndarray] = {}
    while place < len(data):
        name_end = data.index(b"\n", place)
        length_end = data.index(b"\n", name_end + 1)
        name, length = data[place:name_end].decode(), int(data[name_end + 1 : length_end])
        place = length_end + 1 + length
        if not name:
            yield outputs
            outputs = {}
            continue
        proto = tf.make_tensor_proto(0)
        proto.ParseFromString(data[length_end + 1 : place])
        outputs[name] = tf.make_ndarray(proto)


def run_loader(
    program: Path,
    model: Path,
    signature: str,
    tensors: list[np.ndarray | list[bytes]],
    folder: Path,
    *,
    batch: int = 0,
) -> list[dict[str, np.ndarray]]:
    """What a signature of a SavedModel answers, by the C++ loader.

    Raises:
        subprocess.CalledProcessError: the program failed, or was killed.
    """
    write_requests(folder / "requests", tensors)
    command = [str(program), str(model), signature, str(folder / "requests"), str(batch)]
    done = subprocess.run(command, capture_output=True, check=True)
    return list(read_answers(done.stdout))

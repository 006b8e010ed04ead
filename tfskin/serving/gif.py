"""The first frame of a GIF, cut out in a graph before anything is decoded."""

import tensorflow as tf

from tfskin.serving.binary import read_bytes, read_number

# Blocks are walked one by one, 255 bytes each at most: five megabytes of first frame. The bound
# keeps a crafted file of tiny blocks from holding the server.
_MAX_BLOCKS = 20_000
_EXTENSION, _IMAGE, _CONTROL = 0x21, 0x2C, 0xF9
_AT_BLOCK, _IN_EXTENSION, _IN_IMAGE, _DONE, _BROKEN = range(5)


def cut_first_frame(encoded: tf.Tensor) -> tf.Tensor:
    """The GIF (a scalar string) without all that follows its first frame.

    TensorFlow's decoder reads every frame of a file, each as large as it claims to be, before it
    gives back the first: a small file could ask for any amount of memory.

    Raises:
        tf.errors.InvalidArgumentError: when run, for a file that is no GIF of 87a or 89a, that
            ends within its first frame, or whose first frame does not fill the screen or has a
            transparent colour: TensorFlow shows black there, and training has seen white.

    Reference: GIF89a specification, sections 17 to 23.
    """
    data = read_bytes(encoded)
    size = tf.shape(data, tf.int64)[0] - 1

    def number(position: tf.Tensor, length: int) -> tf.Tensor:
        return read_number(data, position, length, big_endian=False)

    def colors(packed: tf.Tensor) -> tf.Tensor:
        """Bytes of the colour table that a packed field announces."""
        entries = tf.bitwise.left_shift(tf.constant(2, tf.int64), packed % 8)
        return tf.where(packed >= 128, 3 * entries, 0)

    def at_block(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kind = number(position, 1)
        fills = (number(position + 1, 4) == 0) & (
            number(position + 5, 4) == number(tf.constant(6, tf.int64), 4)
        )
        is_image = (kind == _IMAGE) & fills
        pixels = position + 11 + colors(number(position + 9, 1))
        is_clear = (number(position + 1, 1) == _CONTROL) & (number(position + 3, 1) % 2 == 1)
        is_extension = (kind == _EXTENSION) & ~is_clear
        state = tf.where(is_extension, _IN_EXTENSION, tf.where(is_image, _IN_IMAGE, _BROKEN))
        return tf.where(kind == _EXTENSION, position + 2, pixels), state

    def in_block(position: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = number(position, 1)
        ended = tf.where(state == _IN_IMAGE, _DONE, _AT_BLOCK)
        return position + 1 + length, tf.where(length == 0, ended, state)

    def step(position: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position, state = tf.cond(
            state == _AT_BLOCK, lambda: at_block(position), lambda: in_block(position, state)
        )
        return position, tf.where(position > size, _BROKEN, state)

    first = 13 + colors(number(tf.constant(10, tf.int64), 1))
    end, state = tf.while_loop(
        lambda position, state: state < _DONE,
        step,
        (first, tf.constant(_AT_BLOCK)),
        maximum_iterations=_MAX_BLOCKS,
    )
    version = tf.strings.substr(encoded, 3, 3)
    is_whole = (state == _DONE) & ((version == b"87a") | (version == b"89a"))
    message = ["the first frame of a GIF is cut off, damaged, transparent or smaller than it"]
    with tf.control_dependencies([tf.debugging.Assert(is_whole, message)]):
        return tf.strings.substr(encoded, 0, tf.cast(end, tf.int32)) + b";"

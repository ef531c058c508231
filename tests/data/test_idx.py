"""Reading IDX files: bytes laid out by struct as the format says, round trips, a sentence for each kind of damage."""

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chainrule.data import idx
from chainrule.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(folder: Path, changes: dict[str, np.ndarray] | None = None, end: str = "", joint: str = "-") -> None:
    parts = {
        f"train-images{joint}idx3-ubyte": np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2),
        f"train-labels{joint}idx1-ubyte": np.array([0, 1, 2, 0, 1], np.uint8),
        f"t10k-images{joint}idx3-ubyte": np.arange(2 * 3 * 2, dtype=np.uint8).reshape(2, 3, 2),
        f"t10k-labels{joint}idx1-ubyte": np.array([2, 0], np.uint8),
    }
    folder.mkdir(exist_ok=True)
    for name, array in {**parts, **(changes or {})}.items():
        content = idx_bytes(array)
        (folder / (name + end)).write_bytes(gzip.compress(content) if end else content)


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: arrays.arrays(code, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    ),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_written_is_read(tmp_path, array, packed):
    path = tmp_path / "some"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    found = idx.read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)


@given(st.binary(max_size=64))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_end_in_an_array_or_in_one_error(tmp_path, content):
    path = tmp_path / "some"
    for start in (b"", b"\0\0\x08", b"\x1f\x8b\x08"):
        path.write_bytes(start + content)
        with contextlib.suppress(DataError):
            assert isinstance(idx.read_idx(path), np.ndarray)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not an IDX file: it begins with nothing"),
        (b"\x89PNG\r\n", "not an IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\1\0", "not an IDX file: it begins with 00 00 07 01"),
        (b"\0\0\x08\x00", "declares 0 axes"),
        (b"\0\0\x08\xff", "declares 255 axes"),
        (b"\0\0\x08\x02\0\0\0\1", "cut short within its header"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"ab", "cut short: 3 values take 3 bytes, but it has 2"),
        (struct.pack(">BBBBII", 0, 0, 0x0D, 2, 2, 3) + b"abcd", "cut short: 2 × 3 values take 24 bytes, but it has 4"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"abcd", "goes on after the 3 values"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 28), "which is absurd"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "which is absurd"),
        (gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"abc", mtime=0)[:-6], "damaged gzip file"),
        (gzip.compress(b"abc", mtime=0)[:14] + b"\xff\xff\xff", "damaged gzip file"),
        (b"\x1f\x8bno gzip at all", "damaged gzip file"),
    ],
)
def test_damage_is_named(tmp_path: Path, content, sentence):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        idx.read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        idx.read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        idx.read_idx(tmp_path)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("joint", ["-", "."])
def test_a_folder_is_read_by_its_usual_names(tmp_path: Path, end, joint):
    write_set(tmp_path, end=end, joint=joint)
    assert idx.is_idx_folder(tmp_path)
    found = idx.read_folder(tmp_path)
    assert [array.shape for array in found] == [(5, 3, 2), (5,), (2, 3, 2), (2,)]
    assert found.train_images[4, 2, 1] == 29
    assert found.test_labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train-labels-idx1-ubyte": np.zeros(4, np.uint8)}, "5 training images but 4 training labels"),
        ({"t10k-labels-idx1-ubyte": np.zeros((2, 2), np.uint8)}, "expected .rows, height, width."),
        ({"train-labels-idx1-ubyte": np.zeros(5, np.float32)}, "of whole numbers"),
        (
            {"t10k-images-idx3-ubyte": np.zeros((2, 2, 2), np.uint8)},
            "training images are 3 × 2, but the test images 2 × 2",
        ),
        (
            {"t10k-images-idx3-ubyte": np.zeros((0, 3, 2), np.uint8), "t10k-labels-idx1-ubyte": np.zeros(0, np.uint8)},
            "there are no test images",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, changes, sentence):
    write_set(tmp_path, changes)
    with pytest.raises(DataError, match=sentence):
        idx.read_folder(tmp_path)


def test_a_folder_without_a_file_says_which(tmp_path: Path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"lacks the test labels: a file t10k-labels-idx1-ubyte or .*\.gz"):
        idx.read_folder(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        idx.read_folder(tmp_path / "t10k-images-idx3-ubyte")
    assert not idx.is_idx_folder(tmp_path / "nowhere")

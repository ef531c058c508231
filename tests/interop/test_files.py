"""Model files: what is saved comes back, other programs can read it, and hostile files end in one clear error."""

import json
import os
import struct

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ChainruleError, DataError, FileFormatError
from chainrule.interop.files import load, read_model, save
from chainrule.train.fit import predict


class Doubled(nn.Module):
    """A class of the user's own."""

    def __init__(self, features: int) -> None:
        self.dense = nn.Dense(features, features)

    def __call__(self, x):
        return self.dense(self.dense(x))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Dense(5, 7), nn.BatchNorm(7), nn.ReLU(), nn.Dropout(0.3), nn.Dense(7, 2))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def rewrite(path, change_header=None, change_arrays=None) -> None:
    """The file again, with another header or other arrays."""
    with safetensors.safe_open(str(path), framework="numpy") as file:
        header = dict(file.metadata())
    arrays = safetensors.numpy.load_file(path)
    if change_header:
        change_header(header)
    if change_arrays:
        change_arrays(arrays)
    safetensors.numpy.save_file(arrays, path, header)


# --- There and back ----------------------------------------------------------------------------------------------


def test_a_network_comes_back_with_the_same_bits_and_answers(path, rng) -> None:
    net, x = network(), rng.normal(size=(9, 5))
    net(x.astype(np.float32))  # moves the running statistics
    net[0].bias.trainable = False
    save(net, path, {"schema": {"target": "species"}, "metrics": [0.5, None]})
    found, metadata = read_model(path)
    assert metadata == {"schema": {"target": "species"}, "metrics": [0.5, None]}
    assert {n: a.tobytes() for n, a in found.arrays().items()} == {n: a.tobytes() for n, a in net.arrays().items()}
    assert [p.trainable for p in found.parameters()] == [p.trainable for p in net.parameters()]
    assert not found.training
    np.testing.assert_array_equal(predict(found, x), predict(net, x))


def test_the_safetensors_library_reads_the_file(path) -> None:
    net = network()
    save(net, path)
    arrays = safetensors.numpy.load_file(path)
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in net.arrays().items()
    }
    with safetensors.safe_open(str(path), framework="numpy") as file:
        header = file.metadata()
    assert json.loads(header["format"]) == "chainrule"
    assert json.loads(header["version"]) == 1
    assert json.loads(header["network"])["class"] == "Sequential"


def test_classes_of_the_user_are_given_to_load(path) -> None:
    save(Doubled(3), path)
    assert isinstance(load(path, classes=[Doubled]), Doubled)
    with pytest.raises(FileFormatError, match=r"Doubled.*load\(path, classes=\[MyNet\]\)"):
        load(path)


def test_parameters_that_are_nan_are_kept(path) -> None:
    net = nn.Dense(2, 2)
    net.weight.assign(np.full((2, 2), np.nan, np.float32))
    save(net, path)
    assert np.isnan(load(path).weight.value).all()


def test_loading_draws_no_random_numbers(path) -> None:
    save(network(), path)
    before = cr.random.default().counter.item()
    load(path)
    assert cr.random.default().counter.item() == before


# --- Saving that cannot work -------------------------------------------------------------------------------------


def test_what_cannot_be_described_is_refused_before_anything_is_written(path) -> None:
    for net, metadata in [
        (nn.Lambda(lambda x: x), {}),
        (nn.Dense(2, 2), {"network": 1}),
        (nn.Dense(2, 2), {"settings": object()}),
        (nn.Dense(2, 2), {"metrics": float("nan")}),
    ]:
        with pytest.raises(ArgumentError):
            save(net, path, metadata)
    assert not list(path.parent.iterdir())


def test_a_folder_that_does_not_exist_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"cannot write .*nowhere.*the folder does not exist"):
        save(nn.Dense(2, 2), tmp_path / "nowhere" / "model.safetensors")


def test_a_folder_is_not_overwritten(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        save(nn.Dense(2, 2), tmp_path / "model")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_may_not_be_written_is_named(path, monkeypatch) -> None:
    def refuse(*_arguments) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match="permission denied; choose another folder"):
        save(nn.Dense(2, 2), path)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch, broken) -> None:
    save(nn.Dense(2, 2), path)
    before = path.read_bytes()

    def fail(*_arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(ChainruleError, match=r"cannot write .*model.safetensors: the disk is full"):
        save(nn.Dense(3, 3), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# --- Hostile files -----------------------------------------------------------------------------------------------


def test_a_file_cut_short_anywhere_is_refused(path) -> None:
    save(nn.Dense(2, 2), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"model.safetensors is not a whole safetensors file"):
            load(path)


def test_a_file_with_a_flipped_byte_loads_or_is_refused(path, rng) -> None:
    save(nn.Sequential(nn.Dense(2, 2), nn.Dropout(0.1)), path, {"note": "x"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            load(path)
        except FileFormatError as error:
            assert "model.safetensors" in str(error)  # noqa: PT017 (either is right)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model at all",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 90)
        + b'{"a":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4000000000000000000]}}',
    ],
    ids=["empty", "text", "image", "huge header", "no mapping", "huge array"],
)
def test_what_is_no_safetensors_file_is_refused(path, content) -> None:
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"model.safetensors is not a whole safetensors file"):
        load(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path) -> None:
    with pytest.raises(FileFormatError, match="there is no file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(FileFormatError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileFormatError, match="not an ordinary file"):
        load("/dev/null")


def test_a_safetensors_file_of_another_program_is_refused(path) -> None:
    for header in (None, {"format": "pt"}, {"format": "[" * 5000}):
        safetensors.numpy.save_file({"weight": np.zeros(3)}, path, header)
        with pytest.raises(FileFormatError, match="not of a chainrule network"):
            load(path)


def test_a_file_of_a_newer_version_asks_for_an_update(path) -> None:
    save(nn.Dense(2, 2), path)
    rewrite(path, lambda header: header.update(version="2"))
    with pytest.raises(FileFormatError, match=r"newer chainrule .file version 2, this one reads 1.; update"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(version='"1"'), "damaged header"),
        (lambda h: h.pop("network"), "damaged header"),
        (lambda h: h.update(network="[]"), "cannot be loaded"),
        (lambda h: h.update(network="{"), "cannot be loaded"),
        (
            lambda h: h.update(network='{"class": "os.system", "arguments": {"command": "ls"}}'),
            "no layer that is known",
        ),
        (
            lambda h: h.update(network='{"class": "Dense", "arguments": {"inputs": 1000000, "outputs": 1000000}}'),
            "more elements",
        ),
        (lambda h: h.update(network="[" * 900 + "]" * 900), "nested"),
        (lambda h: h.update(frozen='["none"]'), "freezes what the network does not have"),
    ],
)
def test_a_hostile_header_is_refused(path, change, message) -> None:
    save(nn.Dense(2, 2), path)
    rewrite(path, change)
    with pytest.raises(FileFormatError, match=f"model.safetensors.*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("bias"), "missing: bias"),
        (lambda arrays: arrays.update(surplus=np.zeros(2)), "not of this network: surplus"),
        (lambda arrays: arrays.update(bias=np.zeros(3, np.float32)), r"\"bias\" has the shape \(2,\)"),
        (lambda arrays: arrays.update(bias=np.zeros(2, np.complex64)), "cannot take an array of complex64"),
    ],
)
def test_arrays_that_do_not_fit_are_named(path, change, message) -> None:
    save(nn.Dense(2, 2), path)
    rewrite(path, None, change)
    with pytest.raises(
        FileFormatError, match=f"model.safetensors does not hold the arrays of its network: .*(?:{message})"
    ):
        load(path)

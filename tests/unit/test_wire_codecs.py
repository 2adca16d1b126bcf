"""Codecs: what goes in comes out, and what lies is refused before anything is allocated."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.errors import WireError
from perception.wire.codecs import MAX_PART_BYTES, Part, decode_array, encode_array, part_from_wire, run_lengths

CODECS = ["raw", "zlib", "rle", "rle+zlib"]
DTYPES = [np.uint8, np.uint16, np.float32]


@st.composite
def maps(draw):
    """Arrays of 1 to 3 axes with long runs and short ones."""
    shape = draw(st.lists(st.integers(0, 40), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    values = draw(st.lists(st.integers(0, 255), min_size=1, max_size=6))
    seed = draw(st.integers(0, 2**32 - 1))
    count = int(np.prod(shape))
    picks = np.random.default_rng(seed).integers(0, len(values), count // draw(st.integers(1, 50)) + 1)
    return np.resize(np.repeat(np.array(values)[picks], 50), count).astype(dtype).reshape(shape)


@given(maps(), st.sampled_from(CODECS))
def test_what_goes_in_comes_out(array, codec):
    part, payload = encode_array("x", array, codec)
    assert part_from_wire(part.to_wire() | {"shape": list(part.shape)}) == part
    decoded = decode_array(part, bytes(payload))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize("codec", CODECS)
def test_floats_come_out_bit_for_bit(codec):
    array = np.array([0.0, -0.0, -0.0, np.nan, np.nan, np.inf, -np.inf, 1e-45], np.float32)
    assert decode_array(*encode_array("x", array, codec)).tobytes() == array.tobytes()


@given(maps(), st.sampled_from(CODECS))
def test_memory_order_does_not_matter(array, codec):
    turned = array.T
    np.testing.assert_array_equal(decode_array(*encode_array("x", turned, codec)), turned)


@pytest.mark.parametrize("count", [65535, 65536, 131070, 131071, 300000])
def test_a_run_over_65535_is_split(count):
    lengths, values = run_lengths(np.concatenate([np.full(count, 7, np.uint8), np.array([8], np.uint8)]))
    assert lengths.dtype == np.dtype("<u2")
    assert lengths.astype(int).sum() == count + 1
    assert lengths.min() >= 1
    assert values[-1] == 8
    np.testing.assert_array_equal(values[:-1], 7)


def test_rle_bytes_are_all_lengths_then_all_values():
    part, payload = encode_array("ids", np.array([[5, 5, 5], [5, 600, 600]], np.uint16), "rle")
    assert part.runs == 2
    assert payload == b"\x04\x00\x02\x00" + b"\x05\x00\x58\x02"


def test_big_endian_arrays_arrive_little_endian():
    part, payload = encode_array("x", np.array([[1, 2]], ">u2"), "raw")
    assert bytes(payload) == b"\x01\x00\x02\x00"
    np.testing.assert_array_equal(decode_array(part, payload), [[1, 2]])


@pytest.mark.parametrize("shape", [(1, 8193), (8192, 8192)])
def test_what_exceeds_the_limits_is_not_sent(shape):
    with pytest.raises(WireError, match="cannot be sent"):
        encode_array("x", np.broadcast_to(np.uint16(0), shape), "raw")


@pytest.mark.parametrize(
    "claim",
    [
        {"shape": [8192, 8192], "dtype": "u2"},
        {"shape": [8193, 1]},
        {"shape": [1, 1, 1, 1]},
        {"shape": []},
        {"shape": [2, -1]},
        {"shape": [2.0, 2]},
        {"shape": "ab"},
        {"dtype": "i8"},
        {"dtype": "O"},
        {"codec": "lzma"},
        {"codec": "rle"},
        {"codec": "rle", "runs": 7},
        {"codec": "jpeg", "shape": [4]},
        {"bytes": -1},
        {"bytes": 2**40},
        {"bytes": True},
        {"name": 5},
        {"name": "x" * 65},
    ],
)
def test_a_claim_that_cannot_be_true_is_refused(claim):
    honest = {"name": "x", "dtype": "u1", "shape": [2, 3], "codec": "raw", "bytes": 6}
    part_from_wire(honest)
    with pytest.raises(WireError):
        part_from_wire(honest | claim)


@given(maps(), st.sampled_from(CODECS), st.data())
def test_damaged_bytes_raise_nothing_but_wire_error(array, codec, data):
    part, payload = encode_array("x", array, codec)
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        how = data.draw(st.sampled_from(["flip", "cut", "grow"]))
        if how == "flip" and damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del damaged[data.draw(st.integers(0, len(damaged))) :]
        else:
            damaged += data.draw(st.binary(max_size=8))
    lying = dataclasses.replace(part, bytes=len(damaged), shape=data.draw(st.sampled_from([part.shape, (31, 33)])))
    try:
        decoded = decode_array(lying, bytes(damaged))
    except WireError:
        return
    assert decoded.shape == lying.shape


LARGEST = (8192, 8192)


def bomb(codec: str) -> tuple[Part, bytes]:
    """A few bytes that claim 64 MiB."""
    few = zlib.compress(bytes(30)) if codec.endswith("zlib") else bytes(30)
    runs = 10 if codec.startswith("rle") else None
    return Part("x", "u1", LARGEST, codec, len(few), runs), few


@pytest.mark.parametrize("codec", CODECS)
def test_a_lying_part_costs_no_memory(codec):
    part, payload = bomb(codec)
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode_array(part, payload)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", ["zlib", "rle+zlib"])
def test_a_zip_bomb_is_not_inflated_beyond_its_claim(codec):
    payload = zlib.compress(bytes(MAX_PART_BYTES), 9)
    runs = 4 if codec == "rle+zlib" else None
    part = Part("x", "u1", (3, 4), codec, len(payload), runs)
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="inflate"):
            decode_array(part, payload)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@settings(max_examples=50)
@given(st.binary(max_size=64), st.sampled_from(CODECS), st.integers(0, 40))
def test_random_bytes_raise_nothing_but_wire_error(payload, codec, runs):
    part = Part("x", "u2", (5, 7), codec, len(payload), runs if codec.startswith("rle") else None)
    with suppress(WireError):
        assert decode_array(part, payload).shape == (5, 7)

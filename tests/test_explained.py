"""Errors that are explained in the documentation say where, and the place is there."""

import re
from pathlib import Path

import numpy as np
import pytest

import fastntk as fn
from fastntk import explained

DOCS = Path(__file__).resolve().parent.parent / "docs"
PLACES = [text for name, text in vars(explained).items() if name.isupper()]
NETWORK = fn.Network(width=1000, dim=2)
X = np.eye(2)


@pytest.mark.parametrize("place", PLACES)
def test_the_section_is_there(place):
    title, page = re.fullmatch(r'See "(.+)" in docs/(.+)\.', place).groups()
    assert f"## {title}\n" in (DOCS / page).read_text(encoding="utf-8")


def refused_checkpoint(folder):
    (folder / "notes.txt").write_text("mine")
    fn.ntk(X, network=NETWORK, checkpoint=folder)


def refused_mask(folder):
    fn.expected_ntk(X, network=NETWORK, mask=fn.BernoulliMask(0.5))


def refused_pair(folder):
    fn.ntk_limit(X, mask=(fn.GaussianMask(0.1), fn.GaussianMask(0.2)))


def too_large_a_kernel(folder):
    fn.ntk(X, network=NETWORK, memory_limit=1)


def too_large_a_run(folder):
    fn.train(X, [0.0, 1.0], network=NETWORK, memory_limit=1)


@pytest.mark.parametrize(
    ("call", "error", "place"),
    [
        (refused_checkpoint, fn.CheckpointError, explained.CHECKPOINTS),
        (refused_mask, ValueError, explained.CLOSED_FORMS),
        (refused_pair, ValueError, explained.KERNELS_UNDER_MASKS),
        (too_large_a_kernel, MemoryError, explained.MEMORY),
        (too_large_a_run, MemoryError, explained.MEMORY),
    ],
)
def test_an_error_ends_with_its_section(call, error, place, tmp_path):
    with pytest.raises(error) as raised:
        call(tmp_path)
    assert str(raised.value).endswith(f". {place}")
    assert str(raised.value).count("See ") == 1

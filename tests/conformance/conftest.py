"""The row that a test is about, one after the other: what it has traced serves all tests of it."""

import pytest

from tests.helpers.rows import ROWS


@pytest.fixture(scope="session", params=ROWS, ids="row {}".format)
def row_name(request):
    return request.param


@pytest.fixture
def row(row_name):
    return ROWS[row_name]

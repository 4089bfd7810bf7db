"""The row that a test is about."""

import pytest

from tests.helpers.rows import ROWS


@pytest.fixture(params=ROWS)
def row(request):
    return ROWS[request.param]

# SPDX-License-Identifier: AGPL-3.0-or-later
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import world  # noqa: E402

REASON = world.why_not()


def pytest_collection_modifyitems(items):
    if REASON:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(params=["native", "tcx"])
def net(request):
    """Without offloads the guard sits at the card; with them behind it."""
    with world.World(offloads=request.param == "tcx") as w:
        w.expected = request.param
        yield w


@pytest.fixture
def card():
    with world.World(offloads=False) as w:
        w.expected = "native"
        yield w

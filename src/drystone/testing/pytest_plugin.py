"""What pytest gets by drystone being installed: the fixture `rehearse`, and the timeline of each rehearsal below a test that failed.

Loaded in every pytest session of an environment that drystone is installed in, so it imports nothing before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from drystone.testing.rehearsal import Rehearsal

# Their asserts are to tell as much as those of a test.
pytest.register_assert_rewrite("drystone.testing.engine_suite", "drystone.testing.store_suite")

REHEARSALS = pytest.StashKey["list[Rehearsal]"]()
"""Of one test."""


@pytest.fixture
def rehearse(request: pytest.FixtureRequest) -> Callable[..., Rehearsal]:
    """`drystone.testing.rehearsal.rehearse`, for plans of the project that pytest's root folder belongs to.

    Takes a plan's name or file, and the keywords inputs, faults, outputs, results and max_parallel.
    """
    from drystone.testing import rehearsal

    made = request.node.stash.setdefault(REHEARSALS, [])

    def rehearsed(plan: Any, **given: Any) -> Rehearsal:
        __tracebackhide__ = True
        result = rehearsal.rehearse(plan, **{"folder": request.config.rootpath, **given})
        made.append(result)
        return result

    return rehearsed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tells what happened in the rehearsals of a test that failed."""
    report = yield
    if report.failed:
        for rehearsal in item.stash.get(REHEARSALS, ()):
            report.sections.append((f"rehearsal of {rehearsal.run.graph.plan.name}", rehearsal.latest.timeline))
    return report

"""All stores keep the same claims."""

from drystone.testing.store_suite import JournalSuite


class TestJournal(JournalSuite):
    """The fixture `journal` of conftest.py gives one store after the other."""

"""For plugin authors and for drystone itself: a run without infrastructure, and suites for every implementation of a port."""

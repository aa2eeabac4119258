"""Use cases, one function each: faces parse, call one of these, and hand what it gives to a view."""

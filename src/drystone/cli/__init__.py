"""The command line: parse, call one function of `app`, hand the result to a view for people or to one for programs."""

"""The default engine: one process, no services. `engine` is the loop, `pool` the threads, `recovery` what a crash left."""

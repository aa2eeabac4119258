"""The default engine: one process, no services. `engine` is the loop, `pool` threads, `timers` time, `recovery` what a crash left."""

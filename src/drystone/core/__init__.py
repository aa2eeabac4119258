"""The pure heart: plan language, graph and run state machine. No clock, chance, files, threads or logging here."""

"""The kinds that ship. Each is found through its entry point, as a stranger's is; none knows another."""

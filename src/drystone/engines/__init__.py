"""Engines perform what the core decides. `attempt` and `context` make one attempt, the same way under every engine."""

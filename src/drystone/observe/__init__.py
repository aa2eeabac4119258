"""What is measured and told of runs while they go on: logs for programs, metrics."""

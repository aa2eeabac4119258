"""What starts runs by itself. Each type of trigger knows one source of events; none knows another."""

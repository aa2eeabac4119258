"""What plugins are made with (`api`) and how they are found (`registry`)."""

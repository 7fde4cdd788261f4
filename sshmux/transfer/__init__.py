"""Files and trees in bulk: their bytes go between a file and the session, not through Python."""

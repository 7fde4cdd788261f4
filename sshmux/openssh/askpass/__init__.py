"""How ssh is started for a log-in, what it asks, and how answers reach it."""

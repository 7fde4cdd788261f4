"""Who answers a log-in's questions, from where, and when to try."""

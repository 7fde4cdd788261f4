"""The `sshmux` command: a face. It reads records and figures, and never reaches into the pool."""

"""sshmux measured against OpenSSH started bare, a floor, and others. `scripts/bench` runs it."""

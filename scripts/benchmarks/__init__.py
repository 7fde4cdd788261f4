"""sshmux measured against OpenSSH started bare, and against asyncssh. `scripts/bench` runs it."""

"""One command on one master."""

"""Forwards: ports and sockets that lead through a connection."""

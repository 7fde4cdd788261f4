"""How a session is opened on a living master. Every engine offers the same names."""

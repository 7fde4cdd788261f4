"""How a session is opened on a living master. Every engine has the shape of `shape.Engine`."""

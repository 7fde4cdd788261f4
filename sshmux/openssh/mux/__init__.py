"""The multiplexing protocol that a master speaks on its control socket."""

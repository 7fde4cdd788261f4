"""Jobs that outlive connections, on plain shells and on batch schedulers."""

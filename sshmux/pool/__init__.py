"""The pool of one cluster: pure decisions, the hands that carry them out, health, figures."""

"""What `eztorch data` does with data before and around training: one module a command, and what these share."""

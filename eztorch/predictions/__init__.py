"""Commands on files of predictions, `eztorch predictions ...`: a module a command."""

"""TODO: docstring of this package."""

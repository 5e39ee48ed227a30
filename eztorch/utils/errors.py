"""Errors that are written for the person who reads them.

The command line prints an `EztorchError` as its message alone, without a traceback, and exits with status 2.
"""

from __future__ import annotations


class EztorchError(Exception):
    """An error whose message names the file, key or value at fault and what would be accepted."""


class ConfigError(EztorchError, ValueError):
    """A key or a value of the configuration cannot be used."""


class DataError(EztorchError, ValueError):
    """A data folder, an annotation file or a label cannot be used."""

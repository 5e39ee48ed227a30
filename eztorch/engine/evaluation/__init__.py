"""The tasks that evaluate: tests, features and what is measured of them, linear probes, scorecards."""

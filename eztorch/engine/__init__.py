"""From a command line to a finished run: compose, check, build, run, report.

`launch.main` is the way in. What composes and helps knows no torch, so that the command line answers at once; `run` and
what it uses are imported when a job starts.
"""

"""What people write by themselves, from the papers, without this package: the suites time against it.

Plain numpy for one instance at a time, loops in Python over users, links or slots. Each agrees with the package's
form to rounding, which the suites print.
"""

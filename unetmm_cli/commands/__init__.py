"""The commands, one file each: parse, call the library, show.

Library modules are imported when a command runs, so that the help text comes at once.
"""

"""The options that commands share, a file for each panel of their help text.

arguments               images, outputs and --json
restoration input output reporting cluster      a panel each
choices                 all panels together, as a command takes them
former                  names that options had before, which still work
signatures              how an annotated function tells Typer its options
"""

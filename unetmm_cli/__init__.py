"""The command line of unetmm: parse, call the library, show."""

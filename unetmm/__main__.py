"""`python -m unetmm`: the command line, which the library itself knows nothing of."""

import runpy

runpy.run_module("unetmm_cli", run_name="__main__", alter_sys=True)

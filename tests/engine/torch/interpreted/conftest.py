"""These tests run kernels in Triton's interpreter, which it must know before it is imported:
`tests/engine/torch/test_interpreted.py` starts them in processes of their own, or by hand

    TRITON_INTERPRET=1 python -m pytest tests/engine/torch/interpreted
"""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]

"""Makes the kernels that are shipped with the package: `make kernels`, after kernels changed.

Needs Linux on a processor with AVX-512, which can run all that is made. Each width of vectors is
made by a process of its own, since a process computes with one.
"""

from __future__ import annotations

import lzma
import os
import pickle
import subprocess
import sys
from typing import Any

PROCESSORS = {8: "x86-64-v3", 16: "x86-64-v4"}
"""The simplest processor with vectors of so many floats, by LLVM's name."""


def main() -> None:
    """Make a file for each width of vectors."""
    for lanes, processor in PROCESSORS.items():
        more = {"UNETMM_LANES": str(lanes), "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
        subprocess.run([sys.executable, __file__, "one"], env=os.environ | more, check=True)


def make_one() -> None:
    """Compile all kernels from the source, for the width of vectors of this process."""
    from numba.core.codegen import JITCodeLibrary

    from unetmm.compiling import cache, processor, shipped

    # Tiles multiply pairs of bfloat16 only, and not every processor could read them.
    processor.multiplies_tiles = lambda: False  # type: ignore[assignment]
    made: dict[shipped.Key, shipped.Shipped] = {}

    class Collecting(cache._Forgiving):
        """Keeps nothing on disk, and reads nothing."""

        def load_overload(self, signature: Any, target: Any) -> None:
            return None

        def save_overload(self, signature: Any, compiled: Any) -> None:
            made[shipped.key_of(self._function, signature)] = _as_shipped(compiled)

    cache._Forgiving = Collecting  # type: ignore[misc]
    optimise = JITCodeLibrary._optimize_final_module

    def keep_and_optimise(library: JITCodeLibrary) -> None:
        library.before = library._final_module.as_bitcode()
        optimise(library)

    JITCodeLibrary._optimize_final_module = keep_and_optimise
    from unetmm.compiling.sources import made_of
    from unetmm.compiling.whole import whole_kernels
    from unetmm.engine.cpu import prepare

    with whole_kernels():
        prepare.compile_all("fp32")
    content = shipped.KernelFile(made_of(), made)
    packed = lzma.compress(pickle.dumps(content), preset=9 | lzma.PRESET_EXTREME)
    shipped.FOLDER.mkdir(exist_ok=True)
    shipped.path().write_bytes(packed)
    print(f"{shipped.path()}: {len(made)} kernels, {len(packed) / 1e3:.0f} kB")


def _as_shipped(compiled: Any) -> Any:
    from numba.core.serialize import dumps

    from unetmm.compiling.shipped import Shipped

    _, function, environment, signature, objects, lifted, _, reload, others = compiled._reduce()
    # Numba's notes on types name files of the machine that they were made on.
    rest = (function, environment, signature, objects, lifted, "", reload, others)
    library = compiled.library
    return Shipped(library.name, library.before, dumps(rest))


if __name__ == "__main__":
    make_one() if "one" in sys.argv else main()

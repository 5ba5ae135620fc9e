#!/usr/bin/env bash
# What the kernels compute on ARM, under emulation, against this processor with vectors as narrow.
#
#     bash tests/arm/run.sh [FOLDER]     (make test-arm)
#
# Needs Debian or Ubuntu with qemu-user, and uv; not root. Fetches an aarch64 Python of Debian and
# wheels for it into FOLDER, where they stay for the next time. Compiling under emulation takes most
# of the time, some ten minutes. PYTHON names the Python to compare with.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3} uv=${UV:-uv}
folder=$(realpath -m "${1:-.cache/arm}")
root=$folder/root site=$folder/site
command -v qemu-aarch64 >/dev/null || { echo "error: apt-get install qemu-user first" >&2; exit 1; }

if [ ! -e "$root/usr/bin/python3.11" ]; then
    mkdir -p "$folder"/{apt/lists/partial,cache/archives/partial,debs} "$root"
    touch "$folder/status"
    apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64
        -o "Dir::State=$folder/apt" -o "Dir::State::lists=$folder/apt/lists"
        -o "Dir::State::status=$folder/status" -o "Dir::Cache=$folder/cache"
        -o Debug::NoLocking=1)
    "${apt[@]}" update
    (cd "$folder/debs" && "${apt[@]}" download libc6 libgcc-s1 libstdc++6 libgomp1 zlib1g \
        libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libcrypt1 libtinfo6 \
        libncursesw6 libreadline8 libdb5.3 libnsl2 libtirpc3 media-types tzdata \
        python3.11 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib)
    for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$root"; done
fi
if [ ! -e "$site/numba" ]; then
    # The packages that this Python has, for the other processor.
    "$python" - >"$folder/wanted.txt" <<'PYTHON'
import importlib.metadata as metadata
import re

wanted, found = ["unetmm"], {}
while wanted:
    name = wanted.pop()
    for need in metadata.requires(name) or ():
        other = re.match(r"[\w.-]+", need)[0]
        if "extra ==" in need and not need.startswith("dask") or other in found:
            continue
        try:
            found[other] = metadata.version(other)
        except metadata.PackageNotFoundError:
            continue
        wanted.append(other)
print("\n".join(f"{name}=={version}" for name, version in found.items()))
PYTHON
    "$uv" pip install -q --python-platform aarch64-manylinux_2_28 --python-version 3.11 \
        --only-binary :all: --no-deps --target "$site" -r "$folder/wanted.txt"
fi

UNETMM_LANES=4 PYTHONPATH=$PWD "$python" benchmarks/processors.py write "$folder/here.npz"
UNETMM_CACHE_DIR=$folder/kernels PYTHONPATH=$PWD:$site \
    qemu-aarch64 -L "$root" "$root/usr/bin/python3.11" benchmarks/processors.py compare "$folder/here.npz"

#!/usr/bin/env bash
# Denoises a real micrograph within 512 MB. UNETMM_DEMO_MODEL: another model than the default.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p out
options=(--mem-budget 512MB --overwrite)
if [ -n "${UNETMM_DEMO_MODEL:-}" ]; then options+=(--model "$UNETMM_DEMO_MODEL"); fi

echo "What would run:"
unetmm plan fluorescence.png -o out/fluorescence.ome.zarr "${options[@]}"
echo "To OME-Zarr:"
unetmm denoise fluorescence.png -o out/fluorescence.ome.zarr --report out/report.json "${options[@]}"
echo "To TIFF:"
unetmm denoise fluorescence.png -o out/fluorescence.tif "${options[@]}"
python before_after.py fluorescence.png out/fluorescence.tif out/before_after.png

echo
echo "The report:"
cat out/report.json
echo
echo "Look at demo/out/before_after.png; the restored image is demo/out/fluorescence.ome.zarr"
echo "(any OME-Zarr viewer) and demo/out/fluorescence.tif."

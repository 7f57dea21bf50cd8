#!/usr/bin/env bash
# Takes the few figures and tables that are committed from a finished default run (./run_all.sh):
# figures/reference/ and results/reference/. A run's own folders stay outside git.
#
#   benchmarks/reference.sh [OUT]     OUT: the run's --out, by default this project
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root}
run=simulated_demo
figures=(
  01_highpass_criterion 01_average_spectra_by_domain 02_known_answer_envelope
  02_clip_map_bearingSim 03_training_curves 04_summary 04_views
  04_sensitivity 06_growth 06_waterfall
)
tables=(table.md table.csv metrics.csv growth.csv)

rm -rf "$root/figures/reference/$run" "$root/results/reference/$run" # what an earlier run left
mkdir -p "$root/figures/reference/$run" "$root/results/reference/$run"
for name in "${figures[@]}"; do
  cp "$out/figures/$run/simulated_$name".{png,json} "$root/figures/reference/$run/"
done
reason=$(basename "$(ls "$out/figures/$run"/simulated_04_reason_00_*.png | head -1)" .png)
cp "$out/figures/$run/$reason".{png,json} "$root/figures/reference/$run/"
for name in "${tables[@]}"; do
  cp "$out/results/$run/$name" "$out/results/$run/$name.json" "$root/results/reference/$run/"
done
echo "${#figures[@]} figures and ${#tables[@]} tables of $out taken into figures/reference and results/reference"

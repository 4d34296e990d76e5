#!/usr/bin/env bash
# Runs the fuzz target on the stable compiler: coverage by the compiler's own pass, libFuzzer from libfuzzer-sys (needs a C++
# compiler), overflow and debug assertions on. No cargo-fuzz, no nightly; no address sanitizer either, which is why the crates under
# test deny unsafe code.
#
# usage: tests/fuzz/run.sh [SECONDS [OPTIONS OF LIBFUZZER...]]
#   The corpus is kept in tests/fuzz/corpus/wire, what fails in tests/fuzz/artifacts. Exits 1 when something fails.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-300}; shift || true
target=$(rustc --print host-tuple)
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks \
-Ccodegen-units=1"
# With a target, build scripts are left without coverage.
cargo build --quiet --locked --release --target "$target" --bin wire
mkdir -p corpus/wire artifacts
"target/$target/release/wire" corpus/wire -max_total_time="$seconds" -max_len=2048 -print_final_stats=1 -artifact_prefix=artifacts/ "$@"

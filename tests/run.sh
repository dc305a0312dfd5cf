#!/usr/bin/env bash
# Runs all tests. The only command for it, here and in CI.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/interop/setup.sh
cargo test --all-features "$@"

#!/usr/bin/env bash
# Runs all tests. The only command for it, here and in CI.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --all-features "$@"

#!/usr/bin/env bash
# Installs the authorization servers (setup.sh) and runs the tests against them. Accepts the
# arguments of `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash tests/interop/setup.sh
# Names the packages of tests/run.sh too, although it runs only one test. Cargo unites the features
# of all named packages, so dependencies are not built again with other features.
cargo test --features full --package tower-oauth2 --package tower-oauth2-server-tests \
    --package tower-oauth2-compile-errors --package tower-oauth2-interop --test interop "$@"

#!/usr/bin/env bash
# Runs all benchmarks and prints the results as Markdown. It takes about twenty minutes, most of
# which is building the crates for comparison.
#
#   bash benches/run.sh              prints the results
#   bash benches/run.sh --write      also writes them to README.md, and the pictures to src/guide
#   bash benches/run.sh --no-peers   omits the other crates
set -euo pipefail
cd "$(dirname "$0")/.."

write='' peers=1 failed=0
for arg; do
    case $arg in
    --write) write=1 ;;
    --no-peers) peers='' ;;
    *)
        echo "unknown option: $arg" >&2
        exit 2
        ;;
    esac
done

page=$(mktemp)
trap 'rm -f "$page"' EXIT
say() { tee -a "$page"; }
# An exceeded budget is printed, and makes the script fail at its end.
figures() { "$@" | grep -E '^(\||- |$)' | say || failed=1; }
bench() { figures cargo bench --quiet --package tower-oauth2-benches --bench "$@"; }

cargo bench --quiet --package tower-oauth2-benches --no-run
printf '## Cost of a request\n\n' | say
bench instructions -- --time
printf '\n## One of many credentials\n\n' | say
bench load -- many
bench memory
printf '\n## Through a server\n\n' | say
bench load -- loopback
printf '\n## Scaling\n\n![calls per second](../src/guide/scaling.svg)\n\n' | say
bench load -- scaling ${write:+--svg "$PWD/src/guide"}
printf '\n## While a token is replaced\n\n![the slowest requests](../src/guide/stalls.svg)\n\n' | say
bench load -- stalls ${write:+--svg "$PWD/src/guide"}
printf '\n## Storms\n\n' | say
bench load -- storms
if [[ $peers ]]; then
    printf '\n## Beside other crates\n\n' | say
    figures cargo bench --quiet --manifest-path benches/peers/Cargo.toml -- --time
fi

if [[ $write ]]; then
    readme=benches/README.md
    {
        sed '/^<!-- figures -->$/q' "$readme"
        echo
        cat -s "$page"
        sed -n '/^<!-- end of figures -->$/,$p' "$readme"
    } >"$page.new"
    # Written in place, so that the file keeps its mode.
    cat "$page.new" >"$readme"
    rm "$page.new"
fi
exit "$failed"

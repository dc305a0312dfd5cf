#!/usr/bin/env bash
# Everything that is measured here, as one page of Markdown. Takes about twenty minutes, most of them to build the crates that are
# compared with.
#
#   bash benches/run.sh              prints it
#   bash benches/run.sh --write      puts it into README.md, and the pictures into src/guide, where the guide shows them too
#   bash benches/run.sh --no-peers   without the other crates
set -euo pipefail
cd "$(dirname "$0")/.."

write='' peers=1 failed=0
for arg; do
    case $arg in
    --write) write=1 ;;
    --no-peers) peers='' ;;
    *)
        echo "unknown: $arg" >&2
        exit 2
        ;;
    esac
done

page=$(mktemp)
trap 'rm -f "$page"' EXIT
say() { tee -a "$page"; }
# A budget that is broken is seen on the page, and in how this ends.
figures() { "$@" | grep -E '^(\||- |$)' | say || failed=1; }
bench() { figures cargo bench --quiet --package tower-oauth2-benches --bench "$@"; }

cargo bench --quiet --package tower-oauth2-benches --no-run
printf '## What a request costs\n\n' | say
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
    # Not moved: it stays the file that it is.
    cat "$page.new" >"$readme"
    rm "$page.new"
fi
exit "$failed"

#!/usr/bin/env bash
# Measures the benchmarks of the hot pieces in this tree and in another revision, in turn, and compares them with benchstat.
# Usage: bench/compare.sh REV [ROUNDS]. The other revision is built in a work tree of its own, which is removed afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
rev=${1:-}
rounds=${2:-6}
[ -n "$rev" ] || { echo "say which revision to compare with: make bench-compare REV=main" >&2; exit 2; }
[[ "$rounds" =~ ^[1-9][0-9]?$ ]] || { echo "COUNT is 1 to 99, not $rounds" >&2; exit 2; }
commit=$(git rev-parse --verify --quiet --end-of-options "$rev^{commit}") || { echo "$rev is no revision" >&2; exit 2; }
work=$(mktemp -d)
trap 'git worktree remove --force "$work/old" 2>/dev/null || true; rm -rf "$work"; git worktree prune' EXIT
git worktree add --quiet --detach "$work/old" "$commit"

# Package and benchmarks. BenchmarkRead of the journal is left out, as it fills a store for a minute first.
pieces=(
  "internal/rpc ."
  "internal/lean ."
  "internal/journal Append"
  "embedded Barrier"
  "internal/order ."
  "internal/payment ."
  "internal/inventory HoldRelease"
  "internal/shipment ."
)
new=$PWD
for side in old new; do
  tree=$work/old
  [ "$side" = old ] || tree=$new
  for piece in "${pieces[@]}"; do
    package=${piece% *}
    if [ -d "$tree/$package" ]; then (cd "$tree" && "$go" test -c -o "$work/$side-${package//\//-}" "./$package"); fi
  done
done
for ((round = 1; round <= rounds; round++)); do
  sides=(old new)
  ((round % 2)) || sides=(new old) # who begins takes turns
  for piece in "${pieces[@]}"; do
    package=${piece% *}
    for side in "${sides[@]}"; do
      tree=$work/old
      [ "$side" = old ] || tree=$new
      binary=$work/$side-${package//\//-}
      [ -x "$binary" ] || continue # the package is new, or has gone
      (cd "$tree/$package" && "$binary" -test.run '^$' -test.bench "${piece#* }" -test.benchmem -test.benchtime 0.3s -test.timeout 5m) >> "$work/$side.txt" ||
        { tail -5 "$work/$side.txt"; echo "$side: the benchmarks of $package failed" >&2; exit 1; }
    done
  done
  echo "round $round of $rounds" >&2
done
"$go" tool benchstat "$rev=$work/old.txt" "this tree=$work/new.txt"

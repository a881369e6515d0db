#!/usr/bin/env bash
# fuzz.sh TIME [TARGET]: run every fuzz target of the module, or the one named,
# for TIME each.
set -eu
for file in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		[ -z "${2:-}" ] || [ "$2" = "$target" ] || continue
		echo "fuzz $target in $(dirname "$file") for $1"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 1x -parallel 2 "./$(dirname "$file")"
	done
done

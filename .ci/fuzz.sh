#!/usr/bin/env bash
# fuzz.sh TIME: run every fuzz target of the module for TIME each.
set -eu
for file in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file"); do
		echo "fuzz $target in $(dirname "$file") for $1"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -parallel 2 "./$(dirname "$file")"
	done
done

#!/usr/bin/env bash
# generate.sh: rebuild what is generated, and fail if that changes anything.
set -eu
(cd targets/internal/simd/gen && go run .)
go run ./cmd/onnxpack-testdata digits testdata/digits
git diff --exit-code

#!/usr/bin/env bash
# arm64.sh: run the tests of the arm64 kernels, under emulation on other CPUs.
set -eu
case $(uname -m) in
aarch64 | arm64)
	exit 0 # the ordinary tests have run them
	;;
esac
if ! command -v qemu-aarch64-static >/dev/null; then
	echo "skipped: no qemu-aarch64-static: arm64 kernels" | tee -a build/skips.txt
	exit 0
fi
GOARCH=arm64 go test -short -exec qemu-aarch64-static ./graph/kernel/... ./targets ./targets/internal/...

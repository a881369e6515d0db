#!/usr/bin/env bash
# judges.sh DIR: install what tests compare with. ONNX's checker, its older
# test data, the arm64 emulator and the disassembler that holds ONNX Runtime to
# older CPUs come from Debian, ONNX Runtime from npm.
# Torch, the second judge of gradients, brings some 400 packages: it is used
# where it is, and installed where ONNXPACK_TORCH is set.
# Where a package manager is missing, what is skipped is written to
# build/skips.txt and shown at the end; a package manager that fails is an
# error.
set -eu
dir=$1
mkdir -p "$dir"
skips=$(dirname "$dir")/skips.txt
: >"$skips"
skip() { echo "skipped: $1" | tee -a "$skips"; }

ort=onnxruntime-node@1.30.0
debian="python3-onnx libonnx-testdata qemu-user-static binutils${ONNXPACK_TORCH:+ python3-torch}"

if command -v dpkg >/dev/null && command -v apt-get >/dev/null; then
	missing=
	for p in $debian; do dpkg -s "$p" >/dev/null 2>&1 || missing="$missing $p"; done
	if [ -n "$missing" ]; then
		sudo=
		[ "$(id -u)" = 0 ] || sudo=sudo
		$sudo apt-get update -qq
		# shellcheck disable=SC2086
		DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing
	fi
else
	skip "no apt-get: ONNX's checker, its older test data, arm64 under emulation, and ONNX Runtime as on older CPUs"
fi

if ! /usr/bin/python3 -c "import importlib.util, sys; sys.exit(not importlib.util.find_spec('torch'))" 2>/dev/null; then
	skip "no python3-torch: gradients of whole blocks beside torch's (ONNXPACK_TORCH=1 installs it)"
fi

if command -v npm >/dev/null; then
	if [ ! -d "$dir/node_modules/onnxruntime-node/bin" ]; then
		npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --silent $ort
	fi
else
	skip "no npm: comparisons with ONNX Runtime"
fi

# make test    every check: build, vet, tests, judges, other platforms (CI runs this)
# make golden  rewrite the expected results that tests compare with
# make generate  rebuild generated files; the tree must stay clean
# make bench   benchmarks of the codec, kernels and engine
# make fuzz    each fuzz target for FUZZTIME
# make cross   build for every platform

FUZZTIME ?= 60s
export GOFLAGS = -buildvcs=false
export CGO_ENABLED = 0

JUDGES := $(CURDIR)/build/judges
ifeq ($(ONNXPACK_ORT),)
ONNXPACK_ORT := $(wildcard $(JUDGES)/node_modules/onnxruntime-node/bin/napi-v6/linux/$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)/libonnxruntime.so.1)
endif
export ONNXPACK_ORT

.PHONY: build test check judges cross arm64 purego fuzz-short golden generate bench bench-ort fuzz

build:
	go build -trimpath -o build/onnxpack ./cmd/onnxpack
	go build -trimpath -o build/onnxpack-ort ./cmd/onnxpack-ort

test: judges
	$(MAKE) check cross purego arm64 fuzz-short
	@cat build/skips.txt

check: build
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go test -timeout 20m ./...

judges:
	.ci/judges.sh $(JUDGES)

cross:
	GOOS=linux GOARCH=arm64 go build ./...
	GOOS=darwin GOARCH=arm64 go build ./...
	GOOS=windows GOARCH=amd64 go build ./...
	go build -tags purego ./...

purego:
	go test -tags purego ./graph/kernel/... ./targets ./targets/engine/...

arm64:
	.ci/arm64.sh

golden:
	go test $$(git grep -l -e 'Bool("update"' -e 'passtest\.' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

generate:
	.ci/generate.sh

bench:
	go test -run '^$$' -bench . -benchtime 1s ./onnxio ./targets/... ./graph/kernel

bench-ort: build
	.ci/bench-ort.sh

fuzz-short:
	.ci/fuzz.sh 60s FuzzDecode
	.ci/fuzz.sh 15s FuzzParse

fuzz:
	.ci/fuzz.sh $(FUZZTIME)

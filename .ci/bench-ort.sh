#!/usr/bin/env bash
# bench-ort.sh: our engine beside ONNX Runtime, in alternating rounds of one
# run; then what a session costs, each in a new process. Models of
# ONNXPACK_SHARED are measured where that is set; JSON goes to build/bench.
set -eu
out=build/bench
mkdir -p "$out"
for net in resnet18 bert empty; do
	[ -f "$out/$net.onnx" ] || go run ./cmd/onnxpack-testdata $net "$out/$net.onnx"
done
[ -d "$out/products" ] || go run ./cmd/onnxpack-testdata products "$out/products"
models="testdata/digits/model.onnx $out/products/*.onnx $out/empty.onnx $out/resnet18.onnx $out/bert.onnx"
if [ -n "${ONNXPACK_SHARED:-}" ]; then
	for m in mobilenetv2_tv squeezenet1.1 cifar10_resnet56 lenet_openvino magika_v3_3 yolox_nano ppocrv3_en_det dnsmos_sig_bak_ovr nsnet2 gtcrn silero_vad dtln_1; do
		models="$models $ONNXPACK_SHARED/models/$m.onnx"
	done
fi
# feeds MODEL: the sizes that a model leaves open, as in its use.
feeds() {
	case $1 in
	*silero_vad*) echo "random:1?input.1=288&state.1=1" ;;
	*nsnet2*) echo "random:1?frames=100" ;;
	*ppocrv3*) echo "random:1?p2o.DynamicDimension.1=320&p2o.DynamicDimension.2=320" ;;
	*) echo "random:1" ;;
	esac
}
# The int8 forms of the networks, calibrated on random numbers.
for m in $models; do
	case $m in */products/* | */empty.onnx | *gtcrn* | *silero_vad* | *dtln_1*) continue ;; esac
	q="$out/$(basename "$m" .onnx).int8.onnx"
	calib=$(feeds "$m")
	[ -f "$q" ] || build/onnxpack optimize "$m" --quiet --no-bench --calib "${calib/random:1/random:4}" --passes simplify,quantize-static -o "$q" || echo "failed: $m"
	models="$models $q"
done
for m in $models; do
	build/onnxpack bench "$m" --data "$(feeds "$m")" --engine embedded,ort --threads "${THREADS:-1,2}" --json "$out/$(basename "$m" .onnx).json" || echo "failed: $m"
done
# Both held to AVX2, where ONNX Runtime can be (Linux on amd64 with objdump),
# also the int8 forms that are made for it: their weights rule saturation out.
if command -v objdump >/dev/null && [ "$(uname -sm)" = "Linux x86_64" ]; then
	nets="$out/resnet18.onnx $out/bert.onnx ${ONNXPACK_SHARED:+$ONNXPACK_SHARED/models/mobilenetv2_tv.onnx $ONNXPACK_SHARED/models/squeezenet1.1.onnx}"
	held="$out/products/gemm_*.onnx $nets"
	for m in $out/products/gemm_f32_*.onnx $nets; do
		q="$out/$(basename "$m" .onnx).avx2.int8.onnx"
		[ -f "$q" ] || build/onnxpack optimize "$m" --quiet --no-bench --target amd64-avx2 --calib random:4 --passes simplify,quantize-static -o "$q" || echo "failed: $m"
		held="$held $q"
	done
	for m in $held; do
		build/onnxpack bench "$m" --target amd64-avx2 --data "$(feeds "$m")" --engine embedded,ort --threads "${THREADS:-1,2}" --json "$out/$(basename "$m" .onnx).avx2.json" || echo "failed: $m"
	done
fi
# The time from the file to the first result, and the peak of memory.
sessions="$out/resnet18.onnx $out/bert.onnx"
[ -z "${ONNXPACK_SHARED:-}" ] || sessions="$sessions $ONNXPACK_SHARED/models/mobilenetv2_tv.onnx $ONNXPACK_SHARED/models/squeezenet1.1.onnx"
for m in $sessions; do
	build/onnxpack bench "$m" --session --data "$(feeds "$m")" --engine embedded,ort --threads "${THREADS:-1,2}" --rounds 9 --json "$out/$(basename "$m" .onnx).session.json" || echo "failed: $m"
done

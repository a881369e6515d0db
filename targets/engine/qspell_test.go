package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
)

// integerNets are operators over integers. x is uint8[2,8,9,7], xs int8 of the
// same shape, f float[2,5,8]; steps are the fused operators that run.
var integerNets = []struct{ name, body, out, steps string }{
	{"conv", `y = QLinearConv<pads = [1,1,1,1]>(x, s, z, w, ws, wz, t, u, b)`, "uint8", "QConv"},
	{"conv chain", `c = QLinearConv<pads = [1,1,1,1]>(x, s, z, w, ws, wz, t, u, b) p = MaxPool<kernel_shape = [3,3], pads = [1,1,1,1]>(c) y = QLinearConv(p, t, u, v, s, wz, s, z)`, "uint8", "QConv QMaxPool QConv"},
	{"signed conv", `c = QLinearConv(xs, s, sz, v, s, wz, s, sz) p = MaxPool<kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]>(c) y = QLinearConv(p, s, sz, v, s, wz, s, sz)`, "int8", "QConv QMaxPool QConv"},
	{"matmul", `y = QLinearMatMul(x, s, z, m, ms, mz, t, u)`, "uint8", "QMatMul"},
	{"gemm", `r = Reshape(x, rows) y = com.microsoft.QGemm(r, s, z, m, ms, mz, mb, t, u)`, "uint8", "QMatMul"},
	{"gemm trans", `r = Reshape(x, rows) y = com.microsoft.QGemm<transB = 1>(r, s, z, mt, s, mz0, mb3, t, u)`, "uint8", "QMatMul"},
	{"integers", `y = MatMulInteger(x, m, z)`, "int32", "DynamicMatMul"},
	{"dynamic", `q, qs, qz = DynamicQuantizeLinear(f) i = MatMulInteger(q, d, qz) k = Mul(qs, ds) c = Cast<to = 1>(i) e = Mul(c, k) a = Add(e, db) g = Sigmoid(a) y = Add(g, f6)`, "float", "DynamicQuantizeLinear Mul DynamicMatMul Add"},
	{"dynamic columns", `q, qs, qz = DynamicQuantizeLinear(f) i = MatMulInteger(q, d, qz) k = Mul(qs, dc) c = Cast<to = 1>(i) y = Mul(c, k)`, "float", "DynamicQuantizeLinear Mul DynamicMatMul"},
	{"dynamic by itself", `p = com.microsoft.DynamicQuantizeMatMul(f, d, dc, dz, db) y = Relu(p)`, "float", "DynamicQuantizeLinear Mul DynamicMatMul"},
	{"dynamic by itself, one scale", `y = com.microsoft.DynamicQuantizeMatMul(f, d, ds)`, "float", "DynamicQuantizeLinear Mul DynamicMatMul"},
	{"mean", `c = QLinearConv<pads = [1,1,1,1]>(x, s, z, w, ws, wz, t, u, b) p = com.microsoft.QLinearGlobalAveragePool(c, t, u, s, z) y = QLinearConv(p, s, z, v, s, wz, t, u)`, "uint8", "QConv QGlobalAveragePool QConv"},
	{"means", `y = com.microsoft.QLinearAveragePool<kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]>(x, s, z, t, u)`, "uint8", "DequantizeLinear AveragePool"},
	{"signed means", `y = com.microsoft.QLinearAveragePool<kernel_shape = [3,2], channels_last = 0, count_include_pad = 1, pads = [1,1,1,1]>(xs, s, sz, t, sz)`, "int8", "DequantizeLinear AveragePool"},
	{"convolution of integers", `y = ConvInteger<pads = [1,1,1,1]>(x, w, z)`, "int32", "DynamicConv"},
	{"grouped convolution of signed integers", `y = ConvInteger<group = 8, strides = [2,1], pads = [0,1,2,1]>(xs, wg, sz)`, "int32", "DynamicConv"},
	{"dynamic convolution", `q, qs, qz = DynamicQuantizeLinear(fx) i = ConvInteger<pads = [1,1,1,1]>(q, w, qz) k = Mul(qs, ds) c = Cast<to = 1>(i) e = Mul(c, k) a = Add(e, wb) y = Relu(a)`, "float", "DynamicQuantizeLinear Mul DynamicConv"},
	{"dynamic convolution by filter", `q, qs, qz = DynamicQuantizeLinear(fx) i = ConvInteger(q, w, qz) k = Mul(qs, wb) c = Cast<to = 1>(i) e = Mul(k, c) y = Sigmoid(e)`, "float", "DynamicQuantizeLinear Mul DynamicConv"},
	{"integers to floats", `y = com.microsoft.MatMulIntegerToFloat(x, m, s, ms, z, mz)`, "float", "DynamicMatMul"},
	{"signed integers to floats", `y = com.microsoft.MatMulIntegerToFloat(xs, m, s, t, sz, mz0)`, "float", "DynamicMatMul"},
}

const integerInits = `, float s = {0.03}, uint8 z = {121}, int8 sz = {-7}, float t = {0.21}, uint8 u = {130}, int8 wz = {0},
	float[4] ms = {0.01, 0.02, 0.03, 0.015}, int8[4] mz = {0, 0, 0, 0}, int8 mz0 = {0}, int32[4] mb = {100, -2000, 30, 7}, int32[3] mb3 = {5, -900, 77},
	int64[2] rows = {144, 7}, float ds = {0.02}, float[6] dc = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, float[6] db = {1, -1, 0.5, 0, 2, -3}, int8[6] dz = {0, 0, 0, 0, 0, 0}`

// Integer operators give the same numbers by fused operators, on every target
// and with any number of threads, as by themselves.
func TestIntegerOperators(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	bytes := func(typ tensor.DType, shape ...int) *tensor.Tensor {
		x := tensor.New(typ, shape)
		for i := range x.Len() {
			switch typ {
			case tensor.Int8:
				tensor.Data[int8](x)[i] = int8(r.Uint32())
			case tensor.Uint8:
				tensor.Data[uint8](x)[i] = uint8(r.Uint32())
			}
		}
		return x
	}
	contents := map[string]*tensor.Tensor{
		"w": bytes(tensor.Int8, 8, 8, 3, 3), "v": bytes(tensor.Int8, 8, 8, 1, 1), "m": bytes(tensor.Int8, 7, 4), "mt": bytes(tensor.Int8, 3, 7),
		"d": bytes(tensor.Int8, 8, 6), "wg": bytes(tensor.Int8, 8, 1, 3, 3), "wb": random(5, 8, 1, 1), "ws": tensor.Vector[float32](.001, .002, .003, .004, .005, .006, .007, .0011),
		"b": tensor.Vector[int32](100, -50000, 3, 0, 77777, 12, -8, 1), "f6": random(3, 2, 5, 6),
	}
	in := feeds{"x": bytes(tensor.Uint8, 2, 8, 9, 7), "xs": bytes(tensor.Int8, 2, 8, 9, 7), "f": random(1, 2, 5, 8), "fx": random(4, 2, 8, 9, 7)}
	for _, net := range integerNets {
		t.Run(net.name, func(t *testing.T) {
			m := parseWith(t, `<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> g (uint8[2,8,9,7] x, int8[2,8,9,7] xs, float[2,5,8] f
				, int8[8,8,3,3] w, int8[8,8,1,1] v, int8[7,4] m, int8[3,7] mt, int8[8,6] d, int8[8,1,3,3] wg, float[2,8,9,7] fx, float[8,1,1] wb, float[8] ws, int32[8] b, float[2,5,6] f6) => (`+net.out+` y)
				<`+integerInits[1:]+`> {`+net.body+`}`, contents)
			want := runModel(t, m, Options{Plain: true, Threads: 1}, in)["y"].(*tensor.Tensor)
			for _, target := range targets.All() {
				if _, err := target.Kernels(); err != nil {
					continue
				}
				for threads := 1; threads <= 2; threads++ {
					got := runModel(t, m, Options{Target: target, Threads: threads}, in)["y"].(*tensor.Tensor)
					same := got.Equal(want)
					if net.out == "float" {
						same = near(tensor.Data[float32](got), tensor.Data[float32](want))
					}
					if !same {
						t.Errorf("%s, %d threads: got %v, want %v", target.Name, threads, got, want)
					}
				}
			}
			runs(t, m, net.steps)
		})
	}
}

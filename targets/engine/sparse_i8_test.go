package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
)

// thinIntegers makes weights of which one in twelve blocks of height rows is not
// zero.
func thinIntegers(rows, depth, height int) []int8 {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(depth)))
	w := make([]int8, rows*depth)
	for row := 0; row < rows; row += height {
		for c := range depth {
			if r.IntN(12) > 0 {
				continue
			}
			for i := range height {
				w[(row+i)*depth+c] = int8(r.IntN(256) - 128)
			}
		}
	}
	return w
}

// A sparse product has the bits of a dense one.
func TestSparseIntegers(t *testing.T) {
	for _, target := range targets.All() {
		k, err := target.Kernels()
		if err != nil {
			continue
		}
		k.SparseI8Cost = min(k.SparseI8Cost, 2)
		for _, height := range []int{1, 4} {
			for _, typ := range []tensor.DType{tensor.Uint8, tensor.Int8} {
				t.Run(fmt.Sprintf("%s/%dx1/%v", target.Name, height, typ), func(t *testing.T) { checkSparseIntegers(t, k, height, typ) })
			}
		}
	}
}

func checkSparseIntegers(t *testing.T, k *kernel.Table, height int, typ tensor.DType) {
	const m, n, depth = 70, 48, 50
	w := thinIntegers(n, 2*depth, height)
	r := rand.New(rand.NewPCG(3, 4))
	p := kernel.ProductI8{Geometry: kernel.Geometry{M: m, N: n, K: depth, LDA: 2 * depth, LDC: n + 1, Taps: []int32{depth, 0}}, Out: kernel.OutQ8, Zero: 9, Lo: -9, Hi: 200}
	p.A, p.Bias, p.Scale = make([]uint8, m*2*depth), make([]int32, n), make([]float32, n)
	for i := range p.A {
		p.A[i] = uint8(r.Uint32())
	}
	for i := range p.Bias {
		p.Bias[i], p.Scale[i] = int32(r.IntN(2000)), r.Float32()/200
	}
	var mem packer
	dense := mem.integers(k, typ, &quantWeights{data: w, shape: tensor.Shape{n, 2 * depth}}, 2, 1)
	mem.finish(func(n, _ int, f func(lo, hi int)) { f(0, n) })
	p.B, p.Extra, p.C8 = dense.packed[0], dense.extra, make([]uint8, m*p.LDC)
	dense.gemm.Block(new(kernel.TileI8), &p, kernel.Range{Hi: m}, kernel.Range{Hi: n})
	want := p.C8
	s := newSparseIntegers(k, typ, w, n, p.Bias)
	if s == nil || s.height != height {
		t.Fatalf("got %+v, want sparse weights in blocks of %d", s, height)
	}
	p.C8 = make([]uint8, len(want))
	s.multiply(&op.Eval{Kernels: k}, &p, nil)
	if !bytes.Equal(p.C8, want) {
		t.Errorf("got %v, want %v", p.C8[:p.LDC], want[:p.LDC])
	}
}

// Quantized operators with sparse weights give what their nodes give, and the
// same bits on every target, with any number of threads.
func TestSparseQuantized(t *testing.T) {
	m := parseWith(t, `<ir_version: 8, opset_import: ["": 20]> g (float[2,32,9,7] x, int8[64,32,3,3] wc, int8[48,64] wm) => (uint8[2,63,48] y_q)
		<float s = {0.05}, float sw = {0.01}, float sy = {0.2}, uint8 z = {120}, uint8 zy = {3}, int64[3] shape = {2, 64, 63}> {
		x_q = QuantizeLinear(x, s, z)
		x_d = DequantizeLinear(x_q, s, z)
		wc_d = DequantizeLinear(wc, sw)
		c = Conv<pads = [1,1,1,1]>(x_d, wc_d)
		r = Relu(c)
		c_q = QuantizeLinear(r, s, z)
		f = Reshape(c_q, shape)
		p = Transpose<perm = [0,2,1]>(f)
		p_d = DequantizeLinear(p, s, z)
		wt = Transpose<perm = [1,0]>(wm)
		wm_d = DequantizeLinear(wt, sw)
		y = MatMul(p_d, wm_d)
		y_q = QuantizeLinear(y, sy, zy)
	}`, map[string]*tensor.Tensor{
		"wc": tensor.Of(tensor.Shape{64, 32, 3, 3}, thinIntegers(64, 288, 4)),
		"wm": tensor.Of(tensor.Shape{48, 64}, thinIntegers(48, 64, 1)),
	})
	in := feeds{"x": random(1, 2, 32, 9, 7)}
	want := runModel(t, m, Options{Plain: true, Threads: 1}, in)["y_q"].(*tensor.Tensor)
	var first *tensor.Tensor
	for _, target := range targets.All() {
		if _, err := target.Kernels(); err != nil {
			continue
		}
		for threads := 1; threads <= 2; threads++ {
			got := runModel(t, m, Options{Target: target, Threads: threads}, in)["y_q"].(*tensor.Tensor)
			if first == nil {
				first = got
				withinSteps(t, got, want, 1)
			}
			if !got.Equal(first) {
				t.Errorf("%s, %d threads: other bits", target.Name, threads)
			}
		}
	}
}

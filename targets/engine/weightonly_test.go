package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

func TestWeightOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	bytes := func(shape ...int) *tensor.Tensor {
		q := tensor.New(tensor.Uint8, shape)
		for i := range tensor.Data[uint8](q) {
			tensor.Data[uint8](q)[i] = uint8(r.Uint32())
		}
		return q
	}
	for _, c := range []struct{ k, n, bits, block int }{{64, 40, 4, 32}, {96, 33, 8, 32}, {70, 21, 4, 16}, {50, 65, 8, 16}} {
		for _, ins := range []string{"x, q, s", "x, q, s, z", "x, q, s, f, , b"} {
			for _, rows := range []int{1, 3, 9} {
				blocks := ceilDiv(c.k, c.block)
				weights := map[string]*tensor.Tensor{
					"q": bytes(c.n, blocks, c.block*c.bits/8), "s": random(3, c.n*blocks), "z": bytes(c.n * ceilDiv(blocks*c.bits, 8)),
					"f": random(4, c.n*blocks), "b": random(5, c.n),
				}
				m := parseWith(t, fmt.Sprintf(`<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]> 
					g (float[2,R,%d] x, uint8%v q, float%v s, uint8%v z, float%v f, float%v b) => (y) { y = com.microsoft.MatMulNBits<K = %[1]d, N = %[7]d, bits = %[8]d, block_size = %[9]d>(%[10]s) }`,
					c.k, weights["q"].Shape(), weights["s"].Shape(), weights["z"].Shape(), weights["f"].Shape(), weights["b"].Shape(), c.n, c.bits, c.block, ins), weights)
				in := feeds{"x": random(6, 2, rows, c.k)}
				want, got := runModel(t, m, Options{Plain: true}, in)["y"], runModel(t, m, Options{Threads: 2}, in)["y"]
				if !near(floats(t, got), floats(t, want)) {
					t.Errorf("%+v, %d rows, inputs %s: fused %v differs from plain %v", c, rows, ins, got, want)
				}
				s, err := Compile(t.Context(), m, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if s.main.steps[0].info.machine == nil {
					t.Errorf("%+v: not fused: %q", c, s.Explain())
				}
			}
		}
	}
}

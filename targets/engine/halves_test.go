package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Products of few rows leave their weights in 16 bits, and give what those give
// that are widened before.
func TestHalfProduct(t *testing.T) {
	for _, typ := range []string{"float16", "bfloat16"} {
		for _, rows := range []int{1, 3, 4, 5} {
			for body, shape := range map[string]tensor.Shape{
				"MatMul(x, w)":              {48, 70},
				"Gemm<transB = 1>(x, w, b)": {70, 48},
			} {
				m := parse(t, fmt.Sprintf(`<ir_version: 10, opset_import: ["": 21]> g (%[1]s[%[2]d,48] x, %[1]s%[3]v w, %[1]s[70] b, %[1]s[%[2]d,70] r) => (%[1]s[%[2]d,70] y) { m = %[4]s a = Add(m, r) y = Relu(a) }`, typ, rows, shape, body))
				in := feeds{"x": randomOf(t, 1, m.Graph.Value("x")), "r": randomOf(t, 4, m.Graph.Value("r"))}
				for i, name := range []string{"w", "b"} {
					v := m.Graph.Value(name)
					m.Graph.SetInit(v, &graph.Literal{Tensor: randomOf(t, uint64(2+i), v)})
					m.Graph.DropInput(v)
				}
				want := runModel(t, m, Options{Plain: true}, in)["y"]
				got := runModel(t, m, Options{Threads: 2}, in)["y"]
				if !nearHalves(floats(t, got), floats(t, want)) {
					t.Errorf("%s, %d rows, %s: got %v, want %v", typ, rows, body, got, want)
				}
				s, err := Compile(t.Context(), m, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if found := slices.ContainsFunc(s.main.steps, func(st step) bool { return st.node.Op == "MatMul16+Relu" }); found != (rows <= fewRows) {
					t.Errorf("%s, %d rows, %s: weights stay in 16 bits: %v", typ, rows, body, found)
				}
			}
		}
	}
}

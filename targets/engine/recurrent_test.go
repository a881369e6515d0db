package engine

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

func TestRecurrent(t *testing.T) {
	const steps, batch, input, hidden = 5, 3, 7, 6
	for _, c := range []struct {
		name, call string
		gates      int
		directions int
		fused      bool
	}{
		{"lstm", `y, h, c = LSTM<hidden_size = 6>(x, w, r, b)`, 4, 1, true},
		{"lstm without bias", `y, h, c = LSTM<hidden_size = 6>(x, w, r)`, 4, 1, true},
		{"lstm states", `y, h, c = LSTM<hidden_size = 6>(x, w, r, b, , h0, c0)`, 4, 1, true},
		{"lstm reverse", `y, h, c = LSTM<hidden_size = 6, direction = "reverse">(x, w, r, b, , h0, c0)`, 4, 1, true},
		{"lstm both", `y, h, c = LSTM<hidden_size = 6, direction = "bidirectional">(x, w, r, b, , h0, c0)`, 4, 2, true},
		{"lstm last state", `, h, c = LSTM<hidden_size = 6>(x, w, r, b) y = Neg(h)`, 4, 1, true},
		{"lstm activations", `y, h, c = LSTM<hidden_size = 6, activations = ["Tanh", "Relu", "Tanh"]>(x, w, r, b)`, 4, 1, false},
		{"gru", `y, h = GRU<hidden_size = 6, linear_before_reset = 1>(x, w, r, b, , h0) c = Neg(h)`, 3, 1, true},
		{"gru both", `y, h = GRU<hidden_size = 6, linear_before_reset = 1, direction = "bidirectional", activations = ["Sigmoid", "Tanh", "Sigmoid", "Tanh"]>(x, w, r, b) c = Neg(h)`, 3, 2, true},
		{"gru reset first", `y, h = GRU<hidden_size = 6>(x, w, r, b) c = Neg(h)`, 3, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, wide := c.directions, c.gates*hidden
			m := parseWith(t, `<ir_version: 8, opset_import: ["": 17]> g (float[S,B,7] x, float[D,B,6] h0, float[D,B,6] c0, float[D,W,7] w, float[D,W,6] r, float[D,V] b) => (y, h, c) {`+c.call+`}`,
				map[string]*tensor.Tensor{"w": random(1, d, wide, input), "r": random(2, d, wide, hidden), "b": random(3, d, 2*wide)})
			in := feeds{"x": random(4, steps, batch, input), "h0": random(5, d, batch, hidden), "c0": random(6, d, batch, hidden)}
			want, got := runModel(t, m, Options{Plain: true}, in), runModel(t, m, Options{}, in)
			for name, w := range want {
				if !got[name].(*tensor.Tensor).Shape().Equal(w.(*tensor.Tensor).Shape()) || !near(floats(t, got[name]), floats(t, w)) {
					t.Errorf("%s: fused %v differs from plain %v", name, got[name], w)
				}
			}
			s, err := Compile(t.Context(), m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if fused := slices.ContainsFunc(s.main.steps, func(st step) bool { _, ok := st.info.machine.(*recurrent); return ok }); fused != c.fused {
				t.Errorf("fused: %v, want %v: %q", fused, c.fused, s.Explain())
			}
		})
	}
}

package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets"
)

// quantNets are small graphs over x, float[N,8,9,7], in which every name with
// a prime is that value quantized and dequantized. steps are the fused
// operators that have to be among those that run.
var quantNets = []struct{ name, body, steps string }{
	{"conv", `c = Conv<pads = [1,1,1,1]>(x', w3, b) y = Relu(c)`, "QConv"},
	{"pool", `c = Conv(x', w1, b) p = MaxPool<kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]>(c') y = Conv(p', ws, b)`, "QConv QMaxPool QConv"},
	{"pool ceil", `c = Conv(x', w1, b) p = MaxPool<kernel_shape = [3,2], strides = [2,3], ceil_mode = 1>(c') y = Conv(p', ws, b)`, "QConv QMaxPool QConv"},
	{"pool dense", `c = Conv(x', w1, b) p = MaxPool<kernel_shape = [5,5], pads = [2,2,2,2]>(c') y = Conv<pads = [1,1,1,1]>(p', w3s, b)`, "QConv QMaxPool QConv"},
	{"concat", `c = Conv(x', w1, b) d = Conv<pads = [1,1,1,1]>(x', w3, b) e = Concat<axis = 1>(c', d', x') y = Conv<pads = [1,1,1,1]>(e', wc)`, "QConv QConv Table Concat QConv"},
	{"silu", `c = Conv(x', w1, b) s = Sigmoid(c') m = Mul(c', s') y = Conv<pads = [1,1,1,1]>(m', w3s, b)`, "QConv QConv"},
	{"hard swish", `c = Conv(x', w1, b) y = HardSwish(c')`, "QConv"},
	{"add", `c = Conv(x', w1, b) d = Conv<pads = [1,1,1,1]>(x', w3, b) a = Add(c', d') r = Relu(a) y = Conv(r', ws, b)`, "QConv QConv QAdd QConv"},
	{"squeeze excite", `c = Conv<pads = [1,1,1,1]>(x', w3, b) p = GlobalAveragePool(c') d = Conv(p', ws, b) h = HardSigmoid(d') y = Mul(c', h')`, "QConv QGlobalAveragePool QConv QMul"},
	{"scale", `c = Conv(x', w1, b) m = Mul(c', k) y = Conv(m', ws, b)`, "QConv QMul QConv"},
	{"resize", `c = Conv(x', w1, b) r = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(c', , twice) y = Conv<pads = [1,1,1,1]>(r', w3s, b)`, "QConv Resize QConv"},
	{"float resize", `c = Conv(x', w1, b) y = Resize<coordinate_transformation_mode = "half_pixel">(c, , twice)`, "QConv Resize"},
	{"mean", `c = Conv(x', w1, b) y = GlobalAveragePool(c')`, "QConv QGlobalAveragePool"},
	{"depthwise", `c = Conv<group = 8, pads = [1,1,1,1]>(x', wd) s = Sigmoid(c') y = Conv(s', w1, b)`, "QDepthwise QConv"},
	{"gemm", `f = Flatten(x') y = Gemm<transB = 1>(f', wt)`, "Table QMatMul"},
	{"matmul", `m = MatMul(x', wm) a = Add(m, b40) r = Relu(a) t = Sigmoid(r') n = MatMul(t', wn) y = Tanh(n)`, "QMatMul QMatMul"},
	{"matmul rows", `m = MatMul(x', wm) a = Add(m', b40) y = Sigmoid(a')`, "QMatMul QAdd Table"},
	{"matmul residual", `m = MatMul(x', wm) n = MatMul(x', wm) y = Add(m, n)`, "QMatMul QMatMul"},
	{"matmul gelu", `m = MatMul(x', wm) a = Add(m, b40) g = Gelu(a) s = Add(g, g) y = MatMul(s', wn)`, "QMatMul Add QMatMul"},
	{"wide", `c = Conv<pads = [1,1,1,1]>(x', u3, b) d = Conv<group = 12, pads = [1,1,1,1]>(c', ud, b) y = Conv(d', ws, b)`, "QConv QDepthwise QConv"},
	{"wide matmul", `y = MatMul(x', um)`, "QMatMul"},
	{"flatten", `c = Conv(x', w1, b) p = MaxPool<kernel_shape = [9,7]>(c') f = Flatten(p') y = Relu(f')`, "QConv QMaxPool Table Table"},
}

var primed = regexp.MustCompile(`\w+'`)

// quantModel makes a model of a body with primes. Weights are quantized to
// int8 with a scale for each filter.
func quantModel(t *testing.T, body string) *graph.Model {
	t.Helper()
	contents := map[string]*tensor.Tensor{"twice": tensor.Vector[float32](1, 1, 2, 2)}
	inits := ", float[4] twice"
	prologue := ""
	weights := imageWeights()
	weights["wm"], weights["wn"], weights["wt"] = random(40, 7, 40), random(41, 40, 24), random(42, 16, 8*9*7)
	for _, name := range []string{"w3", "w3s", "w1", "ws", "wd", "wc", "wt", "wm", "wn", "b40", "b", "k"} {
		w := weights[name]
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(body) {
			continue
		}
		if w.Rank() < 2 || name == "k" {
			contents[name] = w
			inits += fmt.Sprintf(", float%v %s", w.Shape(), name)
			continue
		}
		q := tensor.New(tensor.Int8, w.Shape())
		for i, v := range tensor.Data[float32](w) {
			tensor.Data[int8](q)[i] = int8(max(-127, min(127, v*30)))
		}
		axis := 0
		if name == "wm" || name == "wn" {
			axis = 1
		}
		count := w.Shape()[axis]
		contents[name+"_q"], contents[name+"_s"] = q, tensor.New(tensor.Float32, tensor.Shape{count})
		fill(tensor.Data[float32](contents[name+"_s"]), 1.0/30)
		inits += fmt.Sprintf(", int8%v %s_q, float[%d] %s_s", w.Shape(), name, count, name)
		prologue += fmt.Sprintf(" %s = DequantizeLinear<axis = %d>(%s_q, %s_s)", name, axis, name, name)
	}
	for name, shape := range map[string][]int{"u3": {12, 8, 3, 3}, "ud": {12, 1, 3, 3}, "um": {7, 40}} {
		if strings.Contains(body, name) {
			q := tensor.New(tensor.Uint8, shape)
			for i, v := range tensor.Data[float32](random(43, shape...)) {
				tensor.Data[uint8](q)[i] = uint8(max(0, min(255, 90+v*60)))
			}
			contents[name+"_q"] = q
			inits += fmt.Sprintf(", uint8%v %s_q", q.Shape(), name)
			prologue += fmt.Sprintf(" %[1]s_s = Constant<value = float {0.02}>() %[1]s_z = Constant<value = uint8 {90}>() %[1]s = DequantizeLinear(%[1]s_q, %[1]s_s, %[1]s_z)", name)
		}
	}
	var done []string
	text := primed.ReplaceAllStringFunc(body, func(s string) string { return s[:len(s)-1] + "_d" })
	quantize := func(name string) string {
		scale, zero := 0.25+0.01*float64(len(done)), 120+len(done)
		if name == "x" {
			scale = 0.03
		}
		done = append(done, name)
		return fmt.Sprintf(" %[1]s_s = Constant<value = float {%[2]v}>() %[1]s_z = Constant<value = uint8 {%[3]d}>()"+
			" %[1]s_q = QuantizeLinear(%[1]s, %[1]s_s, %[1]s_z) %[1]s_d = DequantizeLinear(%[1]s_q, %[1]s_s, %[1]s_z)", name, scale, zero)
	}
	nodes := quantize("x")
	for _, line := range strings.SplitAfter(text, ")") {
		nodes += line
		if name, _, ok := strings.Cut(strings.TrimSpace(line), " ="); ok && !slices.Contains(done, name) {
			nodes += quantize(name)
		}
	}
	return parseWith(t, `<ir_version: 8, opset_import: ["": 20]> g (float[2,8,9,7] x`+inits+`) => (uint8 y_q) {`+prologue+nodes+`}`, contents)
}

// Fused integer operators give what the nodes give, but for rounding; and the
// same bits on every target, with any number of threads.
func TestQuantized(t *testing.T) {
	for _, net := range quantNets {
		t.Run(net.name, func(t *testing.T) {
			m := quantModel(t, net.body)
			in := feeds{"x": random(1, 2, 8, 9, 7)}
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
						withinSteps(t, got, want, 4)
					}
					if !got.Equal(first) {
						t.Errorf("%s, %d threads: other bits", target.Name, threads)
					}
				}
			}
			runs(t, m, net.steps)
		})
	}
}

// A constant that is quantized on its way to an output is what it was.
func TestQuantizedConstant(t *testing.T) {
	m := parse(t, `<ir_version: 8, opset_import: ["": 20]> g (float[2,2] x) => (uint8[4,1] q, float y)
		<uint8[1,4] c = {1, 2, 3, 255}, float s = {0.5}, uint8 z = {7}, int64[2] p = {4, 1}> {
		d = DequantizeLinear(c, s, z)
		r = Reshape(d, p)
		q = QuantizeLinear(r, s, z)
		e = DequantizeLinear(q, s, z)
		a = ReduceSum<keepdims = 0>(x)
		b = ReduceSum<keepdims = 0>(e)
		y = Add(a, b)
	}`)
	got := runModel(t, m, Options{}, feeds{"x": random(1, 2, 2)})["q"].(*tensor.Tensor)
	if want := tensor.Of(tensor.Shape{4, 1}, []uint8{1, 2, 3, 255}); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// withinSteps compares quantized tensors.
func withinSteps(t *testing.T, got, want *tensor.Tensor, most int64) {
	t.Helper()
	if !got.Shape().Equal(want.Shape()) {
		t.Fatalf("got %v, want %v", got, want)
	}
	a, b, varied := tensor.Int64s(got), tensor.Int64s(want), false
	for i := range a {
		varied = varied || b[i] != b[0]
		if d := a[i] - b[i]; d > most || d < -most {
			t.Fatalf("element %d is %d, want %d", i, a[i], b[i])
		}
	}
	if !varied {
		t.Fatal("all elements are equal: the test shows nothing")
	}
}

// runs checks that the steps are the named operators, conversions aside.
func runs(t *testing.T, m *graph.Model, names string) {
	t.Helper()
	s, err := Compile(t.Context(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, st := range s.main.steps {
		switch st.node.Op {
		case "ToImage", "FromImage", "QuantizeLinear", "Quantize", "Reshape", "Flatten":
		default:
			steps = append(steps, st.node.Op)
		}
	}
	want := strings.Fields(names)
	sorted := slices.Sorted(slices.Values(steps))
	if !slices.Equal(sorted, slices.Sorted(slices.Values(want))) {
		t.Errorf("steps are %v, want %v: %q", steps, want, s.Explain())
	}
}

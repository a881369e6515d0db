package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func parse(t testing.TB, text string) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// parseWith parses a model and gives the named values, declared as
// initializers or inputs, their contents.
func parseWith(t testing.TB, text string, weights map[string]*tensor.Tensor) *graph.Model {
	t.Helper()
	m := parse(t, text)
	for name, w := range weights {
		v := m.Graph.Value(name)
		m.Graph.SetInit(v, &graph.Literal{Tensor: w})
		if v.IsInput() {
			m.Graph.DropInput(v)
		}
	}
	return m
}

type feeds = map[string]tensor.Value

// runModel compiles and runs a model.
func runModel(t testing.TB, m *graph.Model, o Options, in feeds) feeds {
	t.Helper()
	s, err := Compile(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func floats(t testing.TB, v tensor.Value) []float32 {
	t.Helper()
	x, ok := v.(*tensor.Tensor)
	if !ok {
		t.Fatalf("value is a %T, want a tensor", v)
	}
	return tensor.Float32s(x)
}

// random fills a tensor with numbers of a normal distribution.
func random(seed uint64, shape ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, tensor.Shape(shape).Len())
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return tensor.Of(shape, x)
}

// near reports whether two lists agree within rounding.
func near(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	scale := 1e-6
	for _, v := range b {
		scale = max(scale, math.Abs(float64(v)))
	}
	for i := range a {
		if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= 2e-5*scale) {
			return false
		}
	}
	return true
}

func TestFunctionsAndSubgraphs(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17, "local": 1]>
g (float[2] x, bool c) => (float[2] y, float[2] same)
{
	d = local.scaled<by = 3.0>(x)
	y = If (c) <
		then_branch = then () => (float[2] a) { a = Add(d, x) },
		else_branch = other () => (float[2] b) { b = Neg(d) }
	>
	same = Identity(d)
}
<domain: "local", opset_import: ["": 17]>
scaled <by> (v) => (w) {
	k = Constant<value_float: float = @by>()
	w = Mul(v, k)
}`)
	x := tensor.Vector[float32](1, 2)
	for c, want := range map[bool][]float32{true: {4, 8}, false: {-3, -6}} {
		out := runModel(t, m, Options{}, feeds{"x": x, "c": tensor.Scalar(c)})
		if got := floats(t, out["y"]); !slices.Equal(got, want) {
			t.Errorf("c = %v: y = %v, want %v", c, got, want)
		}
		if got := floats(t, out["same"]); !slices.Equal(got, []float32{3, 6}) {
			t.Errorf("same = %v, want [3 6]", got)
		}
	}
}

func TestRecursiveFunction(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17, "local": 1]>
g (float[2] x) => (float[2] y) { y = local.f(x) }
<domain: "local", opset_import: ["": 17, "local": 1]>
f (v) => (w) { w = local.f(v) }`)
	if _, err := Compile(t.Context(), m, Options{}); err == nil || !strings.Contains(err.Error(), "nest") {
		t.Errorf("a function that calls itself gives %v", err)
	}
}

func TestLoop(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17]>
g (int64 n, float[1] start, float[1] step) => (float[1] last, float[k,1] all)
{
	yes = Constant<value = bool {1}>()
	last, all = Loop(n, yes, start) <body = b (int64 i, bool go, float[1] v) => (bool again, float[1] next, float[1] out) {
		again = Identity(go)
		next = Add(v, step)
		out = Identity(next)
	}>
}`)
	out := runModel(t, m, Options{}, feeds{"n": tensor.Scalar[int64](3), "start": tensor.Vector[float32](1), "step": tensor.Vector[float32](2)})
	if got := floats(t, out["all"]); !slices.Equal(got, []float32{3, 5, 7}) {
		t.Errorf("all = %v, want [3 5 7]", got)
	}
}

func TestDefaults(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17]>
g (float[2] x, float[2] w = {10, 20}) => (float[2] y) { y = Add(x, w) }`)
	s, err := Compile(t.Context(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   feeds
		want []float32
	}{
		{feeds{"x": tensor.Vector[float32](1, 2)}, []float32{11, 22}},
		{feeds{"x": tensor.Vector[float32](1, 2), "w": tensor.Vector[float32](0, 1)}, []float32{1, 3}},
		{feeds{"x": tensor.Vector[float32](1, 2)}, []float32{11, 22}},
	} {
		out, err := s.Run(t.Context(), c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := floats(t, out["y"]); !slices.Equal(got, c.want) {
			t.Errorf("y = %v, want %v", got, c.want)
		}
	}
	if _, err := s.Run(t.Context(), feeds{"x": tensor.Vector[float32](1, 2), "w": nil}); err == nil {
		t.Error("a feed of nil is accepted")
	}
}

func TestErrors(t *testing.T) {
	const head = `<ir_version: 10, opset_import: ["": 17, "custom": 3]> g (float[N,2] x) => (y) `
	one := feeds{"x": random(1, 3, 2)}
	for _, c := range []struct {
		name, body string
		in         feeds
		want       []string
	}{
		{"unknown operator", `{ y = custom.Frob(x) }`, one, []string{`"y"`, "Frob", "custom", "version 3"}},
		{"missing feed", `{ y = Relu(x) }`, feeds{}, []string{`input "x"`, "float[N,2]"}},
		{"stranger", `{ y = Relu(x) }`, feeds{"x": random(1, 3, 2), "z": random(1, 1)}, []string{`feed "z"`}},
		{"wrong type", `{ y = Relu(x) }`, feeds{"x": tensor.New(tensor.Int32, tensor.Shape{1, 2})}, []string{`input "x"`, "int32[1,2]"}},
		{"wrong shape", `{ y = Relu(x) }`, feeds{"x": random(1, 3, 3)}, []string{`input "x"`, "float[3,3]"}},
		{"operands", `{ t = Transpose(x) y = Add(x, t) }`, one, []string{`"y" (Add)`, "float[3,2]", "float[2,3]"}},
		{"kind", `{ s = SequenceConstruct(x) y = Relu(s) }`, one, []string{`"y" (Relu)`, "seq("}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Compile(t.Context(), parse(t, head+c.body), Options{})
			if err == nil {
				_, err = s.Run(t.Context(), c.in)
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

const waves = `<ir_version: 10, opset_import: ["": 17]>
g (float[N,512] x) => (float[N,512] y) { a = Sin(x) b = Cos(a) c = Add(a, b) y = Neg(c) }`

func TestMaxMemory(t *testing.T) {
	m := parse(t, waves)
	one := int64(4 * 100 * 512)
	in := feeds{"x": random(1, 100, 512)}
	for limit, ok := range map[int64]bool{0: true, 3 * one: true, 3*one - 1: false} {
		s, err := Compile(t.Context(), m, Options{MaxMemory: limit})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), in); (err == nil) != ok {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// A model whose weights are larger than the limit is refused before it is
// compiled.
func TestMaxMemoryOfWeights(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17]>
g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 3, 4}> { y = MatMul(x, w) }`)
	for limit, ok := range map[int64]bool{15: false, 16: true} {
		if _, err := Compile(t.Context(), m, Options{MaxMemory: limit}); (err == nil) != ok {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// Nodes run in the order that they need, and the model keeps its own.
func TestUnsorted(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17]>
g (float[2] x) => (float[2] y) { y = Neg(a) a = Abs(x) }`)
	out := runModel(t, m, Options{}, feeds{"x": tensor.Vector[float32](-1, 2)})
	if got := out["y"].(*tensor.Tensor); !got.Equal(tensor.Vector[float32](-1, -2)) {
		t.Errorf("y = %v, want [-1 -2]", tensor.Float32s(got))
	}
	if first := m.Graph.First(); first.Op != "Neg" {
		t.Errorf("the model begins with %v now, want Neg", first)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Compile(ctx, parse(t, waves), Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Run(ctx, feeds{"x": random(1, 1, 512)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run gives %v", err)
	}
}

func TestOutputsAndObserve(t *testing.T) {
	m := parse(t, waves)
	in := feeds{"x": random(1, 2, 512)}
	out := runModel(t, m, Options{Outputs: []string{"b", "y"}}, in)
	if len(out) != 2 || out["b"] == nil || out["y"] == nil {
		t.Errorf("%d outputs, want b and y", len(out))
	}
	seen := map[string]tensor.Value{}
	runModel(t, m, Options{Observe: func(n *graph.Node, outs []tensor.Value) { seen[n.Out(0).Name()] = outs[0] }}, in)
	if len(seen) != 4 || !seen["b"].(*tensor.Tensor).Equal(out["b"].(*tensor.Tensor)) {
		t.Errorf("observed %d values, want 4 that equal the outputs", len(seen))
	}
	if _, err := Compile(t.Context(), m, Options{Outputs: []string{"none"}}); err == nil {
		t.Error("an output that is not there is accepted")
	}
}

func TestSeed(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17]> g () => (float[8] y) { y = RandomNormal<shape = [8]>() }`)
	draw := func(seed uint64) []float32 { return floats(t, runModel(t, m, Options{Seed: seed}, nil)["y"]) }
	if !slices.Equal(draw(1), draw(1)) {
		t.Error("equal seeds draw different numbers")
	}
	if slices.Equal(draw(1), draw(2)) {
		t.Error("different seeds draw equal numbers")
	}
}

func TestConcurrentRuns(t *testing.T) {
	s, err := Compile(t.Context(), parse(t, waves), Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			x := random(seed, 50, 512)
			for range 5 {
				out, err := s.Run(t.Context(), feeds{"x": x})
				if err != nil {
					t.Error(err)
					return
				}
				y := tensor.Float32s(out["y"].(*tensor.Tensor))
				for i, v := range tensor.Float32s(x) {
					a := math.Sin(float64(v))
					if want := -(a + math.Cos(a)); math.Abs(float64(y[i])-want) > 1e-5 {
						t.Errorf("y[%d] = %v, want %v", i, y[i], want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// Results of one run stay as they are while later runs reuse its buffers.
func TestResultsOutliveRuns(t *testing.T) {
	s, err := Compile(t.Context(), parse(t, waves), Options{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Run(t.Context(), feeds{"x": random(1, 4, 512)})
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.Clone(floats(t, first["y"]))
	for seed := range uint64(3) {
		if _, err := s.Run(t.Context(), feeds{"x": random(seed+5, 4, 512)}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(kept, floats(t, first["y"])) {
		t.Error("a later run changed the result of an earlier one")
	}
}

func BenchmarkEmpty(b *testing.B) {
	s, err := Compile(b.Context(), parse(b, `<ir_version: 10, opset_import: ["": 17]> g (float[1] x) => (float[1] y) { y = Identity(x) }`), Options{})
	if err != nil {
		b.Fatal(err)
	}
	in := feeds{"x": random(1, 1)}
	for b.Loop() {
		if _, err := s.Run(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// What follows from the sizes of the feeds alone is computed once for each.
func TestSizes(t *testing.T) {
	m := parse(t, `<ir_version: 10, opset_import: ["": 17]>
g (float[N,M] x, int64 k) => (float[P] y, int64[2] s, float[Q] picked)
<int64[1] all = {-1}, int64[1] zero = {0}> {
	s = Shape(x)
	p = ReduceProd<keepdims = 1>(s)
	y = Reshape(x, p)
	n = NonZero(x)
	ns = Shape(n)
	one = Constant<value_ints = [1]>()
	count = Slice(ns, one, all2)
	all2 = Constant<value_ints = [2]>()
	kk = Reshape(k, all)
	end = Min(count, kk)
	picked = Slice(y, zero, end)
}`)
	if err := m.Graph.Sort(); err != nil {
		t.Fatal(err)
	}
	s, err := Compile(t.Context(), m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		for _, c := range []struct {
			x    *tensor.Tensor
			k    int64
			want []float32
		}{
			{tensor.Of(tensor.Shape{2, 2}, []float32{1, 2, 0, 4}), 9, []float32{1, 2, 0}},
			{tensor.Of(tensor.Shape{2, 2}, []float32{5, 0, 0, 0}), 9, []float32{5}},
			{tensor.Of(tensor.Shape{1, 3}, []float32{7, 8, 9}), 2, []float32{7, 8}},
		} {
			out, err := s.Run(t.Context(), feeds{"x": c.x, "k": tensor.Scalar(c.k)})
			if err != nil {
				t.Fatal(err)
			}
			if got := floats(t, out["picked"]); !slices.Equal(got, c.want) {
				t.Errorf("round %d: picked = %v, want %v", round, got, c.want)
			}
			want := []int64{int64(c.x.Shape()[0]), int64(c.x.Shape()[1])}
			if got := tensor.Data[int64](out["s"].(*tensor.Tensor)); !slices.Equal(got, want) {
				t.Errorf("round %d: s = %v, want %v", round, got, want)
			}
		}
	}
	if p := s.sizes.programFor("float[2,2];int64[];", s.main).now.Load(); len(p.steps) >= len(s.main.steps) {
		t.Error("no step is left out for a size that was seen")
	}
}

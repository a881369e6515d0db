package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// network makes a model without nodes whose input is x.
func network(shape tensor.Shape) (*graph.Model, *graph.Value) {
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}, Graph: graph.New("g")}
	m.Graph.Attach(m)
	return m, m.Graph.AddInput("x", graph.TensorOf(tensor.Float32, graph.DimsOf(shape)))
}

// sparseWeights makes a matrix whose blocks of height rows by one column are
// zero but for the share keep.
func sparseWeights(r *rand.Rand, rows, cols, height int, keep float64) *tensor.Tensor {
	w := make([]float32, rows*cols)
	for row := 0; row < rows; row += height {
		for c := range cols {
			if r.Float64() >= keep {
				continue
			}
			for k := range height {
				w[(row+k)*cols+c] = float32(r.NormFloat64()) / 8
			}
		}
	}
	return tensor.Of(tensor.Shape{rows, cols}, w)
}

// windows makes a model of one convolution with the given attributes.
func windows(shape tensor.Shape, cout int, attrs string, kh, kw, height int, keep float64) *graph.Model {
	m, x := network(shape)
	r := rand.New(rand.NewPCG(7, 8))
	b := graph.NewBuilder(m.Graph, nil)
	w := sparseWeights(r, cout, shape[1]*kh*kw, height, keep).Reshape(tensor.Shape{cout, shape[1], kh, kw})
	y := b.Op("Conv", x, b.Const("w", w), b.Const("b", sparseWeights(r, 1, cout, 1, 1).Reshape(tensor.Shape{cout})))
	text := fmt.Sprintf(`<ir_version: 9, opset_import: ["": 17]> g (x) => (y) { y = Conv <%s> (x) }`, attrs)
	if p, err := graph.ParseModel(text); err == nil {
		for _, a := range p.Graph.First().Attrs() {
			y.Producer().SetAttr(a)
		}
	}
	m.Graph.AddOutput(b.Op("Relu", y))
	return m
}

// product makes a model of one product of rows of x, with a residual of its own
// size if k is n.
func product(shape tensor.Shape, n, height int, keep float64, residual bool) *graph.Model {
	m, x := network(shape)
	r := rand.New(rand.NewPCG(9, 10))
	b := graph.NewBuilder(m.Graph, nil)
	k := shape[len(shape)-1]
	w := sparseWeights(r, n, k, height, keep)
	var y *graph.Value
	if len(shape) == 2 {
		y = b.Op("Gemm", x, b.Const("w", w), b.Const("b", sparseWeights(r, 1, n, 1, 1).Reshape(tensor.Shape{n})))
		y.Producer().SetAttr(graph.IntAttr("transB", 1))
	} else {
		t := make([]float32, n*k)
		for i, v := range tensor.Data[float32](w) {
			t[i%k*n+i/k] = v
		}
		y = b.Op("Add", b.Op("MatMul", x, b.Const("w", tensor.Of(tensor.Shape{k, n}, t))),
			b.Const("b", sparseWeights(r, 1, n, 1, 1).Reshape(tensor.Shape{n})))
	}
	if residual {
		y = b.Op("Add", y, x)
	}
	m.Graph.AddOutput(b.Op("Relu", y))
	return m
}

// pointwise makes a network of convolutions of single pixels with channels
// channels each, activations between, and a residual sum. keep is the share of
// blocks of height outputs by one input that are not zero.
func pointwise(t testing.TB, layers, channels, side, height int, keep float64) *graph.Model {
	t.Helper()
	m, x := network(tensor.Shape{1, channels, side, side})
	r := rand.New(rand.NewPCG(3, 4))
	b := graph.NewBuilder(m.Graph, nil)
	first := x
	for i := range layers {
		w := sparseWeights(r, channels, channels, height, keep)
		x = b.Op("Conv", x, b.Const(fmt.Sprintf("w%d", i), w.Reshape(tensor.Shape{channels, channels, 1, 1})),
			b.Const(fmt.Sprintf("b%d", i), sparseWeights(r, 1, channels, 1, 1).Reshape(tensor.Shape{channels})))
		switch i % 3 {
		case 0:
			x = b.Op("Relu", x)
		case 1:
			x = b.Op("Sigmoid", x)
		}
	}
	x = b.Op("Add", x, first)
	m.Graph.AddOutput(b.Op("GlobalAveragePool", x))
	return m
}

func compiled(t testing.TB, m *graph.Model, o engine.Options) func() *tensor.Tensor {
	t.Helper()
	s, err := engine.Compile(context.Background(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	shape, _ := m.Graph.Inputs()[0].Type.Shape.Static()
	x := tensor.New(tensor.Float32, shape)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(r.NormFloat64())
	}
	feeds := map[string]tensor.Value{"x": x}
	return func() *tensor.Tensor {
		out, err := s.Run(context.Background(), feeds)
		if err != nil {
			t.Fatal(err)
		}
		return out[m.Graph.Outputs()[0].Name()].(*tensor.Tensor)
	}
}

// TestSparseShapes compares sparse operators with plain evaluation over windows
// and products of many shapes.
func TestSparseShapes(t *testing.T) {
	for name, m := range map[string]*graph.Model{
		"3x3":           windows(tensor.Shape{1, 33, 9, 11}, 36, "pads = [1,1,1,1]", 3, 3, 4, 0.1),
		"3x3 rows":      windows(tensor.Shape{2, 32, 8, 5}, 34, "pads = [1,1,1,1]", 3, 3, 1, 0.05),
		"strips":        windows(tensor.Shape{2, 33, 38, 21}, 36, "pads = [1,1,1,1]", 3, 3, 4, 0.1),
		"strips of 5x2": windows(tensor.Shape{1, 32, 35, 6}, 32, "pads = [4,0,1,1], strides = [2,1]", 5, 2, 4, 0.1),
		"stride 2":      windows(tensor.Shape{2, 32, 9, 12}, 32, "pads = [1,1,1,1], strides = [2,2]", 3, 3, 4, 0.1),
		"stride 3 by 2": windows(tensor.Shape{1, 32, 11, 12}, 32, "pads = [0,2,1,0], strides = [3,2]", 2, 5, 4, 0.1),
		"dilation":      windows(tensor.Shape{1, 32, 12, 9}, 32, "pads = [2,1,2,1], dilations = [2,1], strides = [1,2]", 3, 3, 4, 0.1),
		"same upper":    windows(tensor.Shape{1, 32, 8, 8}, 32, "auto_pad = \"SAME_UPPER\", strides = [2,2]", 3, 3, 4, 0.1),
		"no padding":    windows(tensor.Shape{1, 32, 3, 3}, 32, "", 3, 3, 4, 0.1),
		"pixel stride":  windows(tensor.Shape{1, 40, 7, 7}, 32, "strides = [2,2]", 1, 1, 4, 0.1),
		"one row":       product(tensor.Shape{1, 80}, 80, 4, 0.1, true),
		"gemm":          product(tensor.Shape{50, 36}, 40, 4, 0.1, false),
		"matmul":        product(tensor.Shape{3, 130, 40}, 40, 4, 0.1, true),
		"matmul rows":   product(tensor.Shape{2, 33, 37}, 39, 1, 0.1, false),
	} {
		t.Run(name, func(t *testing.T) {
			steps := 0
			trace := func(s engine.Step) {
				if strings.HasPrefix(s.Op, "Sparse") {
					steps++
				}
			}
			got := tensor.Data[float32](compiled(t, m, engine.Options{Trace: trace, Threads: 2})())
			want := tensor.Data[float32](compiled(t, m, engine.Options{Plain: true})())
			if steps != 1 {
				t.Errorf("%d sparse steps, want 1", steps)
			}
			for i, w := range want {
				if g := got[i]; g-w > 1e-4 || w-g > 1e-4 {
					t.Fatalf("element %d is %v, want %v", i, g, w)
				}
			}
		})
	}
	few := product(tensor.Shape{8, 36}, 40, 4, 0.1, false)
	compiled(t, few, engine.Options{Trace: func(s engine.Step) {
		if strings.HasPrefix(s.Op, "Sparse") {
			t.Error("a product of few rows is sparse")
		}
	}})()
}

// TestSparseConv compares sparse operators with plain evaluation, in blocks, in
// rows, and with too few zeros to be used.
func TestSparseConv(t *testing.T) {
	for _, c := range []struct {
		height int
		keep   float64
		sparse bool
	}{{4, 0.1, true}, {1, 0.1, true}, {4, 0.9, false}, {1, 0.5, false}} {
		m := pointwise(t, 4, 40, 9, c.height, c.keep)
		steps := 0
		trace := func(s engine.Step) {
			if strings.HasPrefix(s.Op, "Sparse") {
				steps++
			}
		}
		got := compiled(t, m, engine.Options{Trace: trace, Threads: 2})()
		want := compiled(t, m, engine.Options{Plain: true})()
		if (steps > 0) != c.sparse {
			t.Errorf("height %d, keep %v: %d sparse steps", c.height, c.keep, steps)
		}
		for i, w := range tensor.Data[float32](want) {
			if g := tensor.Data[float32](got)[i]; g-w > 1e-4 || w-g > 1e-4 {
				t.Fatalf("height %d, keep %v: element %d is %v, want %v", c.height, c.keep, i, g, w)
			}
		}
	}
}

// inverted makes a network of blocks as MobileNetV2 has them, whose depthwise
// convolutions lie between sparse ones.
func inverted(shape tensor.Shape, height int, keep float64) *graph.Model {
	m, x := network(shape)
	r := rand.New(rand.NewPCG(11, 12))
	b := graph.NewBuilder(m.Graph, nil)
	conv := func(x *graph.Value, cin, cout, k, stride int, keep float64, height int) *graph.Value {
		name := fmt.Sprint(m.Graph.NumNodes())
		w := sparseWeights(r, cout, cin*k*k, height, keep).Reshape(tensor.Shape{cout, cin, k, k})
		y := b.Op("Conv", x, b.Const("w"+name, w), b.Const("b"+name, sparseWeights(r, 1, cout, 1, 1).Reshape(tensor.Shape{cout})))
		n, pad := y.Producer(), int64(k/2)
		n.SetAttr(graph.IntsAttr("pads", pad, pad, pad, pad))
		n.SetAttr(graph.IntsAttr("strides", int64(stride), int64(stride)))
		if cin == 1 {
			n.SetAttr(graph.IntAttr("group", int64(cout)))
		}
		return y
	}
	x = b.Op("Relu", conv(x, shape[1], 16, 3, 2, keep, height))
	for i, stride := range []int{1, 2, 1} {
		from := x
		x = b.Op("Relu", conv(x, 16, 40, 1, 1, keep, height))
		if x = conv(x, 1, 40, 3, stride, 1, 1); i > 0 {
			x = b.Op("Sigmoid", x)
		}
		if x = conv(x, 40, 16, 1, 1, keep, height); stride == 1 {
			x = b.Op("Add", from, x)
		}
	}
	x = b.Op("HardSwish", conv(conv(x, 16, 40, 1, 1, keep, height), 40, 36, 1, 1, keep, height))
	m.Graph.AddOutput(b.Op("GlobalAveragePool", x))
	return m
}

// TestSparseChain compares a network of sparse and depthwise convolutions with
// plain evaluation. Its layout is never converted, and its result is the same for
// any number of threads.
func TestSparseChain(t *testing.T) {
	for height, keep := range map[int]float64{4: 0.1, 1: 0.05} {
		for _, shape := range []tensor.Shape{{1, 9, 30, 34}, {3, 9, 15, 13}} {
			m := inverted(shape, height, keep)
			var steps []string
			trace := func(s engine.Step) { steps = append(steps, s.Op) }
			got := tensor.Data[float32](compiled(t, m, engine.Options{Trace: trace, Threads: 1})())
			if all := strings.Join(steps, " "); strings.Contains(all, "Image") || strings.Count(all, "Depthwise") != 3 {
				t.Errorf("the steps are %s", all)
			}
			if two := tensor.Data[float32](compiled(t, m, engine.Options{Threads: 2})()); !slices.Equal(got, two) {
				t.Error("results depend on the number of threads")
			}
			for i, w := range tensor.Data[float32](compiled(t, m, engine.Options{Plain: true})()) {
				if g := got[i]; g-w > 1e-4 || w-g > 1e-4 {
					t.Fatalf("height %d, %v: element %d is %v, want %v", height, shape, i, g, w)
				}
			}
		}
	}
}

// BenchmarkSparse reports how much faster models with 90 % and with 70 % of
// their blocks of 4x1, or of single weights, zero are than ones of the same shapes
// without zeros, run by run in turn. Dense windows go by Winograd's tiles, with
// less than half the multiplications, but for those with strides.
func BenchmarkSparse(b *testing.B) {
	for _, c := range []struct {
		name  string
		model func(height int, keep float64) *graph.Model
	}{
		{"pixels", func(h int, keep float64) *graph.Model { return pointwise(b, 6, 256, 28, h, keep) }},
		{"windows", func(h int, keep float64) *graph.Model {
			return windows(tensor.Shape{1, 128, 28, 28}, 128, "pads = [1,1,1,1]", 3, 3, h, keep)
		}},
		{"strides", func(h int, keep float64) *graph.Model {
			return windows(tensor.Shape{1, 128, 56, 56}, 128, "pads = [1,1,1,1], strides = [2,2]", 3, 3, h, keep)
		}},
		{"products", func(h int, keep float64) *graph.Model {
			return product(tensor.Shape{1, 256, 512}, 512, h, keep, false)
		}},
	} {
		for _, height := range []int{4, 1} {
			for _, keep := range []float64{0.1, 0.2, 0.3} {
				b.Run(fmt.Sprintf("%s/%dx1/%.0f", c.name, height, 100-100*keep), func(b *testing.B) {
					dense := compiled(b, c.model(height, 1), engine.Options{Threads: 1})
					sparse := compiled(b, c.model(height, keep), engine.Options{Threads: 1})
					b.ReportMetric(timesFaster(b, dense, sparse), "times-faster")
				})
			}
		}
	}
}

// timesFaster is the median of how much faster b is than a, run in turn.
func timesFaster(b *testing.B, dense, sparse func() *tensor.Tensor) float64 {
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		dense()
		middle := time.Now()
		sparse()
		ratios = append(ratios, float64(middle.Sub(start))/float64(time.Since(middle)))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// pointwise makes a network of convolutions of single pixels with channels
// channels each, activations between, and a residual sum. keep is the share of
// blocks of height outputs by one input that are not zero.
func pointwise(t testing.TB, layers, channels, side, height int, keep float64) *graph.Model {
	t.Helper()
	m := &graph.Model{IRVersion: 9, Opsets: []graph.Opset{{Version: 17}}, Graph: graph.New("g")}
	m.Graph.Attach(m)
	r := rand.New(rand.NewPCG(3, 4))
	x := m.Graph.AddInput("x", graph.TensorOf(tensor.Float32, graph.DimsOf(tensor.Shape{1, channels, side, side})))
	b := graph.NewBuilder(m.Graph, nil)
	first := x
	for i := range layers {
		w := make([]float32, channels*channels)
		for row := 0; row < channels; row += height {
			for c := range channels {
				if r.Float64() >= keep {
					continue
				}
				for k := range height {
					w[(row+k)*channels+c] = float32(r.NormFloat64()) / 8
				}
			}
		}
		bias := make([]float32, channels)
		for k := range bias {
			bias[k] = float32(r.NormFloat64())
		}
		x = b.Op("Conv", x, b.Const(fmt.Sprintf("w%d", i), tensor.Of(tensor.Shape{channels, channels, 1, 1}, w)),
			b.Const(fmt.Sprintf("b%d", i), tensor.Vector(bias...)))
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
			if len(s.Op) > 6 && s.Op[:6] == "Sparse" {
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

// BenchmarkSparse reports how much faster a network with 90 % of its blocks of
// 4x1 zero is than one of the same shapes without zeros, run by run in turn.
func BenchmarkSparse(b *testing.B) {
	const layers, channels, side = 6, 256, 28
	dense := compiled(b, pointwise(b, layers, channels, side, 4, 1), engine.Options{Threads: 1})
	sparse := compiled(b, pointwise(b, layers, channels, side, 4, 0.1), engine.Options{Threads: 1})
	var ratios []float64
	for b.Loop() {
		start := time.Now()
		dense()
		middle := time.Now()
		sparse()
		ratios = append(ratios, float64(middle.Sub(start))/float64(time.Since(middle)))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "times-faster")
}

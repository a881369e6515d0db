package saliency_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/saliency"
	"github.com/onnxpack/onnxpack/targets/engine"
)

func random(seed uint64, shape ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, tensor.Shape(shape).Len())
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return tensor.Of(shape, x)
}

func parse(t *testing.T, text string) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// products are nodes y = op(x, w) or op(w, x), and how the result's elements are
// found: row r of group g at column p.
var products = []struct {
	name, node string
	slot       int
	x, w       []int
	// at is the place of row r of all rows together, at column p of n, in the
	// result.
	at func(r, rows, p, n int) int
}{
	{"conv", "Conv <pads = [1,1,1,1], strides = [2,1]> (x, w)", 1, []int{2, 3, 7, 6}, []int{5, 3, 3, 3}, channels},
	{"conv grouped", "Conv <group = 2, dilations = [2,1], pads = [0,1,2,1]> (x, w)", 1, []int{1, 4, 8, 6}, []int{6, 2, 3, 2}, channels},
	{"conv depthwise", "Conv <group = 4, auto_pad = \"SAME_UPPER\", strides = [2,2]> (x, w)", 1, []int{2, 4, 7, 8}, []int{4, 1, 3, 3}, channels},
	{"conv same lower", "Conv <auto_pad = \"SAME_LOWER\"> (x, w)", 1, []int{1, 2, 5}, []int{3, 2, 4}, channels},
	{"conv valid", "Conv <auto_pad = \"VALID\"> (x, w)", 1, []int{1, 2, 3, 4, 5}, []int{3, 2, 1, 2, 2}, channels},
	{"matmul", "MatMul (x, w)", 1, []int{2, 3, 4}, []int{4, 5}, last},
	{"matmul vector", "MatMul (x, w)", 1, []int{3, 4}, []int{4}, last},
	{"matmul left", "MatMul (w, x)", 0, []int{2, 4, 3}, []int{5, 4}, channels},
	{"gemm", "Gemm (x, w)", 1, []int{3, 4}, []int{4, 5}, last},
	{"gemm transposed", "Gemm <transA = 1, transB = 1> (x, w)", 1, []int{4, 3}, []int{5, 4}, last},
	{"gemm left", "Gemm <transB = 1> (w, x)", 0, []int{3, 4}, []int{5, 4}, channels},
	{"gemm left transposed", "Gemm <transA = 1> (w, x)", 0, []int{4, 3}, []int{4, 5}, channels},
}

func last(r, rows, p, _ int) int { return p*rows + r }

// channels finds an element where each sample has its rows before its columns.
func channels(r, rows, p, n int) int { return p/n*rows*n + r*n + p%n }

// TestColumns multiplies the matrices of weights by the columns that are read
// and compares with what the node computes.
func TestColumns(t *testing.T) {
	for _, c := range products {
		t.Run(c.name, func(t *testing.T) {
			x, w := random(1, c.x...), random(2, c.w...)
			m := parse(t, fmt.Sprintf(`<ir_version: 9, opset_import: ["": 17]> g (float%v x, float%v w) => (y) { y = %s }`,
				graph.DimsOf(x.Shape()), graph.DimsOf(w.Shape()), c.node))
			s, err := engine.Compile(context.Background(), m, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(context.Background(), map[string]tensor.Value{"x": x, "w": w})
			if err != nil {
				t.Fatal(err)
			}
			y := out["y"].(*tensor.Tensor)
			in, err := saliency.InputsOf(m.Graph.First(), c.slot, w.Shape(), 0)
			if err != nil {
				t.Fatal(err)
			}
			cols, err := in.Read(x, 0)
			if err != nil {
				t.Fatal(err)
			}
			compareProduct(t, in.Matrix, cols, w, y, c.at)
		})
	}
}

func compareProduct(t *testing.T, m *saliency.Matrix, cols *saliency.Columns, w, y *tensor.Tensor, at func(r, rows, p, n int) int) {
	t.Helper()
	rows := m.Groups * m.Rows
	if rows*cols.N != y.Len() {
		t.Fatalf("%d rows of %d columns, the result has %v", rows, cols.N, y.Shape())
	}
	perSample := cols.N
	if y.Rank() > 2 {
		perSample = y.Shape()[2:].Len()
	}
	weights, want := tensor.Float64s(w), tensor.Float64s(y)
	for g := range m.Groups {
		for r := range m.Rows {
			for p := range cols.N {
				sum := 0.0
				for i := range m.Cols {
					sum += weights[m.At(g, r, i)] * float64(cols.Groups[g][i*cols.N+p])
				}
				if v := want[at(g*m.Rows+r, rows, p, perSample)]; math.Abs(v-sum) > 1e-4 {
					t.Fatalf("group %d row %d column %d: %v, want %v", g, r, p, sum, v)
				}
			}
		}
	}
}

// TestMoments compares sums with the plain ones, on one thread and on three.
func TestMoments(t *testing.T) {
	for _, shape := range [][]int{{8, 150, 1, 1}, {6, 1, 3, 3}} {
		n := parse(t, fmt.Sprintf(`<ir_version: 9, opset_import: ["": 17]> g (x, w) => (y) { y = Conv <group = %d> (x, w) }`, 1+5*(1-min(1, shape[1]-1)))).Graph.First()
		in, err := saliency.InputsOf(n, 1, shape, 20)
		if err != nil {
			t.Fatal(err)
		}
		one := saliency.NewMoments(in.Matrix, true, kernel.Generic(), 1)
		three := saliency.NewMoments(in.Matrix, true, kernel.Generic(), 3)
		want := make([]float64, in.Matrix.Cols*in.Matrix.Cols)
		for sample := range 3 {
			c, err := in.Read(random(uint64(sample), 1, in.Matrix.Groups*shape[1], 6, 6), sample)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []*saliency.Moments{one, three} {
				if err := s.Add(c); err != nil {
					t.Fatal(err)
				}
			}
			last := c.Groups[in.Matrix.Groups-1]
			for i := range want {
				for p := range c.N {
					want[i] += float64(last[i/in.Matrix.Cols*c.N+p]) * float64(last[i%in.Matrix.Cols*c.N+p])
				}
			}
		}
		g := in.Matrix.Groups - 1
		got, other := one.Hessian(g), three.Hessian(g)
		for i, h := range got {
			if math.Abs(h*float64(one.Count)-want[i]) > 1e-3 {
				t.Fatalf("%v: product %d is %v, want %v", shape, i, h*float64(one.Count), want[i])
			}
			if h != other[i] {
				t.Fatalf("%v: product %d is %v on one thread, %v on three", shape, i, h, other[i])
			}
		}
		for _, centered := range []bool{false, true} {
			one.Centered = centered
			h := one.Hessian(g)
			for i, x := range one.Energies(g) {
				if math.Abs(x-h[i*in.Matrix.Cols+i]) > 1e-5 {
					t.Errorf("%v: energy %d is %v, want %v", shape, i, x, h[i*in.Matrix.Cols+i])
				}
			}
		}
	}
}

package op

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// TestRowsFirst compares pools that are computed by rows with the same by windows.
func TestRowsFirst(t *testing.T) {
	for _, w := range []window{
		{In: []int{9, 11}, Kernel: []int{3, 3}, Stride: []int{2, 2}, Dilation: []int{1, 1}},
		{In: []int{8, 7}, Kernel: []int{2, 3}, Stride: []int{1, 1}, Dilation: []int{1, 1}, Begin: []int{1, 1}, End: []int{1, 1}},
		{In: []int{12, 9}, Kernel: []int{3, 2}, Stride: []int{1, 3}, Dilation: []int{2, 3}, Begin: []int{2, 0}, End: []int{0, 2}},
		{In: []int{5, 5}, Kernel: []int{3, 3}, Stride: []int{2, 2}, Dilation: []int{1, 1}, Begin: []int{0, 0}, End: []int{2, 2}, ceil: true},
		{In: []int{1, 4}, Kernel: []int{1, 4}, Stride: []int{1, 1}, Dilation: []int{1, 1}},
	} {
		if w.Begin == nil {
			w.Begin, w.End = []int{0, 0}, []int{0, 0}
		}
		if err := w.fit(w.In); err != nil {
			t.Fatal(err)
		}
		p, r := &pooling{window: &w, planes: 3}, rand.New(rand.NewPCG(1, 2))
		if !p.separable() {
			t.Fatalf("%+v is not computed by rows", w)
		}
		x := make([]float32, p.planes*p.plane())
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		e := &Eval{Kernels: kernel.Generic()}
		n := p.planes * p.pixels()
		most, sums, wantMost, wantSums := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		least := float32(math.Inf(-1))
		p.rowsFirst(e, most, x, e.Kernels.Max, least)
		p.rowsFirst(e, sums, x, e.Kernels.Add, 0)
		fillWith(wantMost, least)
		for u := range p.planes {
			for _, list := range p.allRuns() {
				maxRuns(wantMost[u*p.pixels():][:p.pixels()], x[u*p.plane():][:p.plane()], list, p.step())
				sumRuns(wantSums[u*p.pixels():][:p.pixels()], x[u*p.plane():][:p.plane()], list, p.step())
			}
		}
		for i := range n {
			if most[i] != wantMost[i] {
				t.Fatalf("%+v: maximum %d is %v, want %v", w, i, most[i], wantMost[i])
			}
			if d := sums[i] - wantSums[i]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("%+v: sum %d is %v, want %v", w, i, sums[i], wantSums[i])
			}
		}
	}
}

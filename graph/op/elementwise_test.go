package op

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Broadcasting through runs, and through kernel rows, equals indexing.
func TestBinaryBroadcast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	sub := binary{
		row: func(k *kernel.Table) func(dst, a, b []float32) { return k.Sub },
		f64: func(a, b float64) float64 { return a - b },
	}
	for range 300 {
		out := make(tensor.Shape, 1+r.IntN(4))
		for i := range out {
			out[i] = 1 + r.IntN(5)
		}
		out[len(out)-1] *= 1 + 100*r.IntN(4)
		sa, sb := narrowed(r, out), narrowed(r, out)
		a, b := randomFloats(r, sa), randomFloats(r, sb)
		e := &Eval{Kernels: kernel.Generic()}
		got, err := sub.apply(e, a, b)
		if err != nil {
			t.Fatal(err)
		}
		shape, _ := tensor.Broadcast(sa, sb)
		if !got.Shape().Equal(shape) {
			t.Fatalf("%v - %v has shape %v", sa, sb, got.Shape())
		}
		stA, stB := broadcastStrides(sa, len(shape)), broadcastStrides(sb, len(shape))
		for i, x := range tensor.Data[float32](got) {
			oa, ob, rest := 0, 0, i
			for ax := len(shape) - 1; ax >= 0; ax-- {
				oa += rest % shape[ax] * stA[ax]
				ob += rest % shape[ax] * stB[ax]
				rest /= shape[ax]
			}
			if want := tensor.Data[float32](a)[oa] - tensor.Data[float32](b)[ob]; x != want {
				t.Fatalf("%v - %v: element %d is %v, want %v", sa, sb, i, x, want)
			}
		}
	}
}

// narrowed returns out with some axes cut to 1 and some leading ones left out.
func narrowed(r *rand.Rand, out tensor.Shape) tensor.Shape {
	s := slices.Clone(out)
	for i := range s {
		if r.IntN(3) == 0 {
			s[i] = 1
		}
	}
	return s[r.IntN(len(s)):]
}

func randomFloats(r *rand.Rand, s tensor.Shape) *tensor.Tensor {
	x := make([]float32, s.Len())
	for i := range x {
		x[i] = r.Float32()
	}
	return tensor.Of(s, x)
}

func TestLanes(t *testing.T) {
	s := tensor.Shape{2, 3, 4}
	src := make([]int, s.Len())
	for i := range src {
		src[i] = i
	}
	for _, c := range []struct {
		axes  []int
		lane  int
		want  []int
		count int
	}{
		{[]int{2}, 1, []int{4, 5, 6, 7}, 6},
		{[]int{1}, 1, []int{1, 5, 9}, 8},
		{[]int{0}, 11, []int{11, 23}, 12},
		{[]int{0, 2}, 1, []int{4, 5, 6, 7, 16, 17, 18, 19}, 3},
		{[]int{0, 1, 2}, 0, src, 1},
		{nil, 5, []int{5}, 24},
	} {
		l := newLanes(s, c.axes...)
		if l.count != c.count {
			t.Errorf("axes %v: %d lanes, want %d", c.axes, l.count, c.count)
		}
		got := readLane(l, c.lane, src, make([]int, l.size))
		if !slices.Equal(got, c.want) {
			t.Errorf("axes %v: lane %d is %v, want %v", c.axes, c.lane, got, c.want)
		}
		dst := make([]int, len(src))
		writeLane(l, c.lane, dst, got)
		for i, x := range dst {
			if x != 0 && x != i {
				t.Errorf("axes %v: element %d of the lane is written to %d", c.axes, x, i)
			}
		}
	}
}

// Lanes that are read side by side are those that are read one by one.
func TestFoldLanes(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, s := range []tensor.Shape{{7}, {3, 1}, {5, 40}, {2, 9, 33}, {2, 3, 4, 17}, {3, 0, 5}, {1, 64, 16}} {
		x := randomFloats(r, s)
		src := tensor.Data[float32](x)
		whole := make([]int64, len(src))
		for i := range whole {
			whole[i] = int64(i)
		}
		for bits := range 1 << len(s) {
			var axes []int
			for a := range s {
				if bits>>a&1 != 0 {
					axes = append(axes, a)
				}
			}
			l := newLanes(s, axes...)
			e := &Eval{Kernels: kernel.Generic()}
			got, numbers := make([]float32, l.count), make([]int64, l.count)
			foldLanes(e, l, got, src, func(lane []float32) float32 { return e.Kernels.Sum(lane) + 1 })
			foldLanes(e, l, numbers, whole, func(lane []int64) int64 { return sumOf(lane) + 1 })
			for i := range got {
				if want := e.Kernels.Sum(readLane(l, i, src, make([]float32, l.size))) + 1; got[i] != want {
					t.Errorf("%v over %v: lane %d gives %v, want %v", s, axes, i, got[i], want)
				}
				if want := sumOf(readLane(l, i, whole, make([]int64, l.size))) + 1; numbers[i] != want {
					t.Errorf("%v over %v: lane %d of integers gives %v, want %v", s, axes, i, numbers[i], want)
				}
			}
		}
	}
}

package op

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// drawConvolution draws a small convolution of one to three spatial axes.
func drawConvolution(t *rapid.T) *convolution {
	rank := rapid.IntRange(1, 3).Draw(t, "rank")
	draw := func(name string, lo, hi int) []int {
		return rapid.SliceOfN(rapid.IntRange(lo, hi), rank, rank).Draw(t, name)
	}
	w := &window{
		Kernel: draw("kernel", 1, 3), Stride: draw("stride", 1, 3), Dilation: draw("dilation", 1, 2),
		Begin: draw("begin", 0, 2), End: draw("end", 0, 2), auto: "NOTSET",
	}
	if err := w.fit(draw("in", 5, 9)); err != nil {
		t.Fatal(err)
	}
	group := rapid.IntRange(1, 3).Draw(t, "group")
	return &convolution{
		window: w, Group: group, Batch: rapid.IntRange(1, 2).Draw(t, "batch"),
		Channels: group * rapid.IntRange(1, 3).Draw(t, "channels"),
		Filters:  group * rapid.IntRange(1, 3).Draw(t, "filters"),
	}
}

func drawNumbers[T number](t *rapid.T, name string, n int) []T {
	out := make([]T, n)
	for i, v := range rapid.SliceOfN(rapid.IntRange(-8, 8), n, n).Draw(t, name) {
		out[i] = T(v)
	}
	return out
}

// byDefinition computes a convolution one product at a time.
func byDefinition[T number](c *convolution, x, weight, bias []T) []T {
	in, out := c.perGroup()
	y := make([]T, c.Batch*c.Filters*c.pixels())
	o, k, at := make([]int, len(c.Out)), make([]int, len(c.Out)), 0
	for i := range y {
		n, m, p := i/c.pixels()/c.Filters, i/c.pixels()%c.Filters, i%c.pixels()
		y[i] = bias[m]
		unravel(o, p, c.Out)
		for ch := range in {
		taps:
			for t := range c.taps() {
				unravel(k, t, c.Kernel)
				at = 0
				for a := range k {
					pos := o[a]*c.Stride[a] + k[a]*c.Dilation[a] - c.Begin[a]
					if pos < 0 || pos >= c.In[a] {
						continue taps
					}
					at = at*c.In[a] + pos
				}
				channel := n*c.Channels + m/out*in + ch
				y[i] += x[channel*c.plane()+at] * weight[(m*in+ch)*c.taps()+t]
			}
		}
	}
	return y
}

func checkConvolve[T number](t *rapid.T) {
	c := drawConvolution(t)
	x := drawNumbers[T](t, "x", c.Batch*c.Channels*c.plane())
	weight := drawNumbers[T](t, "weight", c.Filters*c.depth())
	bias := drawNumbers[T](t, "bias", c.Filters)
	got := make([]T, c.shape().Len())
	convolve(&Eval{Kernels: kernel.Generic()}, c, x, weight, bias, got)
	for i, want := range byDefinition(c, x, weight, bias) {
		if got[i] != want {
			t.Fatalf("element %d is %v, want %v", i, got[i], want)
		}
	}
}

func TestConvolve(t *testing.T) {
	t.Run("float32", rapid.MakeCheck(checkConvolve[float32]))
	t.Run("float64", rapid.MakeCheck(checkConvolve[float64]))
	t.Run("int32", rapid.MakeCheck(checkConvolve[int32]))
}

// A transposed convolution is the adjoint of the convolution over the same
// window: conv(x).y = x.transposed(y).
func TestConvolveTransposedIsAdjoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawConvolution(t)
		e := &Eval{Kernels: kernel.Generic()}
		x := drawNumbers[float64](t, "x", c.Batch*c.Channels*c.plane())
		y := drawNumbers[float64](t, "y", c.shape().Len())
		weight := drawNumbers[float64](t, "weight", c.Filters*c.depth())
		forward, back := make([]float64, len(y)), make([]float64, len(x))
		convolve(e, c, x, weight, nil, forward)
		swapped := *c
		swapped.Channels, swapped.Filters = c.Filters, c.Channels
		convolveTransposed(e, &swapped, y, weight, nil, back)
		if a, b := dot(forward, y), dot(x, back); math.Abs(a-b) > 1e-6 {
			t.Fatalf("conv(x).y is %v, x.transposed(y) is %v", a, b)
		}
	})
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// Every output pixel that a run holds reads a pixel within the input, and the
// counts of a window agree with its runs.
func TestWindowRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawConvolution(t).window
		counts := make([]int32, w.pixels())
		for _, list := range w.allRuns() {
			for _, r := range list {
				for i := range r.N {
					if at := r.In + i*w.step(); at < 0 || at >= w.plane() {
						t.Fatalf("run %+v reads pixel %d of %d", r, at, w.plane())
					}
					counts[r.Out+i]++
				}
			}
		}
		for i, n := range w.counts(false) {
			if counts[i] != n {
				t.Fatalf("output %d is reached by %d taps, counted %d", i, counts[i], n)
			}
		}
	})
}

package targets

import (
	"fmt"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// windowCase is an image row of width pixels under a k x k window.
type windowCase struct{ width, channels, k, stride int }

func windowCases() []windowCase {
	var cases []windowCase
	for _, channels := range []int{1, 3, 7, 8, 9, 15, 16, 17, 33} {
		for width := range 18 {
			cases = append(cases, windowCase{width, channels, 3, 1 + width%2})
		}
	}
	return append(cases, windowCase{7, 24, 5, 1}, windowCase{9, 40, 1, 1}, windowCase{5, 8, 0, 1}, windowCase{450, 48, 5, 1}, windowCase{5, 80, 3, 2}, windowCase{6, 129, 5, 1}, windowCase{7, 64, 6, 1})
}

// window lays the case out with a distance between pixels that is more than
// their channels, and returns the lengths of the input, weights and output.
func (c windowCase) window() (w kernel.Window, in, weights, out int) {
	pixel := c.channels + 2
	row := (max(0, c.width-1)*c.stride + max(1, c.k)) * pixel
	w = kernel.Window{W: c.width, C: c.channels, InStep: c.stride * pixel, OutStep: c.channels + 1}
	for ky := range c.k {
		for kx := range c.k {
			w.Taps = append(w.Taps, kernel.Tap{In: int32(ky*row + kx*pixel), W: int32((ky*c.k + kx) * c.channels)})
		}
	}
	if c.width == 0 {
		return w, 0, c.k * c.k * c.channels, 0
	}
	return w, max(1, c.k)*row - 2, c.k * c.k * c.channels, c.width*w.OutStep - 1
}

func TestDepthwiseF32(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for i, c := range windowCases() {
			r := newRand(i)
			w, in, weights, out := c.window()
			d := kernel.DepthwiseF32{Window: w, In: normals(t, r, in), Weights: normals(t, r, weights), Lo: -2, Hi: 2}
			if i%3 != 0 {
				d.Bias = normals(t, r, c.channels)
			}
			if i%2 != 0 {
				d.ResStep = c.channels + 3
				d.Res = normals(t, r, max(0, c.width*d.ResStep-3))
			}
			if err := d.Check(len(d.In), len(d.Weights), out); err != nil {
				t.Fatal(err)
			}
			want := make([]float32, out)
			d.Out = want
			oracle.DepthwiseF32(&d)
			d.Out = guarded[float32](t, out)
			table.DepthwiseF32(&d)
			sameF32(t, fmt.Sprintf("%+v", c), d.Out, want, 1e-5)
		}
	})
}

func TestDepthwiseU8S8(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for i, c := range windowCases() {
			r := newRand(i)
			w, in, weightCount, out := c.window()
			d := kernel.DepthwiseU8S8{Window: w, In: guarded[uint8](t, in), Weights: weights(t, r, weightCount, false), Lo: -7, Hi: 248, Zero: 7}
			extremes(r, d.In)
			d.Scale = guarded[float32](t, c.channels)
			for c := range d.Scale {
				d.Scale[c] = r.Float32() / 300
			}
			if i%3 != 0 {
				d.Bias = guarded[int32](t, c.channels)
				for c := range d.Bias {
					d.Bias[c] = int32(r.IntN(4000)) - 2000
				}
			}
			want := make([]uint8, out)
			d.Out = want
			oracle.DepthwiseU8S8(&d)
			d.Out = guarded[uint8](t, out)
			table.DepthwiseU8S8(&d)
			same(t, fmt.Sprintf("%+v", c), d.Out, want)
		}
	})
}

func TestPools(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for i, c := range windowCases() {
			w, in, _, out := c.window()
			p := kernel.Pool{Window: w, In: normals(t, newRand(i), in), Factor: 1}
			for name, pair := range map[string][2]func(*kernel.Pool){
				"max": {table.PoolMax, oracle.PoolMax}, "sum": {table.PoolSum, oracle.PoolSum},
			} {
				want := make([]float32, out)
				p.Out = want
				pair[1](&p)
				p.Out = guarded[float32](t, out)
				pair[0](&p)
				sameF32(t, fmt.Sprintf("%s %+v", name, c), p.Out, want, 1e-5)
				p.Factor = 0.25
			}
		}
	})
}

func BenchmarkDepthwiseU8S8(b *testing.B) {
	for _, table := range runnableTables(b) {
		for _, c := range []windowCase{{56, 144, 3, 1}, {14, 384, 3, 1}, {7, 960, 3, 1}} {
			b.Run(fmt.Sprintf("%s/%dx%d/%d", table.Name, c.width, c.channels, c.stride), func(b *testing.B) {
				row := (c.width*c.stride + 2) * c.channels
				d := kernel.DepthwiseU8S8{In: make([]uint8, 3*row), Weights: make([]int8, 9*c.channels), Out: make([]uint8, c.width*c.channels), Scale: make([]float32, c.channels)}
				d.Window = kernel.Window{W: c.width, C: c.channels, InStep: c.stride * c.channels, OutStep: c.channels}
				for i := range 9 {
					d.Taps = append(d.Taps, kernel.Tap{In: int32(i/3*row + i%3*c.channels), W: int32(i * c.channels)})
				}
				const repeat = 20
				benchBest(b, table, repeat*c.width*c.channels*9, func() {
					for range repeat {
						table.DepthwiseU8S8(&d)
					}
				})
			})
		}
	}
}

func BenchmarkDepthwiseF32(b *testing.B) {
	for _, table := range runnableTables(b) {
		for _, c := range []windowCase{{56, 16, 3, 1}, {14, 64, 3, 1}, {56, 32, 3, 1}, {8, 16, 3, 1}, {56, 144, 3, 1}, {14, 384, 3, 1}, {7, 960, 3, 1}, {28, 192, 3, 2}} {
			b.Run(fmt.Sprintf("%s/%dx%d/%d", table.Name, c.width, c.channels, c.stride), func(b *testing.B) {
				row := (c.width*c.stride + 2) * c.channels
				d := kernel.DepthwiseF32{In: make([]float32, 3*row), Weights: make([]float32, 9*c.channels), Out: make([]float32, c.width*c.channels), Hi: 6}
				d.Window = kernel.Window{W: c.width, C: c.channels, InStep: c.stride * c.channels, OutStep: c.channels}
				for i := range 9 {
					d.Taps = append(d.Taps, kernel.Tap{In: int32(i/3*row + i%3*c.channels), W: int32(i * c.channels)})
				}
				const repeat = 20 // as many rows of an image
				benchBest(b, table, repeat*c.width*c.channels*9, func() {
					for range repeat {
						table.DepthwiseF32(&d)
					}
				})
			})
		}
	}
}

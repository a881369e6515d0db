package targets

import (
	"fmt"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// planesCase makes a convolution of c channels of h x w.
func planesCase(t testing.TB, c, h, w, stride, top, left int) *kernel.DepthwisePlanes {
	r := newRand(c, h, w, stride, top, left)
	d := &kernel.DepthwisePlanes{C: c, H: h, W: w, Stride: stride, Top: top, Left: left, Lo: -2, Hi: 2}
	d.OH, d.OW = max(0, h+2*top-3)/stride+1, max(0, w+2*left-3)/stride+1
	d.LDR = w + h%3
	d.LDI, d.LDO = h*d.LDR+3, d.OH*d.OW+2
	d.In = normals(t, r, (c-1)*d.LDI+(h-1)*d.LDR+w)
	d.Weights = normals(t, r, 9*c)
	if w%3 != 0 {
		d.Bias = normals(t, r, c)
	}
	return d
}

func TestDepthwisePlanes(t *testing.T) {
	oracle := kernel.Generic()
	eachKernel(t, func(table *kernel.Table) func(*kernel.DepthwisePlanes) { return table.DepthwisePlanes },
		func(t *testing.T, f func(*kernel.DepthwisePlanes)) {
			for _, h := range []int{1, 2, 3, 4, 7, 8} {
				for _, w := range []int{1, 2, 3, 7, 8, 9, 14, 15, 16, 17, 18, 28, 31, 32, 33, 34, 112} {
					for stride := 1; stride <= 2; stride++ {
						for pad := range 3 {
							d := planesCase(t, 1+w%3, h, w, stride, pad%2, pad)
							want := make([]float32, (d.C-1)*d.LDO+d.OH*d.OW)
							d.Out = want
							oracle.DepthwisePlanes(d)
							d.Out = guarded[float32](t, len(want))
							f(d)
							sameF32(t, fmt.Sprintf("%d x %d x %d, stride %d, padding %d, %d", d.C, h, w, stride, d.Top, d.Left), d.Out, want, 1e-5)
						}
					}
				}
			}
		})
}

func BenchmarkDepthwisePlanes(b *testing.B) {
	for _, table := range runnableTables(b) {
		for _, c := range [][4]int{{4, 112, 112, 1}, {4, 112, 112, 2}, {4, 56, 56, 1}, {64, 14, 14, 1}, {64, 14, 14, 2}, {64, 7, 7, 1}} {
			d := planesCase(b, c[0], c[1], c[2], c[3], 1, 1)
			d.Out = make([]float32, d.C*d.LDO)
			b.Run(fmt.Sprintf("%s/%dx%dx%d/%d", table.Name, c[0], c[1], c[2], c[3]), func(b *testing.B) {
				benchBest(b, table, d.C*d.OH*d.OW*9, func() { table.DepthwisePlanes(d) })
			})
		}
	}
}

package targets

import (
	"fmt"
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// TestWinogradConvolution compares the algorithm with the convolution it
// replaces, for one tile and one channel.
func TestWinogradConvolution(t *testing.T) {
	r := newRand(1)
	d, weights := normals(t, r, 36), normals(t, r, 9)
	transformed := kernel.WinogradWeights([9]float32(weights))
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		in := kernel.WinogradInput{In: d, Out: make([]float32, 36), RowStep: 6, PixelStep: 1, Step: 1, C: 1}
		table.WinogradInput(&in)
		for e := range in.Out {
			in.Out[e] *= transformed[e]
		}
		inf := float32(math.Inf(1))
		out := kernel.WinogradOutput{In: in.Out, Out: make([]float32, 16), RowStep: 4, PixelStep: 1, Step: 1, C: 1, H: 4, W: 4, Lo: -inf, Hi: inf}
		table.WinogradOutput(&out)
		want := make([]float32, 16)
		for y := range 4 {
			for x := range 4 {
				for k := range 9 {
					want[4*y+x] += d[6*(y+k/3)+x+k%3] * weights[k]
				}
			}
		}
		sameF32(t, "convolution", out.Out, want, 3e-5)
	})
}

func TestWinogradTransforms(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, c := range []int{1, 7, 8, 9, 16, 17, 40} {
			r, pixel := newRand(c), c+1
			row, step := 7*pixel, c+3
			in := kernel.WinogradInput{In: normals(t, r, 5*row+5*pixel+c), RowStep: row, PixelStep: pixel, Step: step, C: c}
			in.Out = make([]float32, 35*step+c)
			oracle.WinogradInput(&in)
			want := in.Out
			in.Out = guarded[float32](t, len(want))
			table.WinogradInput(&in)
			sameF32(t, fmt.Sprintf("input of %d channels", c), in.Out, want, 1e-5)
			for h := 1; h <= 4; h++ {
				checkWinogradOutput(t, oracle, table, in.Out, c, h, 1+(h+c)%4)
			}
		}
	})
}

func checkWinogradOutput(t *testing.T, oracle, table *kernel.Table, sums []float32, c, h, w int) {
	t.Helper()
	r, pixel := newRand(c, h, w), c+2
	row := 5 * pixel
	out := kernel.WinogradOutput{In: sums, RowStep: row, PixelStep: pixel, Step: c + 3, C: c, H: h, W: w, Lo: -20, Hi: 20}
	if h%2 == 0 {
		out.Bias = normals(t, r, c)
	}
	if w%2 == 0 {
		out.ResRowStep, out.ResPixelStep = 6*pixel, pixel+1
		out.Res = normals(t, r, (h-1)*out.ResRowStep+(w-1)*out.ResPixelStep+c)
	}
	want := make([]float32, (h-1)*row+(w-1)*pixel+c)
	out.Out = want
	oracle.WinogradOutput(&out)
	out.Out = guarded[float32](t, len(want))
	table.WinogradOutput(&out)
	sameF32(t, fmt.Sprintf("output of %d channels, %dx%d", c, h, w), out.Out, want, 1e-5)
}

package dft

import (
	"math"
	"testing"
)

// A forward transform equals the sum of its definition, and the inverse takes
// it back, whole and one-sided, for lengths with small and large factors.
func TestTransform(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 13, 30} {
		x := make([]float64, n)
		for i := range x {
			x[i] = math.Sin(float64(3*i*i + 1))
		}
		for _, onesided := range []bool{false, true} {
			f := Plan{Length: n, Onesided: onesided}
			y := make([]float64, 2*f.Out())
			f.Transform(y, x, 1)
			for k := range f.Out() {
				var re, im float64
				for j, v := range x {
					s, c := math.Sincos(-2 * math.Pi * float64(j*k) / float64(n))
					re, im = re+v*c, im+v*s
				}
				if math.Abs(re-y[2*k])+math.Abs(im-y[2*k+1]) > 1e-9 {
					t.Errorf("length %d: value %d is %v+%vi, want %v+%vi", n, k, y[2*k], y[2*k+1], re, im)
				}
			}
			b := Plan{Length: n, Inverse: true, Onesided: onesided}
			z := make([]float64, b.OutParts()*n)
			b.Transform(z, y, 2)
			for i, v := range x {
				if math.Abs(z[i*b.OutParts()]-v) > 1e-9 {
					t.Errorf("length %d: inverse gives %v at %d, want %v", n, z[i*b.OutParts()], i, v)
				}
			}
		}
	}
}

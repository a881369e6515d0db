package distill

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// TestInherited finds the teacher's channels in a student's that are scaled,
// shifted and noisy, and none in random ones.
func TestInherited(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := func(channels int) *tensor.Tensor {
		x := make([]float32, 2*channels*9)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return tensor.Of(tensor.Shape{2, channels, 3, 3}, x)
	}
	kept := []int64{3, 0, 5}
	var cut, other fit
	for range 20 {
		teacher := random(6)
		student := random(3)
		x, y := tensor.Data[float32](student), tensor.Data[float32](teacher)
		for i := range x {
			n, c, place := i/27, i/9%3, i%9
			x[i] = 0.3*x[i] + 2*y[n*54+int(kept[c])*9+place] + 1
		}
		cut.add(student, teacher)
		other.add(random(3), teacher)
	}
	if got := cut.inherited(); !slices.Equal(got, kept) {
		t.Errorf("channels are %v, want %v", got, kept)
	}
	if got := other.inherited(); got != nil {
		t.Errorf("random channels are %v, want none", got)
	}
}

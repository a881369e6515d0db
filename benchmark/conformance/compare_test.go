package conformance

import (
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

func TestCompare(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name      string
		got, want tensor.Value
		ok        bool
	}{
		{"equal", tensor.Vector[float32](1, 2), tensor.Vector[float32](1, 2), true},
		{"within", tensor.Vector[float32](1.0005), tensor.Vector[float32](1), true},
		{"beyond", tensor.Vector[float32](1.002), tensor.Vector[float32](1), false},
		{"nan", tensor.Vector(nan), tensor.Vector(nan), true},
		{"nan against number", tensor.Vector(nan), tensor.Vector[float32](1), false},
		{"infinity", tensor.Vector[float32](1), tensor.Vector(float32(math.Inf(1))), false},
		{"integers", tensor.Vector[int32](1001), tensor.Vector[int32](1000), false},
		{"shape", tensor.Of(tensor.Shape{1, 1}, []float32{1}), tensor.Vector[float32](1), false},
		{"type", tensor.Vector(1.0), tensor.Vector[float32](1), false},
		{"strings", tensor.OfStrings(tensor.Shape{1}, []string{"a"}), tensor.OfStrings(tensor.Shape{1}, []string{"b"}), false},
		{"none", tensor.None{}, tensor.None{}, true},
		{"nothing", nil, tensor.Vector[float32](1), false},
		{"sequence", &tensor.Seq{Items: []tensor.Value{tensor.Vector[int64](1)}}, &tensor.Seq{}, false},
	} {
		if err := Compare(c.got, c.want, Default); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

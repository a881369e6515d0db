package tensor

import "testing"

func TestSparseDense(t *testing.T) {
	want := Of(Shape{2, 3}, []float32{0, 5, 0, 0, 0, 7})
	for name, indices := range map[string]*Tensor{
		"linear":      Vector[int64](1, 5),
		"coordinates": Of(Shape{2, 2}, []int64{0, 1, 1, 2}),
	} {
		s := &Sparse{Values: Vector[float32](5, 7), Indices: indices, Shape: Shape{2, 3}}
		got, err := s.Dense()
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: Dense() = %v, %v, want %v", name, got, err, want)
		}
	}
	s := &Sparse{Values: Vector[float32](5), Indices: Vector[int64](6), Shape: Shape{2, 3}}
	if _, err := s.Dense(); err == nil {
		t.Error("an index beyond the shape is accepted")
	}
}

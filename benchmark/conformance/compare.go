package conformance

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Tolerance bounds the difference of two numbers: |got-want| may be
// Abs + Rel*|want|.
type Tolerance struct {
	Rel float64 `json:"rtol"`
	Abs float64 `json:"atol"`
}

// Default is the tolerance of ONNX's own backend tests.
var Default = Tolerance{Rel: 1e-3, Abs: 1e-7}

// of returns t, loosened to a few units in the last place of narrow floats.
func (t Tolerance) of(d tensor.DType) Tolerance {
	switch d {
	case tensor.Float16:
		return Tolerance{max(t.Rel, 4e-3), max(t.Abs, 1e-4)}
	case tensor.BFloat16:
		return Tolerance{max(t.Rel, 2e-2), max(t.Abs, 1e-3)}
	}
	return t
}

// BetweenEngines is the tolerance of two engines to each other. They sum in
// different orders, so what sums to little is off by a share of what was
// summed, for which the largest number of the result stands.
func BetweenEngines(want tensor.Value) Tolerance {
	tol := Tolerance{Rel: 1e-3, Abs: 1e-5}
	t, ok := want.(*tensor.Tensor)
	if !ok || !t.DType().IsFloat() {
		return tol
	}
	share := 1e-4
	switch t.DType() {
	case tensor.Float16:
		share = 1e-3
	case tensor.BFloat16:
		share = 1e-2
	}
	for _, x := range tensor.Float64s(t) {
		if x = math.Abs(x); !math.IsInf(x, 0) {
			tol.Abs = max(tol.Abs, share*x)
		}
	}
	return tol
}

// Compare reports the first difference between two values beyond the
// tolerance. Types and shapes must be equal; so must strings, integers and
// the structure of sequences and maps; NaN equals NaN.
func Compare(got, want tensor.Value, tol Tolerance) error {
	switch want := want.(type) {
	case *tensor.Tensor:
		if got, ok := got.(*tensor.Tensor); ok {
			return compareTensors(got, want, tol.of(want.DType()))
		}
	case *tensor.Sparse:
		if got, ok := got.(*tensor.Sparse); ok {
			return compareSparse(got, want, tol)
		}
	case *tensor.Seq:
		if got, ok := got.(*tensor.Seq); ok {
			return compareLists("item", got.Items, want.Items, tol)
		}
	case *tensor.Map:
		if got, ok := got.(*tensor.Map); ok {
			if !got.Keys.Equal(want.Keys) {
				return fmt.Errorf("keys of the map are %v, want %v", got.Keys, want.Keys)
			}
			return compareLists("value", got.Values, want.Values, tol)
		}
	case tensor.None:
		if _, ok := got.(tensor.None); ok {
			return nil
		}
	}
	return fmt.Errorf("got a %T, want a %T", got, want)
}

func compareSparse(got, want *tensor.Sparse, tol Tolerance) error {
	if !got.Shape.Equal(want.Shape) {
		return fmt.Errorf("shape %v, want %v", got.Shape, want.Shape)
	}
	g, err := got.Dense()
	if err != nil {
		return err
	}
	w, err := want.Dense()
	if err != nil {
		return err
	}
	return compareTensors(g, w, tol.of(w.DType()))
}

func compareLists(what string, got, want []tensor.Value, tol Tolerance) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d %ss, want %d", len(got), what, len(want))
	}
	for i := range want {
		if err := Compare(got[i], want[i], tol); err != nil {
			return fmt.Errorf("%s %d: %w", what, i, err)
		}
	}
	return nil
}

func compareTensors(got, want *tensor.Tensor, tol Tolerance) error {
	if got.DType() != want.DType() || !got.Shape().Equal(want.Shape()) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	d := want.DType()
	switch {
	case d == tensor.String:
		return compareExact(got.Strings(), want.Strings())
	case d.IsInteger() && d.Bits() == 64:
		return compareExact(tensor.Data[int64](got), tensor.Data[int64](want))
	case d.IsInteger() || d == tensor.Bool:
		return compareExact(tensor.Int64s(got), tensor.Int64s(want))
	case d == tensor.Complex64:
		return compareNumbers(parts(tensor.Data[complex64](got)), parts(tensor.Data[complex64](want)), tol)
	case d == tensor.Complex128:
		return compareNumbers(parts(tensor.Data[complex128](got)), parts(tensor.Data[complex128](want)), tol)
	}
	return compareNumbers(tensor.Float64s(got), tensor.Float64s(want), tol)
}

// parts returns real and imaginary parts in turn.
func parts[T complex64 | complex128](x []T) []float64 {
	out := make([]float64, 0, 2*len(x))
	for _, c := range x {
		out = append(out, real(complex128(c)), imag(complex128(c)))
	}
	return out
}

func compareExact[T comparable](got, want []T) error {
	if slices.Equal(got, want) {
		return nil
	}
	wrong, first := 0, -1
	for i := range want {
		if got[i] != want[i] {
			wrong++
			if first < 0 {
				first = i
			}
		}
	}
	return fmt.Errorf("%d of %d elements differ, first at %d: got %v, want %v", wrong, len(want), first, got[first], want[first])
}

func compareNumbers(got, want []float64, tol Tolerance) error {
	wrong, first, worst := 0, -1, 0.0
	for i, w := range want {
		g := got[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		diff := math.Abs(g - w)
		if diff <= tol.Abs+tol.Rel*math.Abs(w) && !math.IsInf(w, 0) {
			continue
		}
		wrong++
		worst = max(worst, diff)
		if first < 0 {
			first = i
		}
	}
	if wrong == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d elements differ by up to %.3g, first at %d: got %v, want %v",
		wrong, len(want), worst, first, got[first], want[first])
}

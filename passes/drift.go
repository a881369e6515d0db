package passes

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Drift is how far outputs moved, relative to the outputs before. Max is the
// largest difference of two elements over the largest magnitude in their
// tensor; RMS the root of the squared differences' sum over that of the
// squared outputs; the worst output counts. Elements that are not numbers
// count as the share of those that differ.
type Drift struct {
	Max float64 `json:"max"`
	RMS float64 `json:"rms"`
}

func (d Drift) worst(e Drift) Drift {
	return Drift{max(d.Max, e.Max), max(d.RMS, e.RMS)}
}

// Compare returns how far got is from want; the error says where they differ
// in kind, type or shape.
func Compare(want, got tensor.Value) (Drift, error) {
	switch w := want.(type) {
	case *tensor.Tensor:
		g, ok := got.(*tensor.Tensor)
		if !ok {
			break
		}
		return compareTensors(w, g)
	case *tensor.Seq:
		g, ok := got.(*tensor.Seq)
		if !ok {
			break
		}
		return compareLists(w.Items, g.Items)
	case *tensor.Map:
		g, ok := got.(*tensor.Map)
		if !ok {
			break
		}
		keys, err := compareTensors(w.Keys, g.Keys)
		if err != nil {
			return Drift{}, err
		}
		values, err := compareLists(w.Values, g.Values)
		return keys.worst(values), err
	case *tensor.Sparse:
		g, ok := got.(*tensor.Sparse)
		if !ok || !w.Shape.Equal(g.Shape) {
			break
		}
		at, err := compareTensors(w.Indices, g.Indices)
		if err != nil {
			return Drift{}, err
		}
		values, err := compareTensors(w.Values, g.Values)
		return at.worst(values), err
	case tensor.None:
		if _, ok := got.(tensor.None); ok {
			return Drift{}, nil
		}
	}
	return Drift{}, fmt.Errorf("is %T, was %T", got, want)
}

func compareLists(want, got []tensor.Value) (Drift, error) {
	if len(want) != len(got) {
		return Drift{}, fmt.Errorf("has %d items, had %d", len(got), len(want))
	}
	var worst Drift
	for i := range want {
		d, err := Compare(want[i], got[i])
		if err != nil {
			return Drift{}, fmt.Errorf("item %d: %w", i, err)
		}
		worst = worst.worst(d)
	}
	return worst, nil
}

func compareTensors(want, got *tensor.Tensor) (Drift, error) {
	if want.DType() != got.DType() || !want.Shape().Equal(got.Shape()) {
		return Drift{}, fmt.Errorf("is %v, was %v", got, want)
	}
	if want.Equal(got) {
		return Drift{}, nil
	}
	if d := want.DType(); d == tensor.String || d.IsComplex() {
		return shareDiffering(want, got), nil
	}
	return compareFloats(tensor.Float64s(want), tensor.Float64s(got)), nil
}

// shareDiffering compares elements that are not numbers.
func shareDiffering(want, got *tensor.Tensor) Drift {
	n := 0
	if want.DType() == tensor.String {
		for i, s := range want.Strings() {
			if s != got.Strings()[i] {
				n++
			}
		}
	} else if !slices.Equal(want.Bytes(), got.Bytes()) {
		n = want.Len()
	}
	share := float64(n) / float64(max(1, want.Len()))
	return Drift{share, share}
}

func compareFloats(want, got []float64) Drift {
	var largest, worst, energy, noise float64
	for i, w := range want {
		g := got[i]
		if w == g || math.IsNaN(w) && math.IsNaN(g) {
			if w-w == 0 {
				largest = max(largest, math.Abs(w))
				energy += w * w
			}
			continue
		}
		d := math.Abs(w - g)
		if d-d != 0 { // one is NaN or infinite and the other is not
			return Drift{math.Inf(1), math.Inf(1)}
		}
		largest, worst = max(largest, math.Abs(w)), max(worst, d)
		energy, noise = energy+w*w, noise+d*d
	}
	if worst == 0 {
		return Drift{}
	}
	return Drift{Max: worst / max(largest, 1e-30), RMS: math.Sqrt(noise / max(energy, 1e-60))}
}

package saliency

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Clamp is what an activation does that bounds its input.
type Clamp struct{ Lo, Hi float32 }

// NoClamp bounds nothing.
var NoClamp = Clamp{float32(math.Inf(-1)), float32(math.Inf(1))}

// IsNone reports whether nothing is bounded.
func (c Clamp) IsNone() bool { return c == NoClamp }

// Of returns x within the bounds.
func (c Clamp) Of(x float32) float32 { return min(max(x, c.Lo), c.Hi) }

// Nearest replaces each of got by the number nearest to it that the activation
// makes the same of as of want. A fit of got to want that is repeated with these
// in want's place comes closer behind the activation, where alone it counts.
// (Zhang et al. 2015, arXiv 1505.06798, section 3.2.)
func (c Clamp) Nearest(got, want []float32) {
	for i, w := range want {
		switch {
		case w <= c.Lo:
			got[i] = min(got[i], c.Lo)
		case w >= c.Hi:
			got[i] = max(got[i], c.Hi)
		default:
			got[i] = w
		}
	}
}

// SquaredError sums the squared differences of got and want behind the
// activation.
func (c Clamp) SquaredError(got, want []float32) float64 {
	sum := 0.0
	for i, w := range want {
		d := float64(c.Of(got[i]) - c.Of(w))
		sum += d * d
	}
	return sum
}

// ClampOf returns how the result of n is bounded, if all it feeds is a Relu or a
// Clip with constant bounds, perhaps behind the Add of a bias.
func ClampOf(n *graph.Node) Clamp {
	u, ok := n.Out(0).SoleUse()
	if ok && u.Node.Is("Add") && n.Is("MatMul") && contents(u.Node.In(1-u.Index)) != nil {
		u, ok = u.Node.Out(0).SoleUse()
	}
	switch {
	case !ok:
		return NoClamp
	case u.Node.Is("Relu"):
		return Clamp{0, NoClamp.Hi}
	case !u.Node.Is("Clip"):
		return NoClamp
	}
	c := NoClamp
	for i, bound := range []*float32{&c.Lo, &c.Hi} {
		v := u.Node.In(1 + i)
		if v == nil {
			continue
		}
		t := contents(v)
		if t == nil || t.Len() != 1 {
			return NoClamp
		}
		*bound = float32(tensor.Float64s(t)[0])
	}
	return c
}

// contents returns what an initializer or a Constant holds, nil for any other
// value.
func contents(v *graph.Value) *tensor.Tensor {
	switch {
	case v == nil:
	case v.IsConst():
		return v.Init.Tensor
	case v.Producer() != nil && v.Producer().Is("Constant"):
		if a := v.Producer().Attr("value"); a != nil && len(a.Literals) == 1 {
			return a.Literals[0].Tensor
		}
	}
	return nil
}

package engine

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// activation is a function of one element that can be fused behind another
// operator. The zero value is the identity.
type activation struct {
	name string
	// lo and hi are a clamp, which kernels apply in their epilogue; none if
	// both are 0.
	lo, hi float32
	// apply computes any other function, on what the kernel has stored; nil
	// if the clamp is all.
	apply func(k *kernel.Table, dst, src []float32)
}

// run applies the whole activation; dst may be src.
func (a *activation) run(k *kernel.Table, dst, src []float32) {
	switch {
	case a.apply != nil:
		a.apply(k, dst, src)
	case a.lo != 0 || a.hi != 0:
		k.Clamp(dst, src, a.lo, a.hi)
	default:
		copy(dst, src)
	}
}

// limits are the bounds of the clamp, infinite if there is none.
func (a *activation) limits() (lo, hi float32) {
	if a.lo == 0 && a.hi == 0 {
		return float32(math.Inf(-1)), float32(math.Inf(1))
	}
	return a.lo, a.hi
}

func clampActivation(name string, lo, hi float32) (activation, bool) {
	return activation{name: name, lo: lo, hi: hi}, lo != 0 || hi != 0
}

func mapActivation(name string, apply func(k *kernel.Table, dst, src []float32)) (activation, bool) {
	return activation{name: name, apply: apply}, true
}

// activationOf returns what n, a node over float32, computes if that is an
// activation of its input 0.
func (o *optimizer) activationOf(n *graph.Node) (activation, bool) {
	if u, ok := o.src.info[n].machine.(*unary); ok {
		return u.act, true
	}
	if n.Domain != "" {
		return activation{}, false
	}
	switch n.Op {
	case "Relu":
		return clampActivation("Relu", 0, float32(math.Inf(1)))
	case "Clip":
		return o.clip(n)
	case "LeakyRelu":
		alpha := n.Float("alpha", 0.01)
		return mapActivation("LeakyRelu", func(k *kernel.Table, dst, src []float32) { k.LeakyRelu(dst, src, alpha) })
	case "PRelu":
		slope, ok := o.scalar(n.In(1))
		if !ok {
			return activation{}, false
		}
		return mapActivation("PRelu", func(k *kernel.Table, dst, src []float32) { k.LeakyRelu(dst, src, slope) })
	case "HardSigmoid":
		alpha, beta := n.Float("alpha", 0.2), n.Float("beta", 0.5)
		return mapActivation("HardSigmoid", func(k *kernel.Table, dst, src []float32) { k.HardSigmoid(dst, src, alpha, beta) })
	case "HardSwish":
		return mapActivation("HardSwish", func(k *kernel.Table, dst, src []float32) { k.HardSwish(dst, src) })
	case "Sigmoid":
		return mapActivation("Sigmoid", func(k *kernel.Table, dst, src []float32) { k.Sigmoid(dst, src) })
	case "Tanh":
		return mapActivation("Tanh", func(k *kernel.Table, dst, src []float32) { k.Tanh(dst, src) })
	case "Gelu":
		if n.Str("approximate", "none") == "tanh" {
			return mapActivation("GeluTanh", func(k *kernel.Table, dst, src []float32) { k.GeluTanh(dst, src) })
		}
		return mapActivation("Gelu", func(k *kernel.Table, dst, src []float32) { k.Gelu(dst, src) })
	case "Exp":
		return mapActivation("Exp", func(k *kernel.Table, dst, src []float32) { k.Exp(dst, src) })
	case "Sqrt":
		return mapActivation("Sqrt", func(k *kernel.Table, dst, src []float32) { k.Sqrt(dst, src) })
	}
	return activation{}, false
}

// silu is what Mul(x, Sigmoid(x)) computes.
var silu = activation{name: "Silu", apply: func(k *kernel.Table, dst, src []float32) { k.Silu(dst, src) }}

// hardSwish is what Mul(x, HardSigmoid<alpha=1/6, beta=0.5>(x)) computes.
var hardSwish = activation{name: "HardSwish", apply: func(k *kernel.Table, dst, src []float32) { k.HardSwish(dst, src) }}

// clip reads the bounds of Clip: attributes before version 11, constant
// inputs since.
func (o *optimizer) clip(n *graph.Node) (activation, bool) {
	lo, hi := n.Float("min", float32(math.Inf(-1))), n.Float("max", float32(math.Inf(1)))
	for i, bound := range []*float32{&lo, &hi} {
		v := n.In(i + 1)
		if v == nil {
			continue
		}
		x, ok := o.scalar(v)
		if !ok {
			return activation{}, false
		}
		*bound = x
	}
	if lo > hi {
		return activation{}, false
	}
	return clampActivation("Clip", lo, hi)
}

// scalar returns the only element of a constant float32 value.
func (o *optimizer) scalar(v *graph.Value) (float32, bool) {
	t := o.constant(v)
	if t == nil || t.DType() != tensor.Float32 || t.Len() != 1 {
		return 0, false
	}
	return tensor.Data[float32](t)[0], true
}

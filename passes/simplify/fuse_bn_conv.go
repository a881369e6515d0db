package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// FuseBNConv folds a normalisation, or arithmetic with a constant, into the
// weights of the node after it.
var FuseBNConv = passes.Define(passes.Pass{
	Name: "fuse-bn-conv",
	Doc: `fold BatchNormalization, or arithmetic with a constant, into the Conv, Gemm or MatMul after it

	t = Mul (x, c)             y = Conv (x, W', b')
	y = Conv (t, W, b)     =>

A shift cannot pass a convolution that pads: the padding would have to be
shifted too.`,
	Kind: passes.Rounding,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Conv", "Gemm", "MatMul") || n.Int("transA", 0) != 0 {
			return
		}
		p := soleProducer(n, n.In(0), "BatchNormalization", "Add", "Sub", "Mul", "Div")
		if p == nil {
			return
		}
		l, err := linearOf(n)
		if err != nil {
			return
		}
		x, a, ok := inputAffine(p, l)
		switch {
		case !ok:
		case a.shifts() && !l.takesBias():
			j.Skip(p, "%v has no bias to take the shift", n)
		case a.shifts() && pads(n):
			j.Skip(p, "%v pads its input", n)
		default:
			n.SetIn(0, x)
			p.Graph().Remove(p)
			l.before(a)
			j.Changed(1)
		}
	})
	return nil
})

// inputAffine returns the value that p scales and shifts for l, and how.
func inputAffine(p *graph.Node, l *linear) (*graph.Value, affine, bool) {
	if p.Op == "BatchNormalization" {
		a, ok := normAffine(p)
		return p.In(0), a, ok && len(a.scale) == l.ins && l.axis == 1
	}
	for slot := range 2 {
		x := p.In(slot)
		if constant(p.In(1-slot)) == nil || constant(x) != nil || len(dims(x)) != l.rank {
			continue
		}
		if d := dims(x)[l.axis]; !d.IsKnown() || d.Size != l.ins {
			continue
		}
		a, ok := arithmeticAffine(p, x, l.rank, l.axis, l.ins)
		return x, a, ok
	}
	return nil, affine{}, false
}

// pads reports whether a node pads its input, as far as is known.
func pads(n *graph.Node) bool {
	if n.Op != "Conv" {
		return false
	}
	switch n.Str("auto_pad", "NOTSET") {
	case "NOTSET":
		return !all(n.Ints("pads"), 0)
	case "VALID":
		return false
	}
	return true
}

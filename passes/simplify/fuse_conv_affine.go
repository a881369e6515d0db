package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// FuseConvAffine folds arithmetic with a constant into the weights of the
// node before it.
var FuseConvAffine = passes.Define(passes.Pass{
	Name: "fuse-conv-affine",
	Doc: `fold Add, Sub, Mul and Div by a constant into the Conv, ConvTranspose, Gemm or MatMul before it

	t = Conv (x, W, b)      y = Conv (x, W', b')
	y = Mul (t, c)      =>

The constant is a scalar, or has one element for each channel.`,
	Kind: passes.Rounding,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Add", "Sub", "Mul", "Div") {
			return
		}
		for slot := range 2 {
			if constant(n.In(1-slot)) == nil {
				continue
			}
			if p := soleProducer(n, n.In(slot), linearOps...); p != nil {
				foldArithmetic(j, n, p)
				return
			}
		}
	})
	return nil
})

func foldArithmetic(j *passes.Job, n, p *graph.Node) {
	l, err := linearOf(p)
	if err != nil {
		j.Skip(n, "%v: %v", p, err)
		return
	}
	a, ok := arithmeticAffine(n, p.Out(0), l.rank, l.axis, l.outs)
	if !ok {
		j.Skip(n, "its constant is not one for each channel of %v", p)
		return
	}
	foldAfter(j, n, l, a)
}

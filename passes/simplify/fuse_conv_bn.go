package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/passes"
)

// FuseConvBN folds a normalisation into the weights of the node before it.
var FuseConvBN = passes.Define(passes.Pass{
	Name: "fuse-conv-bn",
	Doc: `fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it

	t = Conv (x, W, b)                                   y = Conv (x, W', b')
	y = BatchNormalization (t, gamma, beta, mean, var) =>

with W'[o,…] = W[o,…]*s[o], b'[o] = (b[o]-mean[o])*s[o] + beta[o] and
s[o] = gamma[o]/sqrt(var[o]+epsilon).`,
	Kind: passes.Rounding,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("BatchNormalization") {
			return
		}
		p := soleProducer(n, n.In(0), linearOps...)
		if p == nil {
			return
		}
		l, err := linearOf(p)
		if err != nil {
			j.Skip(n, "%v: %v", p, err)
			return
		}
		a, ok := normAffine(n)
		if !ok || len(a.scale) != l.outs || l.axis != 1 {
			j.Skip(n, "its statistics are not constants for the channels of %v", p)
			return
		}
		foldAfter(j, n, l, a)
	})
	return nil
})

var linearOps = []string{"Conv", "ConvTranspose", "Gemm", "MatMul"}

// foldAfter folds a, which n does to the result of l, into l and removes n.
func foldAfter(j *passes.Job, n *graph.Node, l *linear, a affine) {
	if !l.takesBias() && a.shifts() {
		return
	}
	if !bypass(n, l.node.Out(0)) {
		j.Skip(n, "its result keeps its name")
		return
	}
	l.after(a)
	j.Changed(1)
}

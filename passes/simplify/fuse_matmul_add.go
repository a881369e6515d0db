package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// FuseMatMulAdd makes one Gemm of a matrix product and a sum.
var FuseMatMulAdd = passes.Define(passes.Pass{
	Name: "fuse-matmul-add",
	Doc: `make a Gemm of MatMul and Add

	t = MatMul (x, W)      y = Gemm (x, W, b)
	y = Add (t, b)     =>

where x and W have two axes and b broadcasts to the product. A Gemm without
its third operand takes one up in the same way.`,
	Kind: passes.Rounding,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Add") || n.Opset() < 7 {
			return
		}
		for slot := range 2 {
			p := soleProducer(n, n.In(slot), "MatMul", "Gemm")
			if p != nil && gemmTakes(p, n.In(1-slot)) {
				m := graph.NewNode("", "Gemm", []*graph.Value{p.In(0), p.In(1), n.In(1 - slot)}, 1, p.Attrs()...)
				m.DropAttr("beta")
				m.Name = p.Name
				supplant(n, m)
				p.Graph().Remove(p)
				j.Changed(1)
				return
			}
		}
	})
	return nil
})

// gemmTakes reports whether c can be the third operand of the Gemm that p, a
// MatMul or Gemm, is or could be.
func gemmTakes(p *graph.Node, c *graph.Value) bool {
	a, b := dims(p.In(0)), dims(p.In(1))
	if p.Op == "Gemm" && p.In(2) != nil || len(a) != 2 || len(b) != 2 || !gemmElem(elem(p.In(0)), p.Opset()) {
		return false
	}
	rows, columns := a[0], b[1]
	if p.Op == "Gemm" && p.Int("transA", 0) != 0 {
		rows = a[1]
	}
	if p.Op == "Gemm" && p.Int("transB", 0) != 0 {
		columns = b[0]
	}
	return spreadsTo(dims(c), graph.Dims{rows, columns})
}

func gemmElem(d tensor.DType, version int64) bool {
	switch d {
	case tensor.Float16, tensor.Float32, tensor.Float64:
		return true
	case tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64:
		return false // runtimes have no kernels for them
	}
	return d == tensor.BFloat16 && version >= 13
}

// spreadsTo reports whether a value of shape d broadcasts to shape to, which
// stays as it is.
func spreadsTo(d, to graph.Dims) bool {
	if d == nil || len(d) > len(to) {
		return false
	}
	for i, x := range d {
		if one := x.IsKnown() && x.Size == 1; !one && !sameDim(x, to[len(to)-len(d)+i]) {
			return false
		}
	}
	return true
}

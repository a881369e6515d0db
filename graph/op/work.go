package op

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// outShape returns the shape of result i if all of it is known.
func outShape(c *Infer, i int) (tensor.Shape, bool) {
	if i >= len(c.Out) || c.Out[i] == nil || c.Out[i].Kind != graph.KindTensor {
		return nil, false
	}
	return c.Out[i].Shape.Static()
}

// matrixCost is the cost of a call that takes so many multiply-accumulates.
func matrixCost(c *Infer, macs int64) Cost {
	cost := c.traffic()
	cost.MACs, cost.Flops = macs, 2*macs
	return cost
}

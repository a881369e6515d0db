package op

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
)

// legacyDefs holds the experimental operators of ONNX's first versions, which
// converters of that time wrote and ONNX Runtime still runs.
var legacyDefs = []*Def{
	activationDef("Affine", 1, 2, nil, func(n *graph.Node, _ int64) unary {
		alpha, beta := float64(n.Float("alpha", 1)), float64(n.Float("beta", 0))
		return unary{f64: func(x float64) float64 { return alpha*x + beta }}
	}),
	activationDef("ParametricSoftplus", 1, 20, nil, func(n *graph.Node, _ int64) unary {
		alpha, beta := float64(n.Float("alpha", 1)), float64(n.Float("beta", 1))
		return unary{f64: func(x float64) float64 { return alpha * softplus(beta*x) }}
	}),
	activationDef("ScaledTanh", 1, 10, nil, func(n *graph.Node, _ int64) unary {
		alpha, beta := float64(n.Float("alpha", 1)), float64(n.Float("beta", 1))
		return unary{f64: func(x float64) float64 { return alpha * math.Tanh(beta*x) }}
	}),
}

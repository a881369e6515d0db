package op

import "github.com/onnxpack/onnxpack/graph"

// constDim returns the number that a list entry is, which may be negative.
func constDim(d graph.Dim) (int, bool) { return d.Number() }

func dimOf(n int) graph.Dim { return graph.Number(n) }

func dimSum(a, b graph.Dim) graph.Dim     { return a.Plus(b) }
func dimDiff(a, b graph.Dim) graph.Dim    { return a.Minus(b) }
func dimProduct(a, b graph.Dim) graph.Dim { return a.Times(b) }

// dimQuotient is division that truncates numbers toward zero, and rounds
// expressions down, which stand for sizes.
func dimQuotient(a, b graph.Dim) graph.Dim {
	x, okX := constDim(a)
	y, okY := constDim(b)
	if okX && okY && y != 0 {
		return dimOf(x / y)
	}
	return a.FloorDiv(b)
}

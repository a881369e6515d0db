package op

import (
	"github.com/onnxpack/onnxpack/graph"
)

// maxContents bounds how many integers are tracked of a value's contents.
const maxContents = 1024

// dimOps are the operators whose results on lists of dimensions are known.
var dimOps = map[string]func(a, b graph.Dim) graph.Dim{
	"Add": graph.Dim.Plus, "Sub": graph.Dim.Minus, "Mul": graph.Dim.Times, "Div": dimQuotient,
}

// inferContents carries what is known of the contents of both operands
// through an arithmetic operator; a list of one is broadcast.
func inferContents(c *Infer) {
	f := dimOps[c.Node.Op]
	a, b := c.Dims(0), c.Dims(1)
	if f == nil || a == nil || b == nil || !c.Elem(0).IsInteger() {
		return
	}
	n := max(len(a), len(b))
	if len(a) != n && len(a) != 1 || len(b) != n && len(b) != 1 {
		return
	}
	out := make(graph.Dims, n)
	for i := range out {
		out[i] = f(a[i*len(a)/n], b[i*len(b)/n])
	}
	c.SetDims(0, out)
}

// dimQuotient is division that truncates numbers toward zero, and rounds
// expressions down, which stand for sizes.
func dimQuotient(a, b graph.Dim) graph.Dim {
	x, okX := a.Number()
	y, okY := b.Number()
	if okX && okY && y != 0 {
		return graph.Number(x / y)
	}
	return a.FloorDiv(b)
}

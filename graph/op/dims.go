package op

import "github.com/onnxpack/onnxpack/graph"

// addDim returns d + n.
func addDim(d graph.Dim, n int) graph.Dim {
	if d.IsKnown() {
		return graph.Known(d.Size + n)
	}
	if n == 0 {
		return d
	}
	return graph.Unknown()
}

// mulDim returns d * n.
func mulDim(d graph.Dim, n int) graph.Dim {
	if d.IsKnown() {
		return graph.Known(d.Size * n)
	}
	if n == 1 {
		return d
	}
	return graph.Unknown()
}

// divDim returns d / n, rounded down.
func divDim(d graph.Dim, n int) graph.Dim {
	if d.IsKnown() {
		return graph.Known(floorDiv(d.Size, n))
	}
	if n == 1 {
		return d
	}
	return graph.Unknown()
}

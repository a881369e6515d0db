package op

import (
	"strconv"

	"github.com/onnxpack/onnxpack/graph"
)

// constDim returns the number that a list entry is, which may be negative.
func constDim(d graph.Dim) (int, bool) {
	if d.IsKnown() {
		return d.Size, true
	}
	n, err := strconv.Atoi(d.Sym)
	return n, err == nil
}

func dimOf(n int) graph.Dim { return dimsOfInts([]int64{int64(n)})[0] }

func dimSum(a, b graph.Dim) graph.Dim {
	x, okX := constDim(a)
	y, okY := constDim(b)
	switch {
	case okX && okY:
		return dimOf(x + y)
	case okX && x == 0:
		return b
	case okY && y == 0:
		return a
	}
	return graph.Unknown()
}

func dimDiff(a, b graph.Dim) graph.Dim {
	if y, ok := constDim(b); ok {
		return dimSum(a, dimOf(-y))
	}
	return graph.Unknown()
}

func dimProduct(a, b graph.Dim) graph.Dim {
	x, okX := constDim(a)
	y, okY := constDim(b)
	switch {
	case okX && okY:
		return dimOf(x * y)
	case okX && x == 1:
		return b
	case okY && y == 1:
		return a
	}
	return graph.Unknown()
}

func dimQuotient(a, b graph.Dim) graph.Dim {
	x, okX := constDim(a)
	y, okY := constDim(b)
	switch {
	case okX && okY && y != 0 && x%y == 0:
		return dimOf(x / y)
	case okY && y == 1:
		return a
	}
	return graph.Unknown()
}

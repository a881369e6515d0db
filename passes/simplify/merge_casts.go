package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeCasts skips a cast whose type holds every value of the type before it.
var MergeCasts = passes.Define(passes.Pass{
	Name: "merge-casts",
	Doc: `skip a cast that only widens a value that is cast again

	t = Cast <to = 7> (x)      y = Cast <to = 1> (x)
	y = Cast <to = 1> (t)  =>

legal where the type between holds every value of the type of x.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Cast") {
			return
		}
		p := producer(n, n.In(0), "Cast")
		if p == nil {
			return
		}
		from, between := elem(p.In(0)), tensor.DType(p.Int("to", 0))
		if !holdsAll(between, from) {
			return
		}
		n.SetIn(0, p.In(0))
		j.Changed(1)
	})
	return nil
})

// holdsAll reports whether type d has every value of type e, so that a cast
// from e to d and on to a third type equals the cast from e.
func holdsAll(d, e tensor.DType) bool {
	switch {
	case !d.Valid() || !e.Valid() || d == tensor.String || e == tensor.String:
		return false
	case d == e:
		return true
	case e == tensor.Bool:
		return isReal(d)
	case d.IsInteger() && e.IsInteger():
		if d.IsSigned() == e.IsSigned() {
			return d.Bits() >= e.Bits()
		}
		return d.IsSigned() && d.Bits() > e.Bits()
	case d == tensor.Float64:
		return e.IsFloat() || e.IsInteger() && e.Bits() <= 32
	case d == tensor.Float32:
		return e.IsFloat() && e.Bits() <= 16 || e.IsInteger() && e.Bits() <= 16
	}
	return false
}

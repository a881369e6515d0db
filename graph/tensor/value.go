package tensor

// Value is what a name in a graph holds while it runs: a *Tensor, *Sparse,
// *Seq or *Map, or None, the optional that holds nothing. An optional that
// holds something is that thing.
type Value interface{ isValue() }

// Seq is a sequence of values of one type.
type Seq struct{ Items []Value }

// Map is an ONNX map: keys (Int64 or String, one axis) in order of insertion,
// each with its value.
type Map struct {
	Keys   *Tensor
	Values []Value
}

// None is the empty optional.
type None struct{}

func (*Tensor) isValue() {}
func (*Sparse) isValue() {}
func (*Seq) isValue()    {}
func (*Map) isValue()    {}
func (None) isValue()    {}

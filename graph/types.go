package graph

import (
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Kind says which of ONNX's type constructors a Type uses.
type Kind uint8

// The kinds of types.
const (
	KindNone Kind = iota // a TypeProto with no value set
	KindTensor
	KindSparse
	KindSequence
	KindOptional
	KindMap
	KindOpaque
)

// Type is the type of a value. Types are shared and not changed in place.
type Type struct {
	Kind  Kind
	Elem  tensor.DType // of KindTensor, KindSparse; the key of KindMap
	Shape Dims         // of KindTensor, KindSparse; nil if the rank is unknown
	Item  *Type        // of KindSequence, KindOptional; the value of KindMap

	Denotation           string
	OpaqueDomain, Opaque string // of KindOpaque
	Unknown              []byte
}

// TensorOf returns the type of tensors with the given elements and shape; a
// nil shape means any rank.
func TensorOf(elem tensor.DType, shape Dims) *Type {
	return &Type{Kind: KindTensor, Elem: elem, Shape: shape}
}

// SequenceOf returns the type of sequences of t.
func SequenceOf(t *Type) *Type { return &Type{Kind: KindSequence, Item: t} }

// OptionalOf returns the type of optional values of t.
func OptionalOf(t *Type) *Type { return &Type{Kind: KindOptional, Item: t} }

// Equal reports whether t and u are the same type, shapes included.
func (t *Type) Equal(u *Type) bool {
	if t == nil || u == nil {
		return t == u
	}
	return t.Kind == u.Kind && t.Elem == u.Elem && t.Denotation == u.Denotation &&
		t.OpaqueDomain == u.OpaqueDomain && t.Opaque == u.Opaque && string(t.Unknown) == string(u.Unknown) &&
		(t.Shape == nil) == (u.Shape == nil) && slices.Equal(t.Shape, u.Shape) && t.Item.Equal(u.Item)
}

// Dims is a shape whose dimensions may be known, symbolic or unknown. An
// empty, non-nil Dims is that of a scalar; nil means that the rank is unknown.
type Dims []Dim

// Dim is one dimension: a number, a symbol, or nothing known.
type Dim struct {
	// Sym is "" for a known dimension (Size) and for an unknown one (Size is
	// -1). Otherwise it is ONNX's dim_param: a name such as "batch", or the
	// text of an expression over names, such as "2*height + 1".
	Sym        string
	Size       int
	Denotation string
}

// Known returns the dimension of the given size.
func Known(n int) Dim { return Dim{Size: n} }

// Symbol returns the dimension of the given name or expression.
func Symbol(s string) Dim { return Dim{Sym: s, Size: -1} }

// Unknown returns the dimension of which nothing is known.
func Unknown() Dim { return Dim{Size: -1} }

// IsKnown reports whether the dimension is a number.
func (d Dim) IsKnown() bool { return d.Sym == "" && d.Size >= 0 }

// IsUnknown reports whether nothing is known of the dimension.
func (d Dim) IsUnknown() bool { return d.Sym == "" && d.Size < 0 }

// String returns the number, the symbol, or "?".
func (d Dim) String() string {
	switch {
	case d.Sym != "":
		return d.Sym
	case d.Size < 0:
		return "?"
	}
	return strconv.Itoa(d.Size)
}

// DimsOf returns the known dimensions of a tensor's shape.
func DimsOf(s tensor.Shape) Dims {
	d := make(Dims, len(s))
	for i, n := range s {
		d[i] = Known(n)
	}
	return d
}

// Static returns the shape if every dimension is known.
func (d Dims) Static() (tensor.Shape, bool) {
	if d == nil {
		return nil, false
	}
	s := make(tensor.Shape, len(d))
	for i, x := range d {
		if !x.IsKnown() {
			return nil, false
		}
		s[i] = x.Size
	}
	return s, true
}

// Admits reports whether a tensor of shape s could have the dimensions d.
func (d Dims) Admits(s tensor.Shape) bool {
	if d == nil {
		return true
	}
	if len(d) != len(s) {
		return false
	}
	for i, x := range d {
		if x.IsKnown() && x.Size != s[i] {
			return false
		}
	}
	return true
}

// String returns the dimensions as "[N,3,?]", or "[...]" for an unknown rank.
func (d Dims) String() string {
	if d == nil {
		return "[...]"
	}
	parts := make([]string, len(d))
	for i, x := range d {
		parts[i] = x.String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// String returns the type in ONNX's text form: "float[N,3]", "seq(int64[?])";
// "unknown" if t is nil or says nothing.
func (t *Type) String() string {
	if t == nil || t.Kind == KindNone {
		return "unknown"
	}
	return TextOptions{}.text(func(p *textPrinter) { p.typ(t, false) })
}

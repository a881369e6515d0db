package graph

import "github.com/onnxpack/onnxpack/graph/tensor"

// AttrKind says what an attribute holds. Its numbers are those of ONNX's
// AttributeProto.AttributeType.
type AttrKind uint8

// The kinds of attributes.
const (
	AttrNone    AttrKind = 0
	AttrFloat   AttrKind = 1
	AttrInt     AttrKind = 2
	AttrString  AttrKind = 3
	AttrTensor  AttrKind = 4
	AttrGraph   AttrKind = 5
	AttrFloats  AttrKind = 6
	AttrInts    AttrKind = 7
	AttrStrings AttrKind = 8
	AttrTensors AttrKind = 9
	AttrGraphs  AttrKind = 10
	AttrSparse  AttrKind = 11
	AttrSparses AttrKind = 12
	AttrType    AttrKind = 13
	AttrTypes   AttrKind = 14
)

// Attr is an attribute of a node. Kind says which field holds its value: the
// scalar kinds and the list kinds share the plural fields, a scalar being a
// list of one. If Ref is set, the value is that of the attribute Ref of the
// function around the node, and there is none here.
type Attr struct {
	Name string
	Kind AttrKind
	Doc  string
	Ref  string

	Floats   []float32  // AttrFloat, AttrFloats
	Ints     []int64    // AttrInt, AttrInts
	Strings  []string   // AttrString, AttrStrings; bytes that need not be UTF-8
	Literals []*Literal // AttrTensor, AttrTensors, AttrSparse, AttrSparses
	Graphs   []*Graph   // AttrGraph, AttrGraphs
	Types    []*Type    // AttrType, AttrTypes

	Unknown []byte
	Wire    []byte
}

// FloatAttr returns a float attribute.
func FloatAttr(name string, x float32) *Attr {
	return &Attr{Name: name, Kind: AttrFloat, Floats: []float32{x}}
}

// FloatsAttr returns a list-of-floats attribute.
func FloatsAttr(name string, x ...float32) *Attr {
	return &Attr{Name: name, Kind: AttrFloats, Floats: x}
}

// IntAttr returns an integer attribute.
func IntAttr(name string, x int64) *Attr {
	return &Attr{Name: name, Kind: AttrInt, Ints: []int64{x}}
}

// IntsAttr returns a list-of-integers attribute.
func IntsAttr(name string, x ...int64) *Attr {
	return &Attr{Name: name, Kind: AttrInts, Ints: x}
}

// StringAttr returns a string attribute.
func StringAttr(name, x string) *Attr {
	return &Attr{Name: name, Kind: AttrString, Strings: []string{x}}
}

// StringsAttr returns a list-of-strings attribute.
func StringsAttr(name string, x ...string) *Attr {
	return &Attr{Name: name, Kind: AttrStrings, Strings: x}
}

// TensorAttr returns a tensor attribute.
func TensorAttr(name string, t *tensor.Tensor) *Attr {
	return &Attr{Name: name, Kind: AttrTensor, Literals: []*Literal{{Tensor: t}}}
}

// GraphAttr returns a subgraph attribute.
func GraphAttr(name string, g *Graph) *Attr {
	return &Attr{Name: name, Kind: AttrGraph, Graphs: []*Graph{g}}
}

// Literal is a tensor written in the model: its elements, and what the file
// says about it.
type Literal struct {
	Name     string         // of a tensor in an attribute; an initializer has its Value's
	Tensor   *tensor.Tensor // nil for a sparse literal
	Sparse   *tensor.Sparse // nil for a dense literal
	Doc      string
	Metadata []Prop
	External *External // where the file keeps the elements, if outside the model

	Unknown []byte
	Wire    []byte
}

// External is the place of a tensor's elements outside the model's file.
type External struct {
	Location string // path relative to the model's folder
	Offset   int64
	Length   int64 // -1 if not stated
	Checksum string
	Extra    []Prop // other keys
}

// DType returns the type of the literal's elements.
func (l *Literal) DType() tensor.DType {
	if l.Sparse != nil {
		return l.Sparse.Values.DType()
	}
	return l.Tensor.DType()
}

// Shape returns the shape of the literal.
func (l *Literal) Shape() tensor.Shape {
	if l.Sparse != nil {
		return l.Sparse.Shape
	}
	return l.Tensor.Shape()
}

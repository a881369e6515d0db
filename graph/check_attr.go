package graph

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// attrKinds tells of each kind how it is called in text and in messages, and
// whether it holds a list.
var attrKinds = [...]struct {
	name string
	list bool
}{
	AttrNone:    {"undefined", false},
	AttrFloat:   {"float", false},
	AttrInt:     {"int", false},
	AttrString:  {"string", false},
	AttrTensor:  {"tensor", false},
	AttrGraph:   {"graph", false},
	AttrFloats:  {"floats", true},
	AttrInts:    {"ints", true},
	AttrStrings: {"strings", true},
	AttrTensors: {"tensors", true},
	AttrGraphs:  {"graphs", true},
	AttrSparse:  {"sparse_tensor", false},
	AttrSparses: {"sparse_tensors", true},
	AttrType:    {"type_proto", false},
	AttrTypes:   {"type_protos", true},
}

// String returns the name of the kind in ONNX's text form.
func (k AttrKind) String() string {
	if int(k) >= len(attrKinds) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return attrKinds[k].name
}

// IsList reports whether attributes of the kind hold a list.
func (k AttrKind) IsList() bool { return int(k) < len(attrKinds) && attrKinds[k].list }

// attr checks an attribute on its own; the caller checks its subgraphs.
func (c *checker) attr(a *Attr) error {
	if a.Name == "" {
		return fmt.Errorf("name is empty")
	}
	if int(a.Kind) >= len(attrKinds) {
		return fmt.Errorf("type %d is not one of ONNX's", a.Kind)
	}
	if a.Ref != "" {
		return c.attrRef(a)
	}
	if err := attrFields(a); err != nil {
		return err
	}
	for _, l := range a.Literals {
		if err := checkLiteral(l); err != nil {
			return err
		}
		if sparse := a.Kind == AttrSparse || a.Kind == AttrSparses; sparse != (l.Sparse != nil) {
			return fmt.Errorf("type is %v, but the tensor is sparse: %v", a.Kind, l.Sparse != nil)
		}
	}
	for _, t := range a.Types {
		if t == nil {
			return fmt.Errorf("a type is missing")
		}
		if err := checkType(t); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) attrRef(a *Attr) error {
	if n := a.fieldLengths(); slices.Max(n[:]) > 0 {
		return fmt.Errorf("it refers to @%s and has a value too", a.Ref)
	}
	if c.model == nil {
		return nil
	}
	if c.function == nil {
		return fmt.Errorf("it refers to @%s outside a function", a.Ref)
	}
	if !slices.Contains(c.function.parameters(), a.Ref) {
		return fmt.Errorf("it refers to @%s, which the function does not declare", a.Ref)
	}
	return nil
}

// fieldLengths returns the lengths of the lists in which values are kept.
func (a *Attr) fieldLengths() [6]int {
	return [6]int{len(a.Floats), len(a.Ints), len(a.Strings), len(a.Literals), len(a.Graphs), len(a.Types)}
}

// attrField returns which of the lists holds the values of a kind, -1 if none.
func attrField(k AttrKind) int {
	switch k {
	case AttrFloat, AttrFloats:
		return 0
	case AttrInt, AttrInts:
		return 1
	case AttrString, AttrStrings:
		return 2
	case AttrTensor, AttrTensors, AttrSparse, AttrSparses:
		return 3
	case AttrGraph, AttrGraphs:
		return 4
	case AttrType, AttrTypes:
		return 5
	}
	return -1
}

func attrFields(a *Attr) error {
	field := attrField(a.Kind)
	have := 0
	for i, n := range a.fieldLengths() {
		if i == field {
			have = n
		} else if n > 0 {
			return fmt.Errorf("it has a value of another type than %v", a.Kind)
		}
	}
	if field >= 0 && !a.Kind.IsList() && have != 1 {
		return fmt.Errorf("it has %d values, want 1 of type %v", have, a.Kind)
	}
	return nil
}

// checkType reports what is wrong with a type; nil, an unknown type, is fine.
func checkType(t *Type) error {
	if t == nil {
		return nil
	}
	switch t.Kind {
	case KindTensor, KindSparse:
		if t.Elem != tensor.Undefined && !t.Elem.Valid() {
			return fmt.Errorf("element type %v is not one of ONNX's", t.Elem)
		}
		for i, d := range t.Shape {
			if d.Size < -1 || d.Sym != "" && d.Size != -1 {
				return fmt.Errorf("type %v: dimension %d is %d, want a size, a symbol, or neither", t, i, d.Size)
			}
		}
		return nil
	case KindMap:
		if !t.Elem.IsInteger() && t.Elem != tensor.String {
			return fmt.Errorf("map has keys of type %v, want an integer type or string", t.Elem)
		}
		return checkItem(t)
	case KindSequence, KindOptional:
		return checkItem(t)
	case KindNone, KindOpaque:
		return nil
	}
	return fmt.Errorf("type of kind %d is not one of ONNX's", t.Kind)
}

func checkItem(t *Type) error {
	if t.Item == nil {
		return fmt.Errorf("type %v does not say of what", t)
	}
	return checkType(t.Item)
}

// checkInit checks the contents of an initializer against themselves and its
// stated type.
func checkInit(v *Value) error {
	if err := checkLiteral(v.Init); err != nil {
		return err
	}
	t := v.Type
	if t == nil || t.Kind != KindTensor {
		return nil
	}
	if t.Elem != tensor.Undefined && t.Elem != v.Init.DType() {
		return fmt.Errorf("elements are %v, but its type is %v", v.Init.DType(), t)
	}
	if !t.Shape.Admits(v.Init.Shape()) {
		return fmt.Errorf("shape is %v, but its type is %v", v.Init.Shape(), t)
	}
	return nil
}

// checkLiteral checks that the elements are as many as the shape asks for.
func checkLiteral(l *Literal) error {
	switch {
	case l == nil || (l.Tensor == nil) == (l.Sparse == nil):
		return fmt.Errorf("want either dense or sparse contents")
	case l.Sparse != nil:
		return checkSparse(l.Sparse)
	}
	return checkDense(l.Tensor)
}

func checkDense(t *tensor.Tensor) error {
	if err := t.Shape().Check(); err != nil {
		return err
	}
	got, want := len(t.Bytes()), t.DType().Bytes(t.Len())
	if t.DType() == tensor.String {
		got, want = len(t.Strings()), t.Len()
	}
	if got != want {
		return fmt.Errorf("%v has %d bytes or strings, want %d", t, got, want)
	}
	return nil
}

func checkSparse(s *tensor.Sparse) error {
	if s.Values == nil || s.Indices == nil {
		return fmt.Errorf("sparse tensor lacks values or indices")
	}
	if err := checkDense(s.Values); err != nil {
		return err
	}
	if err := checkDense(s.Indices); err != nil {
		return err
	}
	if err := s.Shape.Check(); err != nil {
		return err
	}
	n, rank := s.Values.Len(), len(s.Shape)
	linear, coordinates := tensor.Shape{n}, tensor.Shape{n, rank}
	if is := s.Indices.Shape(); s.Values.Rank() != 1 || s.Indices.DType() != tensor.Int64 ||
		!is.Equal(linear) && !is.Equal(coordinates) {
		return fmt.Errorf("sparse tensor %v has values %v and indices %v, want [n] and int64 [n] or [n,%d]",
			s.Shape, s.Values, s.Indices, rank)
	}
	return nil
}

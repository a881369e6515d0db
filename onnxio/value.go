package onnxio

import (
	"fmt"
	"os"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of onnx-data.proto. SequenceProto and OptionalProto have the same
// numbers, one repeated and one not.
const (
	itemName     protowire.Number = 1
	itemKind     protowire.Number = 2
	itemTensor   protowire.Number = 3
	itemSparse   protowire.Number = 4
	itemSequence protowire.Number = 5
	itemMap      protowire.Number = 6
	itemOptional protowire.Number = 7

	mapName    protowire.Number = 1
	mapKeyType protowire.Number = 2
	mapInts    protowire.Number = 3
	mapStrings protowire.Number = 4
	mapValues  protowire.Number = 5
)

// ReadValue reads a value that stands alone in a file, such as input_0.pb in
// ONNX's test folders. The encoding does not say what it is, so t does; a nil
// t means a tensor.
func ReadValue(path string, t *graph.Type) (tensor.Value, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v, err := DecodeValue(data, t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// ReadTensor reads a TensorProto that stands alone in a file.
func ReadTensor(path string) (*tensor.Tensor, error) {
	v, err := ReadValue(path, nil)
	if err != nil {
		return nil, err
	}
	return v.(*tensor.Tensor), nil
}

// DecodeValue reads a TensorProto, SparseTensorProto, SequenceProto, MapProto
// or OptionalProto, as t says. Tensors go on sharing data.
func DecodeValue(data []byte, t *graph.Type) (tensor.Value, error) {
	var d decoder
	kind := graph.KindTensor
	if t != nil {
		kind = t.Kind
	}
	return d.value(data, kind, t)
}

// value reads a message that holds a value of the given kind, which t, if it
// is known, has too.
func (d *decoder) value(data []byte, kind graph.Kind, t *graph.Type) (tensor.Value, error) {
	switch kind {
	case graph.KindTensor:
		return d.tensorValue(data)
	case graph.KindSparse:
		return d.sparseValue(data)
	case graph.KindSequence:
		return d.sequence(data, itemType(t))
	case graph.KindMap:
		return d.mapValue(data, itemType(t))
	case graph.KindOptional:
		return d.optional(data, itemType(t))
	}
	return nil, fmt.Errorf("values of type %v are not stored in files", t)
}

func (d *decoder) tensorValue(b []byte) (tensor.Value, error) {
	l, err := d.literal(b)
	if err != nil {
		return nil, err
	}
	return l.Tensor, nil
}

func (d *decoder) sparseValue(b []byte) (tensor.Value, error) {
	l, err := d.sparseLiteral(b)
	if err != nil {
		return nil, err
	}
	return l.Sparse, nil
}

// item reads a field of a SequenceProto or OptionalProto that holds a value of
// type t, and reports whether f is one.
func (d *decoder) item(f *field, t *graph.Type) (v tensor.Value, ok bool, err error) {
	var kind graph.Kind
	switch {
	case f.isBytes(itemTensor):
		kind = graph.KindTensor
	case f.isBytes(itemSparse):
		kind = graph.KindSparse
	case f.isBytes(itemSequence):
		kind = graph.KindSequence
	case f.isBytes(itemMap):
		kind = graph.KindMap
	case f.isBytes(itemOptional):
		kind = graph.KindOptional
	default:
		return nil, false, nil
	}
	if t != nil && t.Kind != graph.KindNone && t.Kind != kind {
		return nil, false, fmt.Errorf("is stored in field %d, want a value of type %v", f.num, t)
	}
	v, err = d.value(f.val, kind, t)
	return v, true, err
}

func (d *decoder) sequence(b []byte, item *graph.Type) (tensor.Value, error) {
	s := &tensor.Seq{}
	err := d.within(func() error {
		for f, err := range fields(b) {
			if err != nil {
				return err
			}
			v, ok, err := d.item(&f, item)
			if err != nil {
				return fmt.Errorf("item %d: %w", len(s.Items), err)
			}
			if ok {
				s.Items = append(s.Items, v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sequence: %w", err)
	}
	return s, nil
}

func (d *decoder) optional(b []byte, item *graph.Type) (tensor.Value, error) {
	var v tensor.Value = tensor.None{}
	err := d.within(func() error {
		for f, err := range fields(b) {
			if err != nil {
				return err
			}
			x, ok, err := d.item(&f, item)
			if err != nil {
				return err
			}
			if ok {
				v = x
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("optional: %w", err)
	}
	return v, nil
}

func (d *decoder) mapValue(b []byte, item *graph.Type) (tensor.Value, error) {
	m := &tensor.Map{}
	err := d.within(func() error { return d.mapFields(m, b, item) })
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return m, nil
}

func (d *decoder) mapFields(m *tensor.Map, b []byte, item *graph.Type) error {
	var keyType tensor.DType
	var ints []int64
	var strs []string
	var values []byte
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return err
		case f.isVarint(mapKeyType):
			keyType, err = dtype(f.int())
		case f.isVarints(mapInts):
			ints, err = appendVarints(ints, f.val)
		case f.isBytes(mapStrings):
			strs = append(strs, f.text())
		case f.isBytes(mapValues):
			values = join(values, f.val)
		}
		if err != nil {
			return err
		}
	}
	if keyType == tensor.String {
		m.Keys = tensor.OfStrings(tensor.Shape{len(strs)}, strs)
	} else {
		m.Keys = tensor.Of(tensor.Shape{len(ints)}, ints)
	}
	s, err := d.sequence(values, item)
	if err != nil {
		return err
	}
	m.Values = s.(*tensor.Seq).Items
	if len(m.Values) != m.Keys.Len() {
		return fmt.Errorf("has %d keys and %d values, want as many", m.Keys.Len(), len(m.Values))
	}
	return nil
}

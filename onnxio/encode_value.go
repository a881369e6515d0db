package onnxio

import (
	"bytes"
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// WriteValue writes a value that stands alone in a file, as ReadValue reads
// it with the same t. The name is stored with the value and may be empty. The
// file appears whole or not at all.
func WriteValue(path, name string, v tensor.Value, t *graph.Type) error {
	data, err := EncodeValue(name, v, t)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var files drafts
	defer files.discard()
	d, err := files.add(path)
	if err != nil {
		return err
	}
	if err := newSink(context.Background(), d.file).parts([][]byte{data}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return files.commit()
}

// WriteTensor writes a tensor as a TensorProto that stands alone in a file.
func WriteTensor(path, name string, t *tensor.Tensor) error {
	return WriteValue(path, name, t, nil)
}

// EncodeValue writes a TensorProto, SparseTensorProto, SequenceProto or
// MapProto, as v is, or an OptionalProto where t says that v is optional.
func EncodeValue(name string, v tensor.Value, t *graph.Type) ([]byte, error) {
	if _, none := v.(tensor.None); none && (t == nil || t.Kind != graph.KindOptional) {
		return nil, fmt.Errorf("value %q is absent and of type %v, want an optional type", name, t)
	}
	_, w, err := encodeItem(name, v, t)
	if err != nil {
		return nil, err
	}
	return bytes.Join(w.all(), nil), nil
}

// encodeItem returns the message of a value and the number of the field that
// holds it in a SequenceProto or OptionalProto. The numbers of elem_type are
// less by two. What is absent in place of an unknown type is an optional.
func encodeItem(name string, v tensor.Value, t *graph.Type) (protowire.Number, *message, error) {
	if t != nil && t.Kind == graph.KindOptional {
		w, err := encodeOptional(name, v, t.Item)
		return itemOptional, w, err
	}
	switch v := v.(type) {
	case *tensor.Tensor:
		return itemTensor, encodeLiteral(name, &graph.Literal{Tensor: v}), nil
	case *tensor.Sparse:
		return itemSparse, encodeLiteral(name, &graph.Literal{Sparse: v}), nil
	case *tensor.Seq:
		w, err := encodeSequence(name, v, itemType(t))
		return itemSequence, w, err
	case *tensor.Map:
		w, err := encodeMap(name, v, itemType(t))
		return itemMap, w, err
	case tensor.None:
		if t == nil || t.Kind == graph.KindNone {
			w, err := encodeOptional(name, v, nil)
			return itemOptional, w, err
		}
	}
	return 0, nil, fmt.Errorf("value %q is %T of type %v, want a tensor, sequence, map or optional", name, v, t)
}

func itemType(t *graph.Type) *graph.Type {
	if t == nil {
		return nil
	}
	return t.Item
}

func encodeOptional(name string, v tensor.Value, item *graph.Type) (*message, error) {
	w := &message{}
	w.textUnlessEmpty(itemName, name)
	if _, none := v.(tensor.None); none {
		w.int(itemKind, int64(itemNumber(item)-2))
		return w, nil
	}
	num, c, err := encodeItem("", v, item)
	if err != nil {
		return nil, err
	}
	w.int(itemKind, int64(num-2))
	w.message(num, c)
	return w, nil
}

// itemNumber is the field that holds values of type t.
func itemNumber(t *graph.Type) protowire.Number {
	if t == nil {
		return itemTensor
	}
	switch t.Kind {
	case graph.KindSparse:
		return itemSparse
	case graph.KindSequence:
		return itemSequence
	case graph.KindMap:
		return itemMap
	case graph.KindOptional:
		return itemOptional
	}
	return itemTensor
}

func encodeSequence(name string, s *tensor.Seq, item *graph.Type) (*message, error) {
	items := &message{}
	kind := itemNumber(item)
	for i, v := range s.Items {
		num, c, err := encodeItem("", v, item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		kind = num
		items.message(num, c)
	}
	w := &message{}
	w.textUnlessEmpty(itemName, name)
	w.int(itemKind, int64(kind-2))
	for _, b := range items.all() {
		w.bytes(b)
	}
	return w, nil
}

func encodeMap(name string, m *tensor.Map, item *graph.Type) (*message, error) {
	if m.Keys.Len() != len(m.Values) {
		return nil, fmt.Errorf("map %q has %d keys and %d values, want as many", name, m.Keys.Len(), len(m.Values))
	}
	w := &message{}
	w.textUnlessEmpty(mapName, name)
	w.int(mapKeyType, int64(m.Keys.DType()))
	switch m.Keys.DType() {
	case tensor.String:
		w.texts(mapStrings, m.Keys.Strings())
	case tensor.Int64:
		for _, k := range tensor.Data[int64](m.Keys) {
			w.int(mapInts, k)
		}
	default:
		return nil, fmt.Errorf("map %q has %v keys, want int64 or string", name, m.Keys.DType())
	}
	values, err := encodeSequence("", &tensor.Seq{Items: m.Values}, item)
	if err != nil {
		return nil, err
	}
	w.message(mapValues, values)
	return w, nil
}

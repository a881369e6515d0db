package onnxio

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxRank bounds the number of axes of a shape.
const maxRank = 1024

var typeKinds = map[protowire.Number]graph.Kind{
	typeTensor:   graph.KindTensor,
	typeSequence: graph.KindSequence,
	typeMap:      graph.KindMap,
	typeOpaque:   graph.KindOpaque,
	typeSparse:   graph.KindSparse,
	typeOptional: graph.KindOptional,
}

// typeProto reads a TypeProto. Of several types in one, the last counts.
func (d *decoder) typeProto(b []byte) (*graph.Type, error) {
	t := &graph.Type{}
	if err := d.count(); err != nil {
		return nil, err
	}
	err := d.within(func() error {
		var chosen protowire.Number
		var body []byte
		for f, err := range fields(b) {
			switch {
			case err != nil:
				return err
			case f.isBytes(typeDenotation):
				t.Denotation = f.text()
			case f.typ == protowire.BytesType && typeKinds[f.num] != graph.KindNone:
				if f.num != chosen {
					body = nil
				}
				chosen, body = f.num, join(body, f.val)
			default:
				t.Unknown = append(t.Unknown, f.raw...)
			}
		}
		t.Kind = typeKinds[chosen]
		return d.typeBody(t, body)
	})
	return t, err
}

func (d *decoder) typeBody(t *graph.Type, b []byte) error {
	switch t.Kind {
	case graph.KindTensor, graph.KindSparse:
		return d.tensorType(t, b)
	case graph.KindSequence, graph.KindOptional:
		return d.itemType(t, typeElem, b)
	case graph.KindMap:
		for f, err := range fields(b) {
			if err == nil && f.isVarint(typeElem) {
				t.Elem, err = dtype(f.int())
			}
			if err != nil {
				return err
			}
		}
		return d.itemType(t, typeMapValue, b)
	case graph.KindOpaque:
		for f, err := range fields(b) {
			switch {
			case err != nil:
				return err
			case f.isBytes(opaqueDomain):
				t.OpaqueDomain = f.text()
			case f.isBytes(opaqueName):
				t.Opaque = f.text()
			}
		}
	}
	return nil
}

// itemType reads the type in field num of b.
func (d *decoder) itemType(t *graph.Type, num protowire.Number, b []byte) error {
	var item []byte
	for f, err := range fields(b) {
		if err != nil {
			return err
		}
		if f.isBytes(num) {
			item = join(item, f.val)
		}
	}
	var err error
	t.Item, err = d.typeProto(item)
	return err
}

func (d *decoder) tensorType(t *graph.Type, b []byte) error {
	var shape []byte
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return err
		case f.isVarint(typeElem):
			if t.Elem, err = dtype(f.int()); err != nil {
				return err
			}
		case f.isBytes(typeShape):
			shape = join(shape, f.val)
		}
	}
	if shape == nil {
		return nil
	}
	t.Shape = graph.Dims{}
	for f, err := range fields(shape) {
		if err != nil {
			return err
		}
		if !f.isBytes(shapeDim) {
			continue
		}
		if len(t.Shape) == maxRank {
			return fmt.Errorf("shape has more than %d axes", maxRank)
		}
		dim, err := readDim(f.val)
		if err != nil {
			return err
		}
		t.Shape = append(t.Shape, dim)
	}
	return nil
}

// readDim reads a Dimension. Exporters write negative numbers and empty names
// for dimensions that they do not know.
func readDim(b []byte) (graph.Dim, error) {
	dim := graph.Unknown()
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return dim, err
		case f.isVarint(dimValue):
			dim.Sym, dim.Size = "", -1
			if n := f.int(); n > math.MaxInt {
				return dim, fmt.Errorf("dimension %d is too large", n)
			} else if n >= 0 {
				dim.Size = int(n)
			}
		case f.isBytes(dimParam):
			dim.Sym, dim.Size = f.text(), -1
		case f.isBytes(dimDenotation):
			dim.Denotation = f.text()
		}
	}
	return dim, nil
}

// dtype checks an element type that a file gives.
func dtype(n int64) (tensor.DType, error) {
	if n < 0 || n > int64(tensor.Int2) {
		return tensor.Undefined, fmt.Errorf("element type %d is not known, want 0 to %d", n, tensor.Int2)
	}
	return tensor.DType(n), nil
}

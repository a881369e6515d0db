package onnxio

import (
	"strconv"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// attrNumbers leads from a kind of attribute to the field of its value.
var attrNumbers = [...]protowire.Number{
	graph.AttrFloat:   attrFloat,
	graph.AttrInt:     attrInt,
	graph.AttrString:  attrString,
	graph.AttrTensor:  attrTensor,
	graph.AttrGraph:   attrGraph,
	graph.AttrFloats:  attrFloats,
	graph.AttrInts:    attrInts,
	graph.AttrStrings: attrStrings,
	graph.AttrTensors: attrTensors,
	graph.AttrGraphs:  attrGraphs,
	graph.AttrSparse:  attrSparse,
	graph.AttrSparses: attrSparses,
	graph.AttrType:    attrType,
	graph.AttrTypes:   attrTypes,
}

// encodeLiteral writes a TensorProto or SparseTensorProto. Elements that the
// literal keeps outside the model are not written.
func encodeLiteral(name string, l *graph.Literal) *message {
	if literalUnchanged(name, l) {
		return spanOf(l.Wire)
	}
	if l.Sparse != nil {
		return encodeSparse(name, l)
	}
	t := l.Tensor
	w := &message{}
	w.dims(tensorDims, t.Shape())
	w.int(tensorDType, int64(t.DType()))
	if l.External == nil {
		w.texts(tensorStrings, t.Strings())
	}
	w.textUnlessEmpty(tensorName, name)
	if l.External == nil && t.DType().Bits() > 0 {
		w.span(tensorRaw, t.Bytes())
	}
	w.textUnlessEmpty(tensorDoc, l.Doc)
	if l.External != nil {
		w.props(tensorExternal, externalProps(l.External))
		w.int(tensorLocation, locationExternal)
	}
	w.props(tensorMetadata, l.Metadata)
	w.bytes(l.Unknown)
	return w
}

func encodeSparse(name string, l *graph.Literal) *message {
	w := &message{}
	w.message(sparseValues, encodeLiteral(name, &graph.Literal{Tensor: l.Sparse.Values}))
	w.message(sparseIndices, encodeLiteral("", &graph.Literal{Tensor: l.Sparse.Indices}))
	w.dims(sparseDims, l.Sparse.Shape)
	w.bytes(l.Unknown)
	return w
}

func (m *message) dims(num protowire.Number, shape tensor.Shape) {
	for _, n := range shape {
		m.int(num, int64(n))
	}
}

// externalProps lists what a TensorProto says of a place outside the model.
func externalProps(e *graph.External) []graph.Prop {
	props := []graph.Prop{
		{Key: "location", Value: e.Location},
		{Key: "offset", Value: strconv.FormatInt(e.Offset, 10)},
	}
	if e.Length >= 0 {
		props = append(props, graph.Prop{Key: "length", Value: strconv.FormatInt(e.Length, 10)})
	}
	if e.Checksum != "" {
		props = append(props, graph.Prop{Key: "checksum", Value: e.Checksum})
	}
	return append(props, e.Extra...)
}

func encodeType(t *graph.Type) *message {
	w := &message{}
	if t == nil {
		return w
	}
	body := &message{}
	switch t.Kind {
	case graph.KindTensor, graph.KindSparse:
		body.int(typeElem, int64(t.Elem))
		if t.Shape != nil {
			body.message(typeShape, encodeShape(t.Shape))
		}
	case graph.KindSequence, graph.KindOptional:
		body.message(typeElem, encodeType(t.Item))
	case graph.KindMap:
		body.int(typeElem, int64(t.Elem))
		body.message(typeMapValue, encodeType(t.Item))
	case graph.KindOpaque:
		body.textUnlessEmpty(opaqueDomain, t.OpaqueDomain)
		body.textUnlessEmpty(opaqueName, t.Opaque)
	}
	for num, kind := range typeKinds {
		if kind == t.Kind {
			w.message(num, body)
		}
	}
	w.textUnlessEmpty(typeDenotation, t.Denotation)
	w.bytes(t.Unknown)
	return w
}

func encodeShape(dims graph.Dims) *message {
	w := &message{}
	for _, d := range dims {
		dim := &message{}
		switch {
		case d.IsKnown():
			dim.int(dimValue, int64(d.Size))
		case d.Sym != "":
			dim.text(dimParam, d.Sym)
		}
		dim.textUnlessEmpty(dimDenotation, d.Denotation)
		w.message(shapeDim, dim)
	}
	return w
}

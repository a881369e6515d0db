package onnxio

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

// locationExternal is the data_location of a tensor outside the model.
const locationExternal = 1

// tensorFields gathers a TensorProto. The typed lists are kept packed, as in
// the file.
type tensorFields struct {
	lit      *graph.Literal
	dtype    tensor.DType
	dims     []int64
	raw      []byte
	floats   []byte
	doubles  []byte
	int32s   []byte
	int64s   []byte
	uint64s  []byte
	strs     []string
	location uint64
	external []graph.Prop
}

// literal reads a TensorProto.
func (d *decoder) literal(b []byte) (*graph.Literal, error) {
	if err := d.count(); err != nil {
		return nil, err
	}
	p, err := readTensorFields(b)
	if err == nil {
		err = d.contents(p)
	}
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", p.lit.Name, err)
	}
	return p.lit, nil
}

func readTensorFields(b []byte) (*tensorFields, error) {
	l := &graph.Literal{Wire: b}
	p := &tensorFields{lit: l}
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return p, err
		case f.isVarints(tensorDims):
			p.dims, err = appendVarints(p.dims, f.val)
		case f.isVarint(tensorDType):
			p.dtype, err = dtype(f.int())
		case f.isBytes(tensorRaw):
			p.raw = f.val
		case f.isFixed32s(tensorFloats):
			p.floats = join(p.floats, f.val)
		case f.isFixed64s(tensorDoubles):
			p.doubles = join(p.doubles, f.val)
		case f.isVarints(tensorInt32s):
			p.int32s = join(p.int32s, f.val)
		case f.isVarints(tensorInt64s):
			p.int64s = join(p.int64s, f.val)
		case f.isVarints(tensorUint64s):
			p.uint64s = join(p.uint64s, f.val)
		case f.isBytes(tensorStrings):
			p.strs = append(p.strs, f.text())
		case f.isBytes(tensorName):
			l.Name = f.text()
		case f.isBytes(tensorDoc):
			l.Doc = f.text()
		case f.isVarint(tensorLocation):
			p.location = f.number
		case f.isBytes(tensorExternal):
			p.external, err = appendProp(p.external, f.val)
		case f.isBytes(tensorMetadata):
			l.Metadata, err = appendProp(l.Metadata, f.val)
		default:
			l.Unknown = append(l.Unknown, f.raw...)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// contents makes the literal's tensor.
func (d *decoder) contents(p *tensorFields) error {
	shape, err := shapeOf(p.dims)
	if err != nil {
		return err
	}
	if p.location == locationExternal {
		return d.outside(p, shape)
	}
	p.lit.Tensor, err = p.tensor(shape)
	return err
}

// shapeOf checks dimensions that a file gives.
func shapeOf(dims []int64) (tensor.Shape, error) {
	if len(dims) > maxRank {
		return nil, fmt.Errorf("shape has %d axes, want at most %d", len(dims), maxRank)
	}
	shape := make(tensor.Shape, len(dims))
	for i, n := range dims {
		if n > math.MaxInt {
			return nil, fmt.Errorf("dimension %d is %d, which is too large", i, n)
		}
		shape[i] = int(n)
	}
	if err := shape.Check(); err != nil {
		return nil, err
	}
	if shape.Len() > math.MaxInt/tensor.Complex128.Bits() {
		return nil, fmt.Errorf("shape %v has too many elements", shape)
	}
	return shape, nil
}

func (p *tensorFields) tensor(shape tensor.Shape) (*tensor.Tensor, error) {
	n := shape.Len()
	switch {
	case p.dtype == tensor.Undefined:
		return p.undefined(shape)
	case p.dtype == tensor.String:
		if len(p.strs) != n {
			return nil, fmt.Errorf("string%v has %d strings, want %d", shape, len(p.strs), n)
		}
		return tensor.OfStrings(shape, p.strs), nil
	case len(p.raw) > 0:
		return tensor.FromMapped(p.dtype, shape, p.raw, evict)
	}
	switch p.dtype {
	case tensor.Float32, tensor.Complex64:
		return tensor.FromMapped(p.dtype, shape, p.floats, evict)
	case tensor.Float64, tensor.Complex128:
		return tensor.FromMapped(p.dtype, shape, p.doubles, evict)
	case tensor.Int64:
		return unpack(p.dtype, shape, p.int64s)
	case tensor.Uint32, tensor.Uint64:
		return unpack(p.dtype, shape, p.uint64s)
	}
	return unpack(p.dtype, shape, p.int32s)
}

// undefined makes the tensor of no type, which may have no contents either.
func (p *tensorFields) undefined(shape tensor.Shape) (*tensor.Tensor, error) {
	if len(p.raw)+len(p.floats)+len(p.doubles)+len(p.int32s)+len(p.int64s)+len(p.uint64s)+len(p.strs) > 0 {
		return nil, fmt.Errorf("has contents but no element type")
	}
	return tensor.New(tensor.Undefined, shape), nil
}

// unpack decodes packed varints into elements of the given type. Elements of
// less than a byte are packed in the varints as they are in memory: a varint
// is a byte of them.
func unpack(dt tensor.DType, shape tensor.Shape, run []byte) (*tensor.Tensor, error) {
	size := max(dt.Bits(), 8) / 8
	want := dt.Bytes(shape.Len()) / size
	have := 0
	for _, c := range run {
		if c < 0x80 {
			have++
		}
	}
	if have != want {
		return nil, fmt.Errorf("%v%v has %d stored numbers, want %d", dt, shape, have, want)
	}
	t := tensor.New(dt, shape)
	dst := t.Bytes()
	for ; len(dst) > 0; dst = dst[size:] {
		x, n := protowire.ConsumeVarint(run)
		if n < 0 {
			return nil, fmt.Errorf("malformed message: packed integers: %w", protowire.ParseError(n))
		}
		run = run[n:]
		if dt == tensor.Bool && x != 0 {
			x = 1
		}
		putInt(dst, size, x)
	}
	return t, nil
}

func putInt(dst []byte, size int, x uint64) {
	switch size {
	case 1:
		dst[0] = byte(x)
	case 2:
		binary.LittleEndian.PutUint16(dst, uint16(x))
	case 4:
		binary.LittleEndian.PutUint32(dst, uint32(x))
	case 8:
		binary.LittleEndian.PutUint64(dst, x)
	}
}

// outside makes the literal's tensor over elements in another file.
func (d *decoder) outside(p *tensorFields, shape tensor.Shape) error {
	e, err := readExternal(p.external)
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	p.lit.External = e
	if !p.dtype.Valid() || p.dtype == tensor.String {
		return fmt.Errorf("external data: elements are of type %v, which cannot stand outside the model", p.dtype)
	}
	n := p.dtype.Bytes(shape.Len())
	if e.Length >= 0 && e.Length != int64(n) {
		return fmt.Errorf("external data: length is %d, want %d for %v%v", e.Length, n, p.dtype, shape)
	}
	if d.external == nil {
		return fmt.Errorf("external data: %q cannot be read, because there is no model folder", e.Location)
	}
	b, err := d.external(e, n)
	if err != nil {
		return fmt.Errorf("external data: %w", err)
	}
	p.lit.Tensor, err = tensor.FromMapped(p.dtype, shape, b, evict)
	return err
}

func readExternal(props []graph.Prop) (*graph.External, error) {
	e := &graph.External{Length: -1}
	for _, p := range props {
		var err error
		switch p.Key {
		case "location":
			e.Location = p.Value
		case "offset":
			e.Offset, err = readCount(p)
		case "length":
			e.Length, err = readCount(p)
		case "checksum":
			e.Checksum = p.Value
		default:
			e.Extra = append(e.Extra, p)
		}
		if err != nil {
			return nil, err
		}
	}
	if e.Location == "" {
		return nil, fmt.Errorf("there is no location")
	}
	return e, nil
}

func readCount(p graph.Prop) (int64, error) {
	n, err := strconv.ParseInt(p.Value, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q, want a number of bytes", p.Key, p.Value)
	}
	return n, nil
}

// sparseLiteral reads a SparseTensorProto. Its name is that of its values.
func (d *decoder) sparseLiteral(b []byte) (*graph.Literal, error) {
	l := &graph.Literal{Wire: b}
	var values, indices []byte
	var dims []int64
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, err
		case f.isBytes(sparseValues):
			values = join(values, f.val)
		case f.isBytes(sparseIndices):
			indices = join(indices, f.val)
		case f.isVarints(sparseDims):
			if dims, err = appendVarints(dims, f.val); err != nil {
				return nil, err
			}
		default:
			l.Unknown = append(l.Unknown, f.raw...)
		}
	}
	v, err := d.literal(values)
	if err != nil {
		return nil, fmt.Errorf("sparse values: %w", err)
	}
	l.Name = v.Name
	i, err := d.literal(indices)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor %q: indices: %w", l.Name, err)
	}
	shape, err := shapeOf(dims)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor %q: %w", l.Name, err)
	}
	l.Sparse = &tensor.Sparse{Values: v.Tensor, Indices: i.Tensor, Shape: shape}
	if err := checkSparse(l.Sparse); err != nil {
		return nil, fmt.Errorf("sparse tensor %q: %w", l.Name, err)
	}
	return l, nil
}

// checkSparse holds a sparse tensor to what its users rely on.
func checkSparse(s *tensor.Sparse) error {
	if s.Values.Rank() != 1 {
		return fmt.Errorf("values are %v, want one axis", s.Values)
	}
	n, rank := s.Values.Len(), len(s.Shape)
	linear := s.Indices.Shape().Equal(tensor.Shape{n})
	if s.Indices.DType() != tensor.Int64 || !linear && !s.Indices.Shape().Equal(tensor.Shape{n, rank}) {
		return fmt.Errorf("indices are %v, want int64[%d] or int64[%d,%d]", s.Indices, n, n, rank)
	}
	for i, x := range tensor.Data[int64](s.Indices) {
		limit := s.Shape.Len()
		if !linear {
			limit = s.Shape[i%rank]
		}
		if x < 0 || x >= int64(limit) {
			return fmt.Errorf("index %d is %d, want 0 to %d", i, x, limit-1)
		}
	}
	return nil
}

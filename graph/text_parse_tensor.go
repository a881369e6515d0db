package graph

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// literal reads the contents of a tensor of type t, which stands at pos.
func (p *textParser) literal(t *Type, pos int) *Literal {
	if t == nil || t.Kind != KindTensor && t.Kind != KindSparse {
		p.failAt(pos, "expected a tensor type in front of the contents of a tensor")
	}
	shape, ok := t.Shape.Static()
	if !ok {
		p.failAt(pos, "expected a type with known dimensions, found %v", t)
	}
	if err := shape.Check(); err != nil {
		p.failAt(pos, "%v", err)
	}
	l := &Literal{}
	if p.is("[") {
		l.External = p.external()
	}
	if t.Kind == KindSparse {
		l.Sparse = p.sparse(t, shape)
	} else {
		l.Tensor = p.elements(t.Elem, shape)
	}
	p.notes(entries{
		"doc_string":     func() { l.Doc = p.str() },
		"metadata_props": func() { l.Metadata = p.props() },
		"unknown":        func() { l.Unknown = p.hex() },
	})
	return l
}

func (p *textParser) external() *External {
	e := &External{Length: -1}
	pos := p.tok.pos
	for _, prop := range p.props() {
		switch prop.Key {
		case "location":
			e.Location = prop.Value
		case "offset":
			e.Offset = p.count(prop, pos)
		case "length":
			e.Length = p.count(prop, pos)
		case "checksum":
			e.Checksum = prop.Value
		default:
			e.Extra = append(e.Extra, prop)
		}
	}
	return e
}

func (p *textParser) count(prop Prop, pos int) int64 {
	n, err := strconv.ParseInt(prop.Value, 10, 64)
	if err != nil || n < 0 {
		p.failAt(pos, "%s is %q, want a number of bytes", prop.Key, prop.Value)
	}
	return n
}

// sparse reads {values, indices}, two dense tensors.
func (p *textParser) sparse(t *Type, shape tensor.Shape) *tensor.Sparse {
	pos := p.tok.pos
	p.expect("{")
	values := p.dense()
	p.expect(",")
	indices := p.dense()
	p.expect("}")
	if values.DType() != t.Elem {
		p.failAt(pos, "expected values of type %v, found %v", t.Elem, values)
	}
	s := &tensor.Sparse{Values: values, Indices: indices, Shape: shape}
	if err := checkSparse(s); err != nil {
		p.failAt(pos, "%v", err)
	}
	return s
}

func (p *textParser) dense() *tensor.Tensor {
	pos := p.tok.pos
	t := p.typ()
	shape, ok := t.Shape.Static()
	if t.Kind != KindTensor || !ok || shape.Check() != nil {
		p.failAt(pos, "expected a tensor type with known dimensions, found %v", t)
	}
	return p.elements(t.Elem, shape)
}

// elements reads {element, …}. Memory is taken for what is there, not for
// what the shape announces.
func (p *textParser) elements(d tensor.DType, shape tensor.Shape) *tensor.Tensor {
	pos := p.tok.pos
	p.expect("{")
	want := shape.Len()
	if d.IsComplex() {
		want *= 2
	}
	e := elementReader{p: p, dtype: d}
	count := 0
	p.list("}", func() {
		if p.is("...") {
			p.failAt(p.tok.pos, "expected elements; they were left out when the text was written")
		}
		if count++; count > want {
			p.failAt(p.tok.pos, "expected the %d elements of %v%v, found more", want, d, shape)
		}
		e.read()
	})
	if d == tensor.Undefined {
		return tensor.New(d, shape)
	}
	if count != want {
		p.failAt(pos, "expected the %d elements of %v%v, found %d", want, d, shape, count)
	}
	return e.tensor(shape)
}

// elementReader gathers elements in the order of the text.
type elementReader struct {
	p     *textParser
	dtype tensor.DType
	data  []byte // packed if elements are of a byte or more, else one to a byte
	strs  []string
}

func (e *elementReader) tensor(shape tensor.Shape) *tensor.Tensor {
	switch bits := e.dtype.Bits(); {
	case e.dtype == tensor.String:
		return tensor.OfStrings(shape, e.strs)
	case bits < 8:
		return tensor.FromCodes(e.dtype, shape, e.data)
	}
	t, err := tensor.FromBytes(e.dtype, shape, e.data)
	if err != nil {
		panic(err) // elements were counted
	}
	return t
}

func (e *elementReader) read() {
	p := e.p
	switch d := e.dtype; {
	case d == tensor.Undefined:
		p.failAt(p.tok.pos, "expected no elements in a tensor of undefined type")
	case d == tensor.String:
		e.strs = append(e.strs, p.str())
	case d == tensor.Float32 || d == tensor.Complex64:
		e.data = binary.LittleEndian.AppendUint32(e.data, math.Float32bits(p.float32()))
	case d == tensor.Float64 || d == tensor.Complex128:
		e.data = binary.LittleEndian.AppendUint64(e.data, math.Float64bits(p.float64()))
	case d.IsFloat() && (p.tok.kind == tokFloat || p.atFloatName()):
		t := tensor.FromFloat32s(d, tensor.Shape{}, []float32{p.float32()})
		e.put(asBits(t), d.Bits())
	case d == tensor.Bool && p.tok.kind == tokIdent:
		e.truth()
	default:
		e.put(e.integer(), d.Bits())
	}
}

// asBits returns the only element of a tensor of at most 16 bits.
func asBits(t *tensor.Tensor) uint64 {
	if b := t.Bytes(); len(b) == 2 {
		return uint64(binary.LittleEndian.Uint16(b))
	}
	return uint64(tensor.Codes(t)[0])
}

func (e *elementReader) truth() {
	switch e.p.tok.text {
	case "true":
		e.data = append(e.data, 1)
	case "false":
		e.data = append(e.data, 0)
	default:
		e.p.expected("0, 1, true or false")
	}
	e.p.advance()
}

// integer reads an element, or the bits of one, and checks that it fits.
func (e *elementReader) integer() uint64 {
	p := e.p
	if p.tok.kind != tokInt {
		p.expected("an element of type " + e.dtype.String())
	}
	var x uint64
	var err error
	if e.dtype.IsSigned() {
		var n int64
		n, err = strconv.ParseInt(p.tok.text, 10, e.dtype.Bits())
		x = uint64(n)
	} else {
		x, err = strconv.ParseUint(p.tok.text, 10, e.dtype.Bits())
	}
	if err != nil {
		p.expected("an element that fits type " + e.dtype.String())
	}
	p.advance()
	return x
}

// put appends the low bits of x.
func (e *elementReader) put(x uint64, bits int) {
	switch bits {
	case 16:
		e.data = binary.LittleEndian.AppendUint16(e.data, uint16(x))
	case 32:
		e.data = binary.LittleEndian.AppendUint32(e.data, uint32(x))
	case 64:
		e.data = binary.LittleEndian.AppendUint64(e.data, x)
	default:
		e.data = append(e.data, byte(x)&byte(1<<min(bits, 8)-1))
	}
}

// The bits that nan stands for.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

func (p *textParser) float32() float32 {
	bits, special := p.nan(32, nan32)
	if special {
		return math.Float32frombits(uint32(bits))
	}
	return float32(p.float(32))
}

func (p *textParser) float64() float64 {
	bits, special := p.nan(64, nan64)
	if special {
		return math.Float64frombits(bits)
	}
	return p.float(64)
}

// nan reads nan, -nan or nan(bits) and returns its bits, if that is next.
func (p *textParser) nan(width int, quiet uint64) (uint64, bool) {
	switch {
	case p.tok.kind == tokFloat && strings.EqualFold(p.tok.text, "-nan"):
		p.advance()
		return quiet | 1<<(width-1), true
	case p.tok.kind != tokIdent || !strings.EqualFold(p.tok.text, "nan"):
		return 0, false
	}
	p.advance()
	if !p.accept("(") {
		return quiet, true
	}
	bits, err := strconv.ParseUint(p.tok.text, 10, width)
	if err != nil {
		p.expected("the bits of a NaN")
	}
	p.advance()
	p.expect(")")
	return bits, true
}

// float reads a number or infinity.
func (p *textParser) float(width int) float64 {
	switch {
	case p.tok.kind == tokInt, p.tok.kind == tokFloat:
	case p.tok.kind == tokIdent && isSpecialFloat(p.tok.text):
	default:
		p.expected("a number")
	}
	x, err := strconv.ParseFloat(p.tok.text, width)
	if err != nil {
		p.expected("a number that fits a float of " + strconv.Itoa(width) + " bits")
	}
	p.advance()
	return x
}

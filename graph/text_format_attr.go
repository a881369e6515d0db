package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

func (p *textPrinter) attrs(list []*Attr) {
	if len(list) == 0 {
		return
	}
	p.str(" <")
	join(p, ", ", list, p.attr)
	p.str(">")
}

func (p *textPrinter) attr(a *Attr) {
	p.word(a.Name)
	if a.Kind != AttrNone || a.Ref == "" {
		p.str(": ", a.Kind.String())
	}
	p.str(" = ")
	notes := []note{p.text("doc_string", a.Doc), p.unknown(a.Unknown)}
	inner := notes[0].set || notes[1].set
	switch {
	case a.Ref != "":
		p.str("@")
		p.id(a.Ref)
	case a.Kind.IsList() || a.Kind == AttrNone:
		p.str("[")
		p.attrValues(a, false)
		p.str("]")
	default:
		p.attrValues(a, inner)
	}
	p.notes(false, notes...)
}

// attrValues writes the values of an attribute; force asks for notes of the
// value even if there are none.
func (p *textPrinter) attrValues(a *Attr, force bool) {
	const sep = ", "
	switch attrField(a.Kind) {
	case 0:
		join(p, sep, a.Floats, p.float32)
	case 1:
		join(p, sep, a.Ints, p.int)
	case 2:
		join(p, sep, a.Strings, p.quoted)
	case 3:
		join(p, sep, a.Literals, func(l *Literal) { p.literal(l, l.Name, force) })
	case 4:
		p.depth++
		join(p, sep, a.Graphs, func(g *Graph) { p.graph(g, force) })
		p.depth--
	case 5:
		join(p, sep, a.Types, func(t *Type) { p.typ(t, force) })
	}
}

func (p *textPrinter) typ(t *Type, force bool) {
	if t == nil {
		t = &Type{} // an item that is missing
	}
	switch t.Kind {
	case KindNone:
		p.str("?")
	case KindTensor:
		p.tensorType(t)
	case KindSparse:
		p.str("sparse_tensor(")
		p.tensorType(t)
		p.str(")")
	case KindSequence, KindOptional:
		p.str(map[Kind]string{KindSequence: "seq(", KindOptional: "optional("}[t.Kind])
		p.typ(t.Item, false)
		p.str(")")
	case KindMap:
		p.str("map(", t.Elem.String(), ", ")
		p.typ(t.Item, false)
		p.str(")")
	case KindOpaque:
		p.str("opaque(")
		switch {
		case t.OpaqueDomain != "":
			p.qualified(t.OpaqueDomain)
			p.str(", ")
			p.qualified(t.Opaque)
		case t.Opaque != "":
			p.qualified(t.Opaque)
		}
		p.str(")")
	}
	p.notes(force, p.text("denotation", t.Denotation), p.unknown(t.Unknown))
}

func (p *textPrinter) tensorType(t *Type) {
	p.str(t.Elem.String())
	if t.Shape == nil {
		p.str("[]")
		return
	}
	if len(t.Shape) == 0 {
		return
	}
	p.str("[")
	join(p, ",", t.Shape, func(d Dim) {
		switch {
		case d.Sym != "":
			p.word(d.Sym)
		case d.Size < 0:
			p.str("?")
		default:
			p.int(int64(d.Size))
		}
		p.notes(false, p.text("denotation", d.Denotation))
	})
	p.str("]")
}

// literal writes a tensor with its type and name.
func (p *textPrinter) literal(l *Literal, name string, force bool) {
	switch {
	case l.Sparse != nil:
		p.str("sparse_tensor(", l.DType().String())
		p.shape(l.Shape())
		p.str(")")
	default:
		p.str(l.DType().String())
		p.shape(l.Shape())
	}
	if name != "" {
		p.str(" ")
		p.id(name)
	}
	p.str(" = ")
	if l.External != nil {
		p.external(l.External)
		p.str(" ")
	}
	if l.Sparse != nil {
		p.str("{")
		p.dense(l.Sparse.Values)
		p.str(", ")
		p.dense(l.Sparse.Indices)
		p.str("}")
	} else {
		p.elements(l.Tensor)
	}
	p.notes(force,
		p.text("doc_string", l.Doc), p.propNote("metadata_props", l.Metadata), p.unknown(l.Unknown))
}

func (p *textPrinter) dense(t *tensor.Tensor) {
	p.str(t.DType().String())
	p.shape(t.Shape())
	p.str(" ")
	p.elements(t)
}

func (p *textPrinter) shape(s tensor.Shape) {
	if len(s) > 0 {
		p.str(s.String())
	}
}

func (p *textPrinter) external(e *External) {
	props := []Prop{{"location", e.Location}}
	if e.Offset != 0 {
		props = append(props, Prop{"offset", strconv.FormatInt(e.Offset, 10)})
	}
	if e.Length >= 0 {
		props = append(props, Prop{"length", strconv.FormatInt(e.Length, 10)})
	}
	if e.Checksum != "" {
		props = append(props, Prop{"checksum", e.Checksum})
	}
	p.props(append(props, e.Extra...))
}

func (p *textPrinter) elements(t *tensor.Tensor) {
	switch {
	case t.DType() == tensor.Undefined:
		p.str("{}")
		return
	case p.Elide > 0 && t.Len() > p.Elide:
		p.digest(t)
		return
	}
	p.str("{")
	switch d := t.DType(); {
	case d == tensor.String:
		join(p, ", ", t.Strings(), p.quoted)
	case d == tensor.Float32:
		join(p, ", ", tensor.Data[float32](t), p.float32)
	case d == tensor.Float64:
		join(p, ", ", tensor.Data[float64](t), p.float64)
	case d == tensor.Complex64:
		join(p, ", ", tensor.Data[complex64](t), func(c complex64) {
			p.float32(real(c))
			p.str(", ")
			p.float32(imag(c))
		})
	case d == tensor.Complex128:
		join(p, ", ", tensor.Data[complex128](t), func(c complex128) {
			p.float64(real(c))
			p.str(", ")
			p.float64(imag(c))
		})
	case d.IsSigned():
		join(p, ", ", tensor.Int64s(t), p.int)
	default:
		p.unsigned(t)
	}
	p.str("}")
}

// unsigned writes unsigned integers, truth values, and the bits of floats of
// 16 or fewer bits.
func (p *textPrinter) unsigned(t *tensor.Tensor) {
	switch t.DType().Bits() {
	case 16:
		printUnsigned(p, tensor.Data[uint16](t))
	case 32:
		printUnsigned(p, tensor.Data[uint32](t))
	case 64:
		printUnsigned(p, tensor.Data[uint64](t))
	default:
		printUnsigned(p, tensor.Codes(t))
	}
}

func printUnsigned[T uint8 | uint16 | uint32 | uint64](p *textPrinter, list []T) {
	join(p, ", ", list, func(x T) { p.w.Write(strconv.AppendUint(p.w.AvailableBuffer(), uint64(x), 10)) })
}

func (p *textPrinter) float32(x float32) {
	bits := math.Float32bits(x)
	p.float(float64(x), 32, uint64(bits), nan32)
}

func (p *textPrinter) float64(x float64) { p.float(x, 64, math.Float64bits(x), nan64) }

// float writes the shortest decimal that reads as x, which has the given bits
// as a float of the given width, whose ordinary NaN is quiet.
func (p *textPrinter) float(x float64, width int, bits, quiet uint64) {
	switch {
	case !math.IsNaN(x) && !math.IsInf(x, 0):
		p.w.Write(strconv.AppendFloat(p.w.AvailableBuffer(), x, 'g', -1, width))
	case math.IsInf(x, 1):
		p.str("inf")
	case math.IsInf(x, -1):
		p.str("-inf")
	case bits == quiet:
		p.str("nan")
	case bits == quiet|1<<(width-1):
		p.str("-nan")
	default:
		p.str("nan(", strconv.FormatUint(bits, 10), ")")
	}
}

// digest writes how much is left out and what it was.
func (p *textPrinter) digest(t *tensor.Tensor) {
	h := sha256.New()
	h.Write(t.Bytes())
	for _, s := range t.Strings() {
		io.WriteString(h, strings.ReplaceAll(s, "\x00", "\x00\x00")+"\x00")
	}
	p.str(fmt.Sprintf("{... %d bytes, sha256 %s}", t.Size(), hex.EncodeToString(h.Sum(nil)[:8])))
}

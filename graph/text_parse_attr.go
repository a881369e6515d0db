package graph

import (
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// attr reads an attribute. Unless n is nil it becomes n's before its
// subgraphs are read, which stand in s.
func (p *textParser) attr(n *Node, s *scope) *Attr {
	pos := p.tok.pos
	a := &Attr{Name: p.name("an attribute")}
	annotated := p.accept(":")
	if annotated {
		a.Kind = p.attrKind()
	}
	if n != nil {
		if n.Attr(a.Name) != nil {
			p.failAt(pos, "attribute %q is given twice", a.Name)
		}
		n.appendAttr(a)
	}
	p.expect("=")
	if p.is("[") {
		p.attrList(a, annotated, s)
	} else {
		p.attrValue(a, a.Kind, annotated, s)
	}
	p.notes(entries{
		"doc_string": func() { a.Doc = p.str() },
		"unknown":    func() { a.Unknown = p.hex() },
	})
	return a
}

func (p *textParser) attrKind() AttrKind {
	pos := p.tok.pos
	name := p.ident("the type of an attribute")
	for k := range attrKinds {
		if attrKinds[k].name == name {
			return AttrKind(k)
		}
	}
	p.failAt(pos, `expected the type of an attribute such as "ints" or "tensor", found %q`, name)
	return AttrNone
}

// listKind returns the kind of lists of what a kind holds one of, and the
// other way round.
func listKind(k AttrKind, list bool) AttrKind {
	pairs := [...][2]AttrKind{
		{AttrFloat, AttrFloats}, {AttrInt, AttrInts}, {AttrString, AttrStrings}, {AttrTensor, AttrTensors},
		{AttrGraph, AttrGraphs}, {AttrSparse, AttrSparses}, {AttrType, AttrTypes},
	}
	for _, p := range pairs {
		switch {
		case list && p[0] == k:
			return p[1]
		case !list && p[1] == k:
			return p[0]
		}
	}
	return k
}

// attrList reads [value, …]. Without a stated kind, that of the first value
// counts, where a list of numbers of which one is a float is one of floats.
func (p *textParser) attrList(a *Attr, annotated bool, s *scope) {
	pos := p.advance().pos
	if annotated && a.Kind != AttrNone && !a.Kind.IsList() {
		p.failAt(pos, "expected one value of type %v, found a list", a.Kind)
	}
	item := listKind(a.Kind, false)
	p.list("]", func() {
		pos := p.tok.pos
		p.attrValue(a, item, annotated, s)
		if a.Ref != "" {
			p.failAt(pos, "expected a value in a list, found a reference")
		}
		if item == AttrInt && a.Kind == AttrFloat && !annotated {
			a.Floats = append(intsToFloats(a.Ints), a.Floats...)
			a.Ints = nil
		}
		item = a.Kind
	})
	a.Kind = listKind(a.Kind, true)
	if a.Kind == AttrNone && !annotated {
		p.failAt(pos, "expected the type of an empty list in front, such as \": ints\"")
	}
}

func intsToFloats(ints []int64) []float32 {
	fs := make([]float32, len(ints))
	for i, n := range ints {
		fs[i] = float32(n)
	}
	return fs
}

// attrValue reads one value, appends it to the attribute and sets its kind;
// want is the kind that it should be of, AttrNone if any will do. Where the
// kind is not annotated a float may follow integers.
func (p *textParser) attrValue(a *Attr, want AttrKind, annotated bool, s *scope) {
	pos := p.tok.pos
	got := p.anyValue(a, want, s)
	if got == AttrNone {
		return
	}
	mixed := want == AttrInt && got == AttrFloat && !annotated
	if want != AttrNone && got != want && !mixed {
		p.failAt(pos, "expected a value of type %v, found one of type %v", want, got)
	}
	a.Kind = got
}

// anyValue reads one value and returns of which kind it is: AttrNone for a
// reference.
func (p *textParser) anyValue(a *Attr, want AttrKind, s *scope) AttrKind {
	switch {
	case p.accept("@"):
		a.Ref = p.name("the attribute of the function that is referred to")
		return AttrNone
	case p.tok.kind == tokFloat, p.atFloatName(), p.tok.kind == tokInt && want == AttrFloat:
		a.Floats = append(a.Floats, p.float32())
		return AttrFloat
	case p.tok.kind == tokInt:
		a.Ints = append(a.Ints, p.integer())
		return AttrInt
	case p.tok.kind == tokString && want != AttrGraph && p.following().text != "(":
		a.Strings = append(a.Strings, p.str())
		return AttrString
	case p.atType():
		return p.typeOrTensor(a)
	case p.tok.kind == tokIdent || p.tok.kind == tokString:
		return p.subgraph(a, s)
	}
	p.expected("the value of an attribute")
	return AttrNone
}

func (p *textParser) subgraph(a *Attr, s *scope) AttrKind {
	g := New("")
	a.Graphs = append(a.Graphs, g)
	if s != nil {
		owner := s.g.last
		owner.own(a)
	}
	p.graph(g, s)
	return AttrGraph
}

func (p *textParser) typeOrTensor(a *Attr) AttrKind {
	pos := p.tok.pos
	t := p.typ()
	named := p.tok.kind == tokIdent || p.tok.kind == tokString
	if !named && !p.is("{") && !p.is("=") {
		a.Types = append(a.Types, t)
		return AttrType
	}
	name := ""
	if named {
		name = p.advance().text
	}
	p.accept("=")
	l := p.literal(t, pos)
	l.Name = name
	a.Literals = append(a.Literals, l)
	if l.Sparse != nil {
		return AttrSparse
	}
	return AttrTensor
}

// typeWords start a type that is not one of tensors.
var typeWords = []string{"seq", "map", "optional", "sparse_tensor", "opaque", "undefined"}

// isTypeWord reports whether an identifier is read as the start of a type.
func isTypeWord(s string) bool {
	_, isDType := tensor.ParseDType(s)
	return isDType || slices.Contains(typeWords, s)
}

func (p *textParser) atType() bool {
	return p.tok.kind == tokIdent && isTypeWord(p.tok.text) || p.is("?")
}

func (p *textParser) typ() *Type {
	t := &Type{}
	p.deeper(func() { p.typeBody(t) })
	p.notes(entries{
		"denotation": func() { t.Denotation = p.str() },
		"unknown":    func() { t.Unknown = p.hex() },
	})
	return t
}

func (p *textParser) typeBody(t *Type) {
	if p.accept("?") {
		return
	}
	pos := p.tok.pos
	switch word := p.ident("a type"); word {
	case "seq", "optional":
		t.Kind = map[string]Kind{"seq": KindSequence, "optional": KindOptional}[word]
		p.expect("(")
		t.Item = p.typ()
		p.expect(")")
	case "map":
		t.Kind = KindMap
		p.expect("(")
		t.Elem = p.dtype()
		p.expect(",")
		t.Item = p.typ()
		p.expect(")")
	case "sparse_tensor":
		t.Kind = KindSparse
		p.expect("(")
		t.Elem = p.dtype()
		t.Shape = p.dims()
		p.expect(")")
	case "opaque":
		p.opaque(t)
	default:
		t.Kind = KindTensor
		t.Elem = p.dtypeNamed(word, pos)
		t.Shape = p.dims()
	}
}

func (p *textParser) dtype() tensor.DType {
	pos := p.tok.pos
	return p.dtypeNamed(p.ident("an element type"), pos)
}

func (p *textParser) dtypeNamed(word string, pos int) tensor.DType {
	d, ok := tensor.ParseDType(word)
	if !ok && word != tensor.Undefined.String() {
		p.failAt(pos, `expected a type such as "float", found %q`, word)
	}
	return d
}

// opaque reads (), (name) or (domain, name), whose parts may have dots.
func (p *textParser) opaque(t *Type) {
	t.Kind = KindOpaque
	var parts []string
	p.expect("(")
	p.list(")", func() {
		part := p.name("the name of an opaque type")
		for p.accept(".") {
			part += "." + p.name("the name of an opaque type")
		}
		parts = append(parts, part)
	})
	switch len(parts) {
	case 0:
	case 1:
		t.Opaque = parts[0]
	case 2:
		t.OpaqueDomain, t.Opaque = parts[0], parts[1]
	default:
		p.failAt(p.tok.pos, "opaque type has %d parts, want a domain and a name", len(parts))
	}
}

// dims reads the dimensions of a tensor type: none for a scalar, [] for an
// unknown rank.
func (p *textParser) dims() Dims {
	if !p.accept("[") {
		return Dims{}
	}
	if p.accept("]") {
		return nil
	}
	dims := Dims{}
	p.list("]", func() { dims = append(dims, p.dim()) })
	return dims
}

func (p *textParser) dim() Dim {
	d := Unknown()
	switch {
	case p.accept("?"):
	case p.tok.kind == tokInt:
		pos := p.tok.pos
		n := p.integer()
		if d.Size = int(n); int64(d.Size) != n || n < 0 {
			p.failAt(pos, "expected a dimension of 0 or more, found %d", n)
		}
	case p.tok.kind == tokIdent || p.tok.kind == tokString:
		d.Sym = p.advance().text
	default:
		p.expected(`a dimension: a number, a name or "?"`)
	}
	p.notes(entries{"denotation": func() { d.Denotation = p.str() }})
	return d
}

// atFloatName reports whether the next token is the name of a special float.
// One that is followed by what follows the name of a graph is no float, but
// nan(bits) is.
func (p *textParser) atFloatName() bool {
	if p.tok.kind != tokIdent || !isSpecialFloat(p.tok.text) {
		return false
	}
	if p.following().text != "(" {
		return true
	}
	l := p.lex
	l.next() // the parenthesis
	t, err := l.next()
	return err == nil && t.kind == tokInt && strings.EqualFold(p.tok.text, "nan")
}

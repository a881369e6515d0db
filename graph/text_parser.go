package graph

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// Limits on texts from outside.
const (
	maxTextBytes = 1 << 30
	maxTextDepth = 100 // of graphs and types inside each other
)

// textParser reads by recursive descent. An error is raised as a panic with a
// *SyntaxError, which the entry points catch.
type textParser struct {
	lex   lexer
	tok   token // not consumed yet
	depth int
	// free allows graphs to read names that no one makes, as a graph of
	// training_info reads those of the main graph.
	free bool
}

func newTextParser(text string) (*textParser, error) {
	p := &textParser{lex: lexer{text: text}}
	if len(text) > maxTextBytes {
		return nil, p.lex.errorAt(0, "text has %d bytes, want at most %d", len(text), maxTextBytes)
	}
	t, err := p.lex.next()
	if err != nil {
		return nil, err
	}
	p.tok = t
	return p, nil
}

func (p *textParser) catch(err *error) {
	switch e := recover().(type) {
	case nil:
	case *SyntaxError:
		*err = e
	default:
		panic(e)
	}
}

// failAt raises an error about the token or text at an offset.
func (p *textParser) failAt(pos int, format string, args ...any) {
	panic(p.lex.errorAt(pos, format, args...))
}

// expected raises an error that says what should stand in the next token's
// place.
func (p *textParser) expected(what string) {
	p.failAt(p.tok.pos, "expected %s, found %v", what, p.tok)
}

// advance returns the current token and reads the next.
func (p *textParser) advance() token {
	t := p.tok
	next, err := p.lex.next()
	if err != nil {
		panic(err)
	}
	p.tok = next
	return t
}

// following returns the token after the current one.
func (p *textParser) following() token {
	l := p.lex
	t, err := l.next()
	if err != nil {
		return token{}
	}
	return t
}

func (p *textParser) is(punct string) bool { return p.tok.kind == tokPunct && p.tok.text == punct }

func (p *textParser) accept(punct string) bool {
	if !p.is(punct) {
		return false
	}
	p.advance()
	return true
}

func (p *textParser) expect(punct string) {
	if !p.accept(punct) {
		p.expected(strconv.Quote(punct))
	}
}

func (p *textParser) end() {
	if p.tok.kind != tokEnd {
		p.expected("the end of the text")
	}
}

// list reads elements separated by commas up to the closing mark, which is
// consumed; the opening one is already.
func (p *textParser) list(end string, element func()) {
	if p.accept(end) {
		return
	}
	for {
		element()
		if !p.accept(",") {
			break
		}
	}
	if !p.accept(end) {
		p.expected(strconv.Quote(",") + " or " + strconv.Quote(end))
	}
}

// deeper runs read one level further down.
func (p *textParser) deeper(read func()) {
	if p.depth++; p.depth > maxTextDepth {
		p.failAt(p.tok.pos, "nesting is deeper than %d", maxTextDepth)
	}
	read()
	p.depth--
}

func (p *textParser) ident(what string) string {
	if p.tok.kind != tokIdent {
		p.expected(what)
	}
	return p.advance().text
}

// name reads an identifier or a quoted one.
func (p *textParser) name(what string) string {
	if p.tok.kind == tokString {
		return p.advance().text
	}
	return p.ident(what)
}

func (p *textParser) str() string {
	if p.tok.kind != tokString {
		p.expected("a string")
	}
	return p.advance().text
}

func (p *textParser) integer() int64 {
	if p.tok.kind != tokInt {
		p.expected("an integer")
	}
	n, err := strconv.ParseInt(p.tok.text, 10, 64)
	if err != nil {
		p.expected("an integer of 64 bits")
	}
	p.advance()
	return n
}

func (p *textParser) int32() int32 {
	pos := p.tok.pos
	n := p.integer()
	if int64(int32(n)) != n {
		p.failAt(pos, "expected an integer of 32 bits, found %d", n)
	}
	return int32(n)
}

func (p *textParser) hex() []byte {
	pos := p.tok.pos
	b, err := hex.DecodeString(p.str())
	if err != nil {
		p.failAt(pos, "expected pairs of hex digits: %v", err)
	}
	return b
}

func (p *textParser) strs() []string {
	var list []string
	p.expect("[")
	p.list("]", func() { list = append(list, p.str()) })
	return list
}

// props reads ["key": "value", …].
func (p *textParser) props() []Prop {
	var props []Prop
	p.expect("[")
	p.list("]", func() {
		key := p.str()
		p.expect(":")
		props = append(props, Prop{key, p.str()})
	})
	return props
}

// entries says how the value of each key of a <…> or %[…] is read.
type entries map[string]func()

// entry reads key: value.
func (p *textParser) entry(known entries) {
	key := p.tok
	read := known[p.ident("a key")]
	if read == nil {
		p.failAt(key.pos, "key %v is not known here", key)
	}
	p.expect(":")
	read()
}

// notes reads %[key: value, …], if that is next.
func (p *textParser) notes(known entries) {
	if !p.accept("%") {
		return
	}
	p.expect("[")
	p.list("]", func() { p.entry(known) })
}

// header reads <key: value, …>, if that is next.
func (p *textParser) header(known entries) {
	if p.accept("<") {
		p.list(">", func() { p.entry(known) })
	}
}

func (p *textParser) opsets() []Opset {
	var sets []Opset
	p.expect("[")
	p.list("]", func() {
		domain := domainOf(p.str())
		p.expect(":")
		sets = append(sets, Opset{domain, p.integer()})
	})
	return sets
}

// domainOf returns the name by which a domain is known here.
func domainOf(s string) string {
	if s == "ai.onnx" {
		return ""
	}
	return s
}

func (p *textParser) model() *Model {
	m := &Model{}
	p.header(entries{
		"ir_version":            func() { m.IRVersion = p.integer() },
		"opset_import":          func() { m.Opsets = p.opsets() },
		"producer_name":         func() { m.Producer = p.str() },
		"producer_version":      func() { m.ProducerVersion = p.str() },
		"domain":                func() { m.Domain = p.str() },
		"model_version":         func() { m.Version = p.integer() },
		"doc_string":            func() { m.Doc = p.str() },
		"metadata_props":        func() { m.Metadata = p.props() },
		"device_configurations": func() { p.expect("["); p.list("]", func() { m.Devices = append(m.Devices, p.device()) }) },
		"training_info":         func() { p.expect("["); p.list("]", func() { m.Training = append(m.Training, p.training(m)) }) },
		"unknown":               func() { m.Unknown = p.hex() },
	})
	m.Graph = New("")
	m.Graph.Attach(m)
	p.graph(m.Graph, nil)
	for p.tok.kind != tokEnd {
		m.Functions = append(m.Functions, p.function(m))
	}
	return m
}

func (p *textParser) device() DeviceConfig {
	var d DeviceConfig
	p.header(entries{
		"name":        func() { d.Name = p.str() },
		"num_devices": func() { d.Count = p.int32() },
		"devices":     func() { d.Devices = p.strs() },
		"unknown":     func() { d.Unknown = p.hex() },
	})
	return d
}

func (p *textParser) training(m *Model) *Training {
	t := &Training{}
	p.free = true
	read := func(into **Graph) {
		*into = New("")
		(*into).Attach(m)
		p.graph(*into, nil)
	}
	p.header(entries{
		"initialization":         func() { read(&t.Init) },
		"algorithm":              func() { read(&t.Algorithm) },
		"initialization_binding": func() { t.InitBinding = p.props() },
		"update_binding":         func() { t.UpdateBinding = p.props() },
		"unknown":                func() { t.Unknown = p.hex() },
	})
	p.free = false
	return t
}

// function reads a function of m, which may be nil.
func (p *textParser) function(m *Model) *Function {
	f := &Function{}
	p.header(entries{
		"domain":         func() { f.Domain = domainOf(p.str()) },
		"overload":       func() { f.Overload = p.str() },
		"opset_import":   func() { f.Opsets = p.opsets() },
		"doc_string":     func() { f.Doc = p.str() },
		"metadata_props": func() { f.Metadata = p.props() },
		"unknown":        func() { f.Unknown = p.hex() },
	})
	f.Name = p.name("the name of a function")
	if p.accept("<") {
		p.list(">", func() { p.parameter(f) })
	}
	f.Body = New(f.Name)
	f.Body.AttachFunction(m, f)
	p.body(&scope{g: f.Body})
	return f
}

// parameter reads an attribute of a function, with or without a default.
func (p *textParser) parameter(f *Function) {
	if next := p.following(); next.text == ":" || next.text == "=" {
		f.Defaults = append(f.Defaults, p.attr(nil, nil))
		return
	}
	f.Attrs = append(f.Attrs, p.name("an attribute"))
}

// scope is a graph while it is read.
type scope struct {
	g       *Graph
	outer   *scope
	reads   []textRead
	infos   []textValue // stated of values that are made later
	outputs []textValue
}

// textRead is an input of a node whose name is resolved when its graph ends.
type textRead struct {
	node  *Node
	index int
	name  string
	pos   int
}

// textValue is what a value_info, input or output entry states.
type textValue struct {
	Value
	pos int
}

// graph reads a graph into g, which is empty and knows what it belongs to.
func (p *textParser) graph(g *Graph, outer *scope) {
	p.deeper(func() {
		g.Name = p.name("the name of a graph")
		p.body(&scope{g: g, outer: outer})
		p.notes(entries{
			"doc_string":              func() { g.Doc = p.str() },
			"metadata_props":          func() { g.Metadata = p.props() },
			"quantization_annotation": func() { g.Quantization = p.quantization() },
			"unknown":                 func() { g.Unknown = p.hex() },
		})
	})
}

func (p *textParser) quantization() []QuantAnnotation {
	var list []QuantAnnotation
	p.expect("[")
	p.list("]", func() {
		q := QuantAnnotation{Value: p.str()}
		p.expect(":")
		q.Params = p.props()
		p.notes(entries{"unknown": func() { q.Unknown = p.hex() }})
		list = append(list, q)
	})
	return list
}

// body reads a graph or function from its inputs on.
func (p *textParser) body(s *scope) {
	if p.accept("(") {
		p.list(")", func() { p.input(s) })
	}
	if arrow := p.tok; !p.accept("=") || p.tok.pos != arrow.pos+1 || !p.accept(">") {
		p.failAt(arrow.pos, `expected "=>", found %v`, arrow)
	}
	p.expect("(")
	p.list(")", func() { s.outputs = append(s.outputs, p.value("an output")) })
	if p.accept("<") {
		p.list(">", func() { p.info(s) })
	}
	p.expect("{")
	for !p.accept("}") {
		p.node(s)
	}
	p.resolve(s)
}

// value reads a name with an optional type in front and notes behind.
func (p *textParser) value(what string) textValue {
	var v textValue
	if p.atType() {
		v.Type = p.typ()
	}
	v.pos = p.tok.pos
	v.name = p.name("the name of " + what)
	p.notes(p.valueNotes(&v.Value))
	return v
}

func (p *textParser) valueNotes(v *Value) entries {
	return entries{
		"doc_string":     func() { v.Doc = p.str() },
		"metadata_props": func() { v.Metadata = p.props() },
		"unknown":        func() { v.Unknown = p.hex() },
	}
}

func (p *textParser) input(s *scope) {
	v := p.value("an input")
	if s.g.values[v.name] != nil || v.name == "" {
		p.failAt(v.pos, "input %q is given twice, or has no name", v.name)
	}
	s.g.AddInput(v.name, v.Type).describe(&v.Value)
	if p.accept("=") {
		p.initializer(s, &v)
	}
}

// info reads an entry of <…> before the nodes: an initializer, or what is
// stated of another value.
func (p *textParser) info(s *scope) {
	v := p.value("a value")
	if p.accept("=") {
		p.initializer(s, &v)
		return
	}
	s.infos = append(s.infos, v)
}

func (p *textParser) initializer(s *scope, v *textValue) {
	l := p.literal(v.Type, v.pos)
	to := s.g.values[v.name]
	switch {
	case v.name == "":
		p.failAt(v.pos, "initializer has no name")
	case to == nil:
		to = s.g.Define(v.name)
	case to.Init != nil:
		p.failAt(v.pos, "initializer %q is given twice", v.name)
	}
	s.g.SetInit(to, l)
}

// describe takes over what is stated of another value.
func (v *Value) describe(w *Value) {
	if w.Type != nil {
		v.Type, v.Inferred = w.Type, false
	}
	if w.Doc != "" || w.Metadata != nil || w.Unknown != nil {
		v.Doc, v.Metadata, v.Unknown = w.Doc, w.Metadata, w.Unknown
	}
}

// resolve connects the readers in s to the values that names mean, and
// states what the text says of values. Reads of names that s does not make
// are left to the graph around it.
func (p *textParser) resolve(s *scope) {
	for _, r := range s.reads {
		switch v := s.g.values[r.name]; {
		case v != nil:
			r.node.SetIn(r.index, v)
		case s.outer != nil:
			s.outer.reads = append(s.outer.reads, r)
		default:
			r.node.SetIn(r.index, p.unmade(r.node.graph, r.name, r.pos))
		}
	}
	for i := range s.outputs {
		o := &s.outputs[i]
		v := s.g.Lookup(o.name)
		if v == nil {
			v = p.unmade(s.g, o.name, o.pos)
		}
		if v.graph == s.g {
			v.describe(&o.Value)
		}
		s.g.AddOutput(v)
	}
	for i := range s.infos {
		info := &s.infos[i]
		v := s.g.values[info.name]
		if v == nil {
			p.failAt(info.pos, "value %q is described, but its graph does not make it", info.name)
		}
		v.describe(&info.Value)
	}
}

// unmade returns the value of g for a name that nothing makes, if the text
// may hold one.
func (p *textParser) unmade(g *Graph, name string, pos int) *Value {
	if !p.free {
		p.failAt(pos, "nothing makes value %q", name)
	}
	if v := g.values[name]; v != nil {
		return v
	}
	return g.Define(name)
}

func (p *textParser) node(s *scope) {
	n := &Node{}
	if p.accept("[") {
		if !p.is("]") {
			n.Name = p.name("the name of a node")
		}
		p.expect("]")
	}
	s.g.Append(n)
	p.names(func(name string, pos int) { p.result(n, name, pos) })
	p.expect("=")
	p.operator(n)
	if p.accept("<") {
		p.list(">", func() { p.attr(n, s) })
	}
	p.expect("(")
	p.names(func(name string, pos int) {
		if name != "" {
			s.reads = append(s.reads, textRead{n, n.NumIn(), name, pos})
		}
		n.AddIn(nil)
	})
	p.expect(")")
	if len(n.attrs) == 0 && p.accept("<") {
		p.list(">", func() { p.attr(n, s) })
	}
	p.notes(entries{
		"doc_string":            func() { n.Doc = p.str() },
		"metadata_props":        func() { n.Metadata = p.props() },
		"device_configurations": func() { p.expect("["); p.list("]", func() { n.Devices = append(n.Devices, p.hex()) }) },
		"unknown":               func() { n.Unknown = p.hex() },
	})
}

// names reads a list of names that may be empty, of which an empty one stands
// for what is omitted. As in the official form, nothing in front of a comma
// is an empty name, and a comma at the end means nothing.
func (p *textParser) names(each func(name string, pos int)) {
	for {
		pos := p.tok.pos
		switch {
		case p.tok.kind == tokIdent || p.tok.kind == tokString:
			each(p.advance().text, pos)
		case p.is(","):
			each("", pos)
		default:
			return
		}
		if !p.accept(",") {
			return
		}
	}
}

func (p *textParser) result(n *Node, name string, pos int) {
	if name == "" {
		n.Bind(nil)
		return
	}
	v := n.graph.values[name]
	if v != nil {
		p.failAt(pos, "value %q is made twice", name)
	}
	n.Bind(n.graph.Define(name))
}

// operator reads domain.Op:overload, where the domain may have dots in it.
func (p *textParser) operator(n *Node) {
	parts := []string{p.name("an operator")}
	for p.accept(".") {
		parts = append(parts, p.name("an operator after its domain"))
	}
	last := len(parts) - 1
	n.Domain, n.Op = domainOf(strings.Join(parts[:last], ".")), parts[last]
	if p.accept(":") {
		n.Overload = p.name("an overload")
	}
}

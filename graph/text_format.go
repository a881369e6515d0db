package graph

import (
	"bufio"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// textPrinter writes the text form. Errors are kept by the writer.
type textPrinter struct {
	TextOptions
	w     *bufio.Writer
	depth int // of the graph that is written
}

func (p *textPrinter) str(parts ...string) {
	for _, s := range parts {
		p.w.WriteString(s)
	}
}

func (p *textPrinter) indent(extra int) {
	for range p.depth + extra {
		p.str("   ")
	}
}

func (p *textPrinter) int(n int64) { p.w.Write(strconv.AppendInt(p.w.AvailableBuffer(), n, 10)) }

func (p *textPrinter) quoted(s string) {
	p.w.WriteByte('"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			break
		}
		p.str(s[:i], `\`, s[i:i+1])
		s = s[i+1:]
	}
	p.str(s, `"`)
}

// id writes a name, in quotes where it would be read as something else.
func (p *textPrinter) id(s string) {
	if isIdent(s) && !isTypeWord(s) {
		p.str(s)
		return
	}
	p.quoted(s)
}

// word is id where no type may stand.
func (p *textPrinter) word(s string) {
	if isIdent(s) {
		p.str(s)
		return
	}
	p.quoted(s)
}

// qualified writes a name that may have dots in it.
func (p *textPrinter) qualified(s string) {
	for part := range strings.SplitSeq(s, ".") {
		if !isIdent(part) {
			p.quoted(s)
			return
		}
	}
	p.str(s)
}

func isIdent(s string) bool {
	return s != "" && isLetter(s[0]) && strings.IndexFunc(s, func(r rune) bool { return r > 127 || !isIdentByte(byte(r)) }) < 0
}

// join writes the elements of a list between commas.
func join[T any](p *textPrinter, sep string, list []T, print func(T)) {
	for i, x := range list {
		if i > 0 {
			p.str(sep)
		}
		print(x)
	}
}

func (p *textPrinter) strs(list []string) {
	p.str("[")
	join(p, ", ", list, p.quoted)
	p.str("]")
}

func (p *textPrinter) props(props []Prop) {
	p.str("[")
	join(p, ", ", props, func(x Prop) {
		p.quoted(x.Key)
		p.str(": ")
		p.quoted(x.Value)
	})
	p.str("]")
}

func (p *textPrinter) hex(b []byte) { p.str(`"`, hex.EncodeToString(b), `"`) }

func (p *textPrinter) opsets(sets []Opset) {
	p.str("[")
	join(p, ", ", sets, func(s Opset) {
		p.quoted(s.Domain)
		p.str(": ")
		p.int(s.Version)
	})
	p.str("]")
}

// note is one key of a <…> or %[…], which is written if it is set.
type note struct {
	key   string
	set   bool
	print func()
}

func (p *textPrinter) text(key, s string) note {
	return note{key, s != "", func() { p.quoted(s) }}
}

func (p *textPrinter) propNote(key string, props []Prop) note {
	return note{key, len(props) > 0, func() { p.props(props) }}
}

func (p *textPrinter) unknown(b []byte) note {
	return note{"unknown", len(b) > 0, func() { p.hex(b) }}
}

// entries writes the notes that are set.
func (p *textPrinter) entries(sep string, notes []note) {
	set := slices.DeleteFunc(notes, func(n note) bool { return !n.set })
	join(p, sep, set, func(n note) {
		p.str(n.key, ": ")
		n.print()
	})
}

// notes writes %[…] with a space in front, if a note is set or it is forced:
// where notes of something around follow.
func (p *textPrinter) notes(force bool, notes ...note) {
	if !force && !slices.ContainsFunc(notes, func(n note) bool { return n.set }) {
		return
	}
	p.str(" %[")
	p.entries(", ", notes)
	p.str("]")
}

func (p *textPrinter) model(m *Model) {
	p.str("<\n   ")
	p.entries(",\n   ", []note{
		{"ir_version", true, func() { p.int(m.IRVersion) }},
		{"opset_import", true, func() { p.opsets(m.Opsets) }},
		p.text("producer_name", m.Producer),
		p.text("producer_version", m.ProducerVersion),
		p.text("domain", m.Domain),
		{"model_version", m.Version != 0, func() { p.int(m.Version) }},
		p.text("doc_string", m.Doc),
		p.propNote("metadata_props", m.Metadata),
		{"device_configurations", len(m.Devices) > 0, func() { p.devices(m.Devices) }},
		{"training_info", len(m.Training) > 0, func() { p.trainings(m.Training) }},
		p.unknown(m.Unknown),
	})
	p.str("\n>\n")
	p.graph(m.Graph, false)
	p.str("\n")
	for _, f := range m.Functions {
		p.str("\n")
		p.function(f)
	}
}

func (p *textPrinter) devices(list []DeviceConfig) {
	p.str("[")
	join(p, ", ", list, func(d DeviceConfig) {
		p.str("<")
		p.entries(", ", []note{
			{"name", true, func() { p.quoted(d.Name) }},
			{"num_devices", d.Count != 0, func() { p.int(int64(d.Count)) }},
			{"devices", len(d.Devices) > 0, func() { p.strs(d.Devices) }},
			p.unknown(d.Unknown),
		})
		p.str(">")
	})
	p.str("]")
}

func (p *textPrinter) trainings(list []*Training) {
	p.depth++
	p.str("[")
	join(p, ", ", list, func(t *Training) {
		p.str("<")
		p.entries(",\n   ", []note{
			{"initialization", t.Init != nil, func() { p.graph(t.Init, false) }},
			{"algorithm", t.Algorithm != nil, func() { p.graph(t.Algorithm, false) }},
			p.propNote("initialization_binding", t.InitBinding),
			p.propNote("update_binding", t.UpdateBinding),
			p.unknown(t.Unknown),
		})
		p.str(">")
	})
	p.str("]")
	p.depth--
}

func (p *textPrinter) function(f *Function) {
	p.str("<\n   ")
	p.entries(",\n   ", []note{
		{"domain", true, func() { p.quoted(f.Domain) }},
		p.text("overload", f.Overload),
		{"opset_import", true, func() { p.opsets(f.Opsets) }},
		p.text("doc_string", f.Doc),
		p.propNote("metadata_props", f.Metadata),
		p.unknown(f.Unknown),
	})
	p.str("\n>\n")
	p.id(f.Name)
	p.str(" ")
	if len(f.Attrs)+len(f.Defaults) > 0 {
		p.str("<")
		join(p, ", ", f.Attrs, p.id)
		if len(f.Attrs) > 0 && len(f.Defaults) > 0 {
			p.str(", ")
		}
		join(p, ", ", f.Defaults, p.attr)
		p.str("> ")
	}
	p.body(f.Body)
	p.str("\n")
}

// graph writes a graph; force asks for notes even if there are none.
func (p *textPrinter) graph(g *Graph, force bool) {
	p.id(g.Name)
	p.str(" ")
	p.body(g)
	p.notes(force,
		p.text("doc_string", g.Doc),
		p.propNote("metadata_props", g.Metadata),
		note{"quantization_annotation", len(g.Quantization) > 0, func() { p.quantization(g.Quantization) }},
		p.unknown(g.Unknown),
	)
}

func (p *textPrinter) quantization(list []QuantAnnotation) {
	p.str("[")
	join(p, ", ", list, func(q QuantAnnotation) {
		p.quoted(q.Value)
		p.str(": ")
		p.props(q.Params)
		p.notes(false, p.unknown(q.Unknown))
	})
	p.str("]")
}

func (p *textPrinter) body(g *Graph) {
	p.str("(")
	join(p, ", ", g.inputs, func(v *Value) { p.value(v, true) })
	p.str(") => (")
	join(p, ", ", g.outputs, func(v *Value) { p.value(v, v.graph == g && !v.input) })
	p.str(")")
	p.infos(g)
	p.str(" {\n")
	for n := g.first; n != nil; n = n.next {
		p.indent(1)
		p.node(n)
		p.str("\n")
	}
	p.indent(0)
	p.str("}")
}

// value writes a name with its type; notes are left out where it is not the
// place that describes the value.
func (p *textPrinter) value(v *Value, notes bool) {
	if t := p.shownType(v); t != nil {
		p.typ(t, false)
		p.str(" ")
	}
	p.id(v.name)
	if notes {
		p.notes(false, p.valueNotes(v)...)
	}
}

func (p *textPrinter) valueNotes(v *Value) []note {
	return []note{p.text("doc_string", v.Doc), p.propNote("metadata_props", v.Metadata), p.unknown(v.Unknown)}
}

func (p *textPrinter) shownType(v *Value) *Type {
	if p.Inferred {
		return v.Type
	}
	return v.stated()
}

// infos writes the initializers and what is stated of values that are neither
// inputs nor outputs.
func (p *textPrinter) infos(g *Graph) {
	described := g.described(p)
	if len(g.inits)+len(described) == 0 {
		return
	}
	p.str("\n")
	p.indent(1)
	p.str("<")
	sep := ""
	next := func() {
		p.str(sep)
		sep = ",\n" + strings.Repeat("   ", p.depth+1) + " "
	}
	for _, v := range g.inits {
		next()
		p.literal(v.Init, v.name, false)
	}
	for _, v := range described {
		next()
		p.value(v, true)
	}
	p.str(">")
}

// described returns the values that need an entry of their own, in the order
// in which they are made.
func (g *Graph) described(p *textPrinter) []*Value {
	var list []*Value
	add := func(v *Value) {
		if v == nil || v.input || slices.Contains(v.givers, g) {
			return
		}
		if p.shownType(v) != nil || slices.ContainsFunc(p.valueNotes(v), func(n note) bool { return n.set }) {
			list = append(list, v)
		}
	}
	for _, v := range g.inits {
		if !v.Inferred {
			add(v)
		}
	}
	for n := g.first; n != nil; n = n.next {
		for _, v := range n.out {
			add(v)
		}
	}
	return list
}

func (p *textPrinter) node(n *Node) {
	if n.Name != "" {
		p.str("[")
		p.id(n.Name)
		p.str("] ")
	}
	p.operands(n.out)
	if len(n.out) > 0 {
		p.str(" ")
	}
	p.str("= ")
	p.operator(n)
	late := slices.ContainsFunc(n.attrs, func(a *Attr) bool { return len(a.Graphs) > 0 })
	if !late {
		p.attrs(n.attrs)
	}
	p.str(" (")
	p.operands(n.in)
	p.str(")")
	if late {
		p.attrs(n.attrs)
	}
	p.notes(false,
		p.text("doc_string", n.Doc),
		p.propNote("metadata_props", n.Metadata),
		note{"device_configurations", len(n.Devices) > 0, func() {
			p.str("[")
			join(p, ", ", n.Devices, p.hex)
			p.str("]")
		}},
		p.unknown(n.Unknown),
	)
}

func (p *textPrinter) operands(vs []*Value) {
	join(p, ", ", vs, func(v *Value) {
		if v == nil {
			p.str(`""`)
			return
		}
		p.id(v.name)
	})
}

func (p *textPrinter) operator(n *Node) {
	if n.Domain != "" {
		p.qualified(n.Domain)
		p.str(".")
	}
	p.word(n.Op)
	if n.Overload != "" {
		p.str(":")
		p.id(n.Overload)
	}
}

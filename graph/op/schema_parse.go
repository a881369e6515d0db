package op

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// The files of schema/ are named after domains. A line is a set of types that
// others refer to, or an operator from one version on:
//
//	#1 = float double
//	Conv@11 (X: T, W: T, B?: T) -> (Y: T) { group: int = 1, pads: ints } where T: #1
//
// A formal ends in ? if it is optional, in *n if it is variadic with at least
// n operands, in **n if those may differ in type; an attribute in ! if it is
// required. A type is an element type, which stands for tensors, or
// seq(…), optional(…), map(key,value) or sparse(…).
//
//go:embed schema/*.txt
var schemaFiles embed.FS

// schemas holds the schemas of every operator, in order of their version.
var schemas = sync.OnceValue(func() map[opName][]*Schema {
	all := map[opName][]*Schema{}
	files, err := schemaFiles.ReadDir("schema")
	if err != nil {
		panic("op: " + err.Error())
	}
	for _, f := range files {
		data, err := schemaFiles.ReadFile("schema/" + f.Name())
		if err != nil {
			panic("op: " + err.Error())
		}
		p := schemaParser{domain: strings.TrimSuffix(f.Name(), ".txt"), sets: map[string][]*graph.Type{}}
		if p.domain == "ai.onnx" {
			p.domain = ""
		}
		for i, line := range strings.Split(string(data), "\n") {
			s, err := p.line(line)
			if err != nil {
				panic(fmt.Sprintf("op: %s:%d: %v", f.Name(), i+1, err))
			}
			if s != nil {
				k := opName{s.Domain, s.Name}
				all[k] = append(all[k], s)
			}
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b *Schema) int { return int(a.Since - b.Since) })
	}
	return all
})

type schemaParser struct {
	domain string
	sets   map[string][]*graph.Type
	vars   map[string][]*graph.Type // of the operator being read
	rest   string
}

func (p *schemaParser) line(line string) (*Schema, error) {
	if line == "" {
		return nil, nil
	}
	if name, list, ok := strings.Cut(line, " = "); ok && name[0] == '#' {
		types, err := p.types(list)
		p.sets[name] = types
		return nil, err
	}
	head, where, _ := strings.Cut(line, " where ")
	if err := p.where(where); err != nil {
		return nil, err
	}
	p.rest = head
	return p.operator()
}

func (p *schemaParser) types(list string) ([]*graph.Type, error) {
	var all []*graph.Type
	for _, name := range strings.Fields(list) {
		if name[0] == '#' {
			all = append(all, p.sets[name]...)
			continue
		}
		t, err := parseSchemaType(name)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func parseSchemaType(s string) (*graph.Type, error) {
	if d, ok := tensor.ParseDType(s); ok {
		return graph.TensorOf(d, nil), nil
	}
	outer, inner, ok := strings.Cut(s, "(")
	if !ok || !strings.HasSuffix(inner, ")") {
		return nil, fmt.Errorf("%q is no type", s)
	}
	inner = inner[:len(inner)-1]
	key := tensor.Undefined
	if outer == "map" {
		var k string
		k, inner, _ = strings.Cut(inner, ",")
		key, _ = tensor.ParseDType(k)
	}
	item, err := parseSchemaType(inner)
	if err != nil {
		return nil, err
	}
	switch outer {
	case "seq":
		return graph.SequenceOf(item), nil
	case "optional":
		return graph.OptionalOf(item), nil
	case "sparse":
		return &graph.Type{Kind: graph.KindSparse, Elem: item.Elem}, nil
	case "map":
		return &graph.Type{Kind: graph.KindMap, Elem: key, Item: item}, nil
	}
	return nil, fmt.Errorf("%q is no type", s)
}

// where reads "T: #1, U: int64 string".
func (p *schemaParser) where(s string) error {
	p.vars = map[string][]*graph.Type{}
	if s == "" {
		return nil
	}
	for _, part := range strings.Split(s, ", ") {
		name, list, _ := strings.Cut(part, ":")
		types, err := p.types(list)
		if err != nil {
			return err
		}
		p.vars[name] = types
	}
	return nil
}

// operator reads "Name@version [deprecated] (in) -> (out) [{ attrs }]".
func (p *schemaParser) operator() (*Schema, error) {
	name, rest, _ := strings.Cut(p.rest, "@")
	since, rest, _ := strings.Cut(rest, " ")
	s := &Schema{Domain: p.domain, Name: name}
	var err error
	if s.Since, err = strconv.ParseInt(since, 10, 64); err != nil {
		return nil, fmt.Errorf("operator %q has no version", name)
	}
	rest, s.Deprecated = strings.CutPrefix(rest, "deprecated ")
	in, rest, _ := strings.Cut(rest, ") -> (")
	out, rest, _ := strings.Cut(rest, ")")
	if s.In, err = p.formals(strings.TrimPrefix(in, "(")); err != nil {
		return nil, err
	}
	if strings.Count(out, "(") > 0 {
		return nil, fmt.Errorf("operator %q: result types are to be variables", name)
	}
	if s.Out, err = p.formals(out); err != nil {
		return nil, err
	}
	attrs := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(rest), "{ "), " }")
	s.Attrs, err = p.attrs(attrs)
	return s, err
}

func (p *schemaParser) formals(s string) ([]Formal, error) {
	if s == "" {
		return nil, nil
	}
	var list []Formal
	for _, part := range strings.Split(s, ", ") {
		name, v, ok := strings.Cut(part, ": ")
		if !ok {
			return nil, fmt.Errorf("formal %q has no type", part)
		}
		f := Formal{Var: v}
		if name, ok = strings.CutSuffix(name, "?"); ok {
			f.Optional = true
		}
		if base, n, ok := strings.Cut(name, "*"); ok {
			name, f.Variadic = base, true
			n, f.Mixed = strings.CutPrefix(n, "*")
			f.Min, _ = strconv.Atoi(n)
		}
		f.Name = name
		if f.Types, ok = p.vars[v]; !ok {
			t, err := parseSchemaType(v)
			if err != nil {
				return nil, err
			}
			f.Types = []*graph.Type{t}
		}
		list = append(list, f)
	}
	return list, nil
}

var attrKinds = map[string]graph.AttrKind{
	"float": graph.AttrFloat, "int": graph.AttrInt, "string": graph.AttrString, "tensor": graph.AttrTensor,
	"graph": graph.AttrGraph, "floats": graph.AttrFloats, "ints": graph.AttrInts, "strings": graph.AttrStrings,
	"tensors": graph.AttrTensors, "graphs": graph.AttrGraphs, "sparse_tensor": graph.AttrSparse, "type": graph.AttrType,
}

func (p *schemaParser) attrs(s string) ([]AttrSpec, error) {
	var list []AttrSpec
	for s != "" {
		part, rest := cutAttr(s)
		s = rest
		name, tail, ok := strings.Cut(part, ": ")
		if !ok {
			return nil, fmt.Errorf("attribute %q has no kind", part)
		}
		a := AttrSpec{}
		a.Name, a.Required = strings.CutSuffix(name, "!")
		kind, value, given := strings.Cut(tail, " = ")
		if a.Kind, ok = attrKinds[kind]; !ok {
			return nil, fmt.Errorf("attribute %q has kind %q", name, kind)
		}
		if given {
			var err error
			if a.Default, err = parseDefault(a.Name, a.Kind, value); err != nil {
				return nil, err
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// cutAttr cuts s at the first ", " outside quotes and brackets.
func cutAttr(s string) (part, rest string) {
	quoted, depth := false, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			quoted = !quoted
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if !quoted && depth == 0 {
				return s[:i], strings.TrimPrefix(s[i+1:], " ")
			}
		}
	}
	return s, ""
}

func parseDefault(name string, kind graph.AttrKind, s string) (*graph.Attr, error) {
	a := &graph.Attr{Name: name, Kind: kind}
	items := []string{s}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		items = strings.FieldsFunc(strings.TrimSuffix(inner, "]"), func(r rune) bool { return r == ',' })
	}
	for _, item := range items {
		var err error
		switch kind {
		case graph.AttrFloat, graph.AttrFloats:
			var x float64
			x, err = strconv.ParseFloat(item, 32)
			a.Floats = append(a.Floats, float32(x))
		case graph.AttrInt, graph.AttrInts:
			var x int64
			x, err = strconv.ParseInt(item, 10, 64)
			a.Ints = append(a.Ints, x)
		case graph.AttrString, graph.AttrStrings:
			var x string
			x, err = strconv.Unquote(item)
			a.Strings = append(a.Strings, x)
		default:
			err = fmt.Errorf("no default can be written")
		}
		if err != nil {
			return nil, fmt.Errorf("attribute %q, default %q: %w", name, s, err)
		}
	}
	return a, nil
}

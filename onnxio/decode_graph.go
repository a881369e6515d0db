package onnxio

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
)

// graphFields are the parts of a GraphProto, or of a function's body, in the
// order of the file.
type graphFields struct {
	inputs, outputs []valueInfo
	infos           []valueInfo
	inits, sparse   [][]byte
	nodes           [][]byte
}

// valueInfo is a ValueInfoProto.
type valueInfo struct {
	name     string
	typ      *graph.Type
	doc      string
	metadata []graph.Prop
	unknown  []byte
	wire     []byte
}

func (d *decoder) valueInfo(b []byte) (valueInfo, error) {
	v := valueInfo{wire: b}
	if err := d.count(); err != nil {
		return v, err
	}
	var typ []byte
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return v, fmt.Errorf("value %q: %w", v.name, err)
		case f.isBytes(valueName):
			v.name = f.text()
		case f.isBytes(valueType):
			typ = join(typ, f.val)
		case f.isBytes(valueDoc):
			v.doc = f.text()
		case f.isBytes(valueMetadata):
			v.metadata, err = appendProp(v.metadata, f.val)
		default:
			v.unknown = append(v.unknown, f.raw...)
		}
		if err != nil {
			return v, fmt.Errorf("value %q: %w", v.name, err)
		}
	}
	if typ != nil {
		var err error
		if v.typ, err = d.typeProto(typ); err != nil {
			return v, fmt.Errorf("value %q: type: %w", v.name, err)
		}
	}
	return v, nil
}

func (p *graphFields) addValueInfo(d *decoder, b []byte) error {
	v, err := d.valueInfo(b)
	p.infos = append(p.infos, v)
	return err
}

// addNode counts nodes when they are seen, before anything is built.
func (p *graphFields) addNode(d *decoder, b []byte) error {
	p.nodes = append(p.nodes, b)
	return d.count()
}

// graph reads a GraphProto into the empty graph g, which is already attached
// to what holds it.
func (d *decoder) graph(g *graph.Graph, b []byte) error {
	return d.within(func() error {
		p, err := d.graphFields(g, b)
		if err == nil {
			err = d.build(g, p)
		}
		if err != nil {
			return fmt.Errorf("graph %q: %w", g.Name, err)
		}
		return nil
	})
}

func (d *decoder) graphFields(g *graph.Graph, b []byte) (*graphFields, error) {
	g.Wire = b
	p := &graphFields{}
	for f, err := range fields(b) {
		if err != nil {
			return nil, err
		}
		var v valueInfo
		switch {
		case f.isBytes(graphNode):
			err = p.addNode(d, f.val)
		case f.isBytes(graphName):
			g.Name = f.text()
		case f.isBytes(graphInit):
			p.inits = append(p.inits, f.val)
		case f.isBytes(graphSparseInit):
			p.sparse = append(p.sparse, f.val)
		case f.isBytes(graphDoc):
			g.Doc = f.text()
		case f.isBytes(graphInput):
			v, err = d.valueInfo(f.val)
			p.inputs = append(p.inputs, v)
		case f.isBytes(graphOutput):
			v, err = d.valueInfo(f.val)
			p.outputs = append(p.outputs, v)
		case f.isBytes(graphValueInfo):
			err = p.addValueInfo(d, f.val)
		case f.isBytes(graphQuantization):
			g.Quantization, err = appendQuant(g.Quantization, f.val)
		case f.isBytes(graphMetadata):
			g.Metadata, err = appendProp(g.Metadata, f.val)
		default:
			g.Unknown = append(g.Unknown, f.raw...)
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

func appendQuant(list []graph.QuantAnnotation, b []byte) ([]graph.QuantAnnotation, error) {
	var q graph.QuantAnnotation
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("quantization annotation: %w", err)
		case f.isBytes(quantValue):
			q.Value = f.text()
		case f.isBytes(quantParams):
			if q.Params, err = appendProp(q.Params, f.val); err != nil {
				return nil, fmt.Errorf("quantization annotation of %q: %w", q.Value, err)
			}
		default:
			q.Unknown = append(q.Unknown, f.raw...)
		}
	}
	return append(list, q), nil
}

// build fills g. Every name that g makes is entered before any subgraph is
// read, so that readers, which may stand before the maker in a file, find the
// value that the name means in their scope.
func (d *decoder) build(g *graph.Graph, p *graphFields) error {
	for i := range p.inputs {
		v := &p.inputs[i]
		if g.Value(v.name) != nil {
			return fmt.Errorf("input %q is given twice", v.name)
		}
		v.describe(g.AddInput(v.name, v.typ))
	}
	if err := d.inits(g, p); err != nil {
		return err
	}
	nodes := make([]*nodeFields, len(p.nodes))
	for i, w := range p.nodes {
		n, err := d.nodeFields(w)
		if err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		if err := d.define(g, n); err != nil {
			return err
		}
		nodes[i] = n
	}
	for _, n := range nodes {
		if err := d.bind(g, n); err != nil {
			return fmt.Errorf("%v: %w", n.node, err)
		}
	}
	d.describe(g, p)
	return nil
}

func (d *decoder) inits(g *graph.Graph, p *graphFields) error {
	for i, w := range p.inits {
		l, err := d.literal(w)
		if err != nil {
			return fmt.Errorf("initializer %d: %w", i, err)
		}
		if err := setInit(g, l); err != nil {
			return err
		}
	}
	for i, w := range p.sparse {
		l, err := d.sparseLiteral(w)
		if err != nil {
			return fmt.Errorf("sparse initializer %d: %w", i, err)
		}
		if err := setInit(g, l); err != nil {
			return err
		}
	}
	return nil
}

func setInit(g *graph.Graph, l *graph.Literal) error {
	v := g.Value(l.Name)
	if v == nil {
		v = g.Define(l.Name)
	}
	if v.Init != nil {
		return fmt.Errorf("initializer %q is given twice", l.Name)
	}
	l.Name = ""
	g.SetInit(v, l)
	return nil
}

// describe enters the outputs of g, and what value_info and outputs say of
// values that g makes.
func (d *decoder) describe(g *graph.Graph, p *graphFields) {
	for i := range p.infos {
		p.infos[i].describeMade(g, g.Value(p.infos[i].name))
	}
	for i := range p.outputs {
		v := d.resolve(g, p.outputs[i].name)
		if p.outputs[i].wire != nil { // a function gives only names
			p.outputs[i].describeMade(g, v)
		}
		g.AddOutput(v)
	}
}

// describeMade is describe for a value that a node of g or an initializer
// makes; others are described elsewhere or not at all.
func (i *valueInfo) describeMade(g *graph.Graph, v *graph.Value) {
	inFunction := g.Function() != nil
	if v != nil && v.Graph() == g && (v.Producer() != nil || v.IsConst() || inFunction && v.IsInput()) {
		i.describe(v)
	}
}

func (i *valueInfo) describe(v *graph.Value) {
	if i.typ != nil {
		v.Type, v.Inferred = i.typ, false
	}
	v.Doc, v.Metadata, v.Unknown, v.Wire = i.doc, i.metadata, i.unknown, i.wire
}

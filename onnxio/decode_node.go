package onnxio

import (
	"errors"
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
)

// nodeFields is a NodeProto whose names are not yet bound to values.
type nodeFields struct {
	node            *graph.Node
	inputs, outputs []string
	attrs           [][]byte
}

func (d *decoder) nodeFields(b []byte) (*nodeFields, error) {
	n := &graph.Node{Wire: b}
	p := &nodeFields{node: n}
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return nil, err
		case f.isBytes(nodeInput):
			p.inputs = append(p.inputs, f.text())
		case f.isBytes(nodeOutput):
			p.outputs = append(p.outputs, f.text())
		case f.isBytes(nodeName):
			n.Name = f.text()
		case f.isBytes(nodeOp):
			n.Op = f.text()
		case f.isBytes(nodeDomain):
			n.Domain = opsetDomainOf(f.text())
		case f.isBytes(nodeOverload):
			n.Overload = f.text()
		case f.isBytes(nodeAttr):
			p.attrs = append(p.attrs, f.val)
		case f.isBytes(nodeDoc):
			n.Doc = f.text()
		case f.isBytes(nodeMetadata):
			if n.Metadata, err = appendProp(n.Metadata, f.val); err != nil {
				return nil, err
			}
		case f.isBytes(nodeDevices):
			n.Devices = append(n.Devices, f.val)
		default:
			n.Unknown = append(n.Unknown, f.raw...)
		}
	}
	if len(p.attrs) > maxAttrs {
		return nil, fmt.Errorf("%v has %d attributes, want at most %d", n, len(p.attrs), maxAttrs)
	}
	return p, nil
}

// define places the node in g and makes its results.
//
// Some exporters make one name twice, and runtimes take the last maker before
// a reader. The value of the last maker keeps the name; the others get fresh
// ones, and renamed remembers which of them the name means at the moment.
func (d *decoder) define(g *graph.Graph, p *nodeFields) error {
	g.Append(p.node)
	for _, name := range p.outputs {
		if name == "" {
			p.node.Bind(nil)
			continue
		}
		if old := g.Value(name); old != nil {
			if old.Producer() == nil {
				return fmt.Errorf("%v: result %q is an input or initializer of the graph too", p.node, name)
			}
			if err := d.rename(g, name, old); err != nil {
				return fmt.Errorf("%v: %w", p.node, err)
			}
		}
		p.node.Bind(g.Define(name))
	}
	return nil
}

// scopedName is a name as the file gives it, in one graph.
type scopedName struct {
	graph *graph.Graph
	name  string
}

// rename takes a name from v, the result of an earlier node.
func (d *decoder) rename(g *graph.Graph, name string, v *graph.Value) error {
	if d.renames++; d.renames > maxRenamed {
		return fmt.Errorf("result %q is made again, as were %d before it, which is more than is accepted", name, maxRenamed)
	}
	g.Rename(v, g.Fresh(name))
	if d.renamed == nil {
		d.renamed = map[scopedName]*graph.Value{}
	}
	if d.renamed[scopedName{g, name}] == nil {
		d.renamed[scopedName{g, name}] = v
	}
	return nil
}

// bind connects the node's inputs and reads its attributes, in whose
// subgraphs names of g are in scope.
func (d *decoder) bind(g *graph.Graph, p *nodeFields) error {
	for _, name := range p.inputs {
		if name == "" {
			p.node.AddIn(nil)
			continue
		}
		p.node.AddIn(d.resolve(g, name))
	}
	for _, w := range p.attrs {
		if _, err := d.attr(p.node, w); err != nil {
			return err
		}
	}
	for i, name := range p.outputs {
		if d.renamed[scopedName{g, name}] != nil {
			d.renamed[scopedName{g, name}] = p.node.Out(i)
		}
	}
	return nil
}

// resolve returns the value that a name means in g. A name that nothing
// makes gets a value without a maker, which graph's check reports.
func (d *decoder) resolve(g *graph.Graph, name string) *graph.Value {
	if d.renamed != nil {
		for s := g; s != nil; s = s.Outer() {
			if v := d.renamed[scopedName{s, name}]; v != nil {
				return v
			}
			if s.Value(name) != nil {
				break
			}
		}
	}
	if v := g.Lookup(name); v != nil {
		return v
	}
	return g.Define(name)
}

// attrFields gathers an AttributeProto.
type attrFields struct {
	attr                   *graph.Attr
	tensor, sparse         []byte
	graph, typ             []byte
	tensors, sparses       [][]byte
	graphs, types          [][]byte
	float                  float32
	int                    int64
	str                    string
	floats                 []float32
	ints                   []int64
	strs                   []string
	hasFloat, hasInt, hasS bool
}

// attr reads an attribute. Unless n is nil, it becomes an attribute of n
// before its subgraphs are read: names of the graph around n mean its values.
func (d *decoder) attr(n *graph.Node, b []byte) (*graph.Attr, error) {
	p, err := d.attrFields(b)
	a := p.attr
	if err == nil {
		err = d.attrValue(n, p)
	}
	if err != nil {
		return nil, fmt.Errorf("attribute %q: %w", a.Name, err)
	}
	return a, nil
}

func (d *decoder) attrValue(n *graph.Node, p *attrFields) error {
	a := p.attr
	if a.Kind == graph.AttrNone && a.Ref == "" {
		a.Kind = p.guessKind()
	}
	bodies := p.bodies()
	for range bodies {
		a.Graphs = append(a.Graphs, graph.New(""))
	}
	if n != nil {
		if n.Attr(a.Name) != nil {
			return errors.New("is given twice")
		}
		n.SetAttr(a)
	}
	for i, w := range bodies {
		if err := d.graph(a.Graphs[i], w); err != nil {
			return err
		}
	}
	return d.attrPlain(p)
}

func (d *decoder) attrFields(b []byte) (*attrFields, error) {
	a := &graph.Attr{Wire: b}
	p := &attrFields{attr: a}
	if err := d.count(); err != nil {
		return p, err
	}
	for f, err := range fields(b) {
		switch {
		case err != nil:
			return p, err
		case f.isBytes(attrName):
			a.Name = f.text()
		case f.isBytes(attrRef):
			a.Ref = f.text()
		case f.isBytes(attrDoc):
			a.Doc = f.text()
		case f.isVarint(attrKind):
			if f.number > uint64(graph.AttrTypes) {
				return p, fmt.Errorf("type %d is not known, want at most %d", f.number, graph.AttrTypes)
			}
			a.Kind = graph.AttrKind(f.number)
		case f.isFixed32(attrFloat):
			p.float, p.hasFloat = math.Float32frombits(uint32(f.number)), true
		case f.isVarint(attrInt):
			p.int, p.hasInt = f.int(), true
		case f.isBytes(attrString):
			p.str, p.hasS = f.text(), true
		case f.isBytes(attrTensor):
			p.tensor = join(p.tensor, f.val)
		case f.isBytes(attrGraph):
			p.graph = join(p.graph, f.val)
		case f.isBytes(attrSparse):
			p.sparse = join(p.sparse, f.val)
		case f.isBytes(attrType):
			p.typ = join(p.typ, f.val)
		default:
			if err := p.list(&f); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// list takes a field of one of the list kinds, or an unknown one.
func (p *attrFields) list(f *field) (err error) {
	switch {
	case f.isFixed32s(attrFloats):
		p.floats, err = appendFloats(p.floats, f.val)
	case f.isVarints(attrInts):
		p.ints, err = appendVarints(p.ints, f.val)
	case f.isBytes(attrStrings):
		p.strs = append(p.strs, f.text())
	case f.isBytes(attrTensors):
		p.tensors = append(p.tensors, f.val)
	case f.isBytes(attrGraphs):
		p.graphs = append(p.graphs, f.val)
	case f.isBytes(attrSparses):
		p.sparses = append(p.sparses, f.val)
	case f.isBytes(attrTypes):
		p.types = append(p.types, f.val)
	default:
		p.attr.Unknown = append(p.attr.Unknown, f.raw...)
	}
	return err
}

// guessKind serves files of IR version 1, which do not state the kind.
func (p *attrFields) guessKind() graph.AttrKind {
	switch {
	case p.hasFloat:
		return graph.AttrFloat
	case p.hasInt:
		return graph.AttrInt
	case p.hasS:
		return graph.AttrString
	case p.tensor != nil:
		return graph.AttrTensor
	case p.graph != nil:
		return graph.AttrGraph
	case p.floats != nil:
		return graph.AttrFloats
	case p.ints != nil:
		return graph.AttrInts
	case p.strs != nil:
		return graph.AttrStrings
	case p.tensors != nil:
		return graph.AttrTensors
	case p.graphs != nil:
		return graph.AttrGraphs
	}
	return graph.AttrNone
}

// bodies returns the encoded subgraphs that are the attribute's value.
func (p *attrFields) bodies() [][]byte {
	switch {
	case p.attr.Ref != "":
		return nil
	case p.attr.Kind == graph.AttrGraph:
		return one(p.graph)
	case p.attr.Kind == graph.AttrGraphs:
		return p.graphs
	}
	return nil
}

// attrPlain keeps, of what was gathered, that which the kind asks for. A
// number or string that is left out is zero, as writers that skip defaults
// mean it.
func (d *decoder) attrPlain(p *attrFields) (err error) {
	a := p.attr
	if a.Ref != "" {
		return nil
	}
	switch a.Kind {
	case graph.AttrFloat:
		a.Floats = []float32{p.float}
	case graph.AttrInt:
		a.Ints = []int64{p.int}
	case graph.AttrString:
		a.Strings = []string{p.str}
	case graph.AttrFloats:
		a.Floats = p.floats
	case graph.AttrInts:
		a.Ints = p.ints
	case graph.AttrStrings:
		a.Strings = p.strs
	case graph.AttrTensor:
		a.Literals, err = readAll(one(p.tensor), d.literal)
	case graph.AttrTensors:
		a.Literals, err = readAll(p.tensors, d.literal)
	case graph.AttrSparse:
		a.Literals, err = readAll(one(p.sparse), d.sparseLiteral)
	case graph.AttrSparses:
		a.Literals, err = readAll(p.sparses, d.sparseLiteral)
	case graph.AttrType:
		a.Types, err = readAll(one(p.typ), d.typeProto)
	case graph.AttrTypes:
		a.Types, err = readAll(p.types, d.typeProto)
	}
	return err
}

// one returns a list of b, empty if b is absent.
func one(b []byte) [][]byte {
	if b == nil {
		return nil
	}
	return [][]byte{b}
}

func readAll[T any](wires [][]byte, read func([]byte) (T, error)) ([]T, error) {
	list := make([]T, 0, len(wires))
	for _, w := range wires {
		x, err := read(w)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

package op

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// hostile draws calls that the schema of an operator admits and that make no
// sense otherwise.
type hostile struct{ *rand.Rand }

func (h hostile) tensor(d tensor.DType) *tensor.Tensor {
	s := make(tensor.Shape, h.IntN(5))
	for i := range s {
		s[i] = []int{0, 1, 1, 2, 2, 3, 4, 6}[h.IntN(8)]
	}
	if d == tensor.String || d.IsComplex() {
		return tensor.New(d, s)
	}
	x := make([]int64, s.Len())
	for i := range x {
		x[i] = int64(h.IntN(9) - 4)
	}
	return tensor.FromInt64s(d, s, x)
}

// value returns something of type t, nil if that is not drawn here.
func (h hostile) value(t *graph.Type) tensor.Value {
	switch t.Kind {
	case graph.KindTensor:
		return h.tensor(t.Elem)
	case graph.KindSequence:
		s := &tensor.Seq{}
		for range h.IntN(3) {
			v := h.value(t.Item)
			if v == nil {
				return nil
			}
			s.Items = append(s.Items, v)
		}
		return s
	case graph.KindOptional:
		if h.IntN(3) == 0 {
			return tensor.None{}
		}
		return h.value(t.Item)
	}
	return nil
}

// attr returns an attribute of a kind that is drawn here, or nil.
func (h hostile) attr(spec *AttrSpec) *graph.Attr {
	n := func() int64 { return int64(h.IntN(9) - 3) }
	words := []string{"reflect", "add", "max", "circular", "x", "CRD", "SOFTMAX", "LEAF", "BRANCH_LEQ"}
	switch spec.Kind {
	case graph.AttrInt:
		return graph.IntAttr(spec.Name, n())
	case graph.AttrInts:
		return graph.IntsAttr(spec.Name, n(), n())
	case graph.AttrFloat:
		return graph.FloatAttr(spec.Name, float32(n()))
	case graph.AttrFloats:
		return graph.FloatsAttr(spec.Name, float32(n()), float32(n()))
	case graph.AttrString:
		return graph.StringAttr(spec.Name, words[h.IntN(len(words))])
	case graph.AttrStrings:
		return graph.StringsAttr(spec.Name, words[h.IntN(len(words))], words[h.IntN(len(words))])
	case graph.AttrTensor:
		return graph.TensorAttr(spec.Name, h.tensor(tensor.Float32))
	}
	return nil
}

// inputs draws the operands of a call, false if one cannot be drawn.
func (h hostile) inputs(s *Schema) (in []tensor.Value, ok bool) {
	bound := map[string]*graph.Type{}
	for _, f := range s.In {
		times := 1
		if f.Variadic {
			times = f.Min + h.IntN(3)
		}
		for range times {
			if f.Optional && h.IntN(3) == 0 {
				in = append(in, nil)
				continue
			}
			if len(f.Types) == 0 {
				return nil, false
			}
			t := bound[f.Var]
			if t == nil || f.Mixed {
				t = f.Types[h.IntN(len(f.Types))]
				bound[f.Var] = t
			}
			v := h.value(t)
			if v == nil {
				return nil, false
			}
			in = append(in, v)
		}
	}
	return in, true
}

// TestHostileCalls gives operators operands and attributes at random: each
// call succeeds or is an error, and none panics.
func TestHostileCalls(t *testing.T) {
	for _, family := range [][]*Def{tensorDefs, sequenceDefs, optionalDefs, textDefs, randomDefs,
		trainingDefs, mlLinearDefs, mlTreesDefs, mlFeaturesDefs, msGeneralDefs} {
		for _, d := range family {
			t.Run(d.Domain+"."+d.Name, func(t *testing.T) {
				h := hostile{rand.New(rand.NewPCG(1, uint64(len(d.Name))))}
				for range 300 {
					if msg := h.call(d); msg != "" {
						t.Fatal(msg)
					}
				}
			})
		}
	}
}

// call makes one call of d and returns what went wrong.
func (h hostile) call(d *Def) (msg string) {
	versions := Versions(d.Domain, d.Name)
	version := versions[h.IntN(len(versions))]
	s := SchemaOf(d.Domain, d.Name, version)
	if s == nil || version < d.Since || d.Until != 0 && version > d.Until {
		return ""
	}
	in, ok := h.inputs(s)
	if !ok {
		return ""
	}
	n := graph.NewNode(d.Domain, d.Name, nil, 1+h.IntN(len(s.Out)+2))
	for i := range s.Attrs {
		if a := h.attr(&s.Attrs[i]); a != nil && (s.Attrs[i].Required || h.IntN(2) == 0) {
			n.SetAttr(a)
		}
	}
	g := graph.New("g")
	for i, v := range in {
		if v != nil {
			n.SetIn(i, g.AddInput(fmt.Sprint("x", i), nil))
		}
	}
	e := &Eval{Call: Call{Node: n, Version: version}, In: in, Out: make([]tensor.Value, n.NumOut())}
	defer func() {
		if p := recover(); p != nil {
			msg = fmt.Sprintf("version %d of %s: panic: %v", version, graph.FormatGraph(callGraph(g, n, in)), p)
		}
	}()
	_ = d.Eval(e)
	_ = d.Infer(inferOf(e))
	return ""
}

// callGraph puts a call in a graph, for messages.
func callGraph(g *graph.Graph, n *graph.Node, in []tensor.Value) *graph.Graph {
	for i, v := range in {
		if t, ok := v.(*tensor.Tensor); ok {
			n.In(i).Type = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
		}
	}
	if n.Graph() == nil {
		g.Append(n)
	}
	return g
}

// inferOf returns the inference of a call whose operands are known.
func inferOf(e *Eval) *Infer {
	n := e.Node
	c := &Infer{Call: e.Call, Out: make([]*graph.Type, n.NumOut()), OutDims: make([]graph.Dims, n.NumOut())}
	for _, v := range e.In {
		t, _ := v.(*tensor.Tensor)
		var ty *graph.Type
		switch {
		case t != nil:
			ty = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
		case v != nil:
			ty = graph.SequenceOf(graph.TensorOf(tensor.Float32, nil))
		}
		c.In, c.Consts, c.InDims = append(c.In, ty), append(c.Consts, t), append(c.InDims, contentsOf(t))
	}
	return c
}

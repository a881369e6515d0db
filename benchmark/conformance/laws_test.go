package conformance

import (
	"context"
	"fmt"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// The first law of operators: the type that Infer derives admits the value
// that Eval makes. It is held for every value of every test, without what the
// file states of results, where inputs are known as they are declared, by
// their shapes, and by their contents.
func TestInferAdmitsEval(t *testing.T) {
	cases, err := Find(suites(t))
	if err != nil {
		t.Fatal(err)
	}
	var total tally
	for _, c := range cases {
		if len(c.Sets) == 0 {
			continue
		}
		if err := total.inferAdmits(c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	t.Logf("%d values, the shape of %d known before the run", total.values, total.known)
	if total.known*100 < total.values*95 {
		t.Errorf("%d of %d shapes are known, want 95 in 100", total.known, total.values)
	}
}

// tally counts the values that were compared, and those whose shape inference
// knew in full.
type tally struct{ values, known int }

func (n *tally) inferAdmits(c Case) error {
	f, err := onnxio.Open(c.Model, onnxio.OpenOptions{})
	if err != nil {
		return err
	}
	defer f.Close()
	feeds, err := c.Sets[0].feeds(f.Model.Graph)
	if err != nil {
		return err
	}
	got, err := everyValue(f.Model, feeds)
	if err != nil {
		return nil // what does not run is reported by the suite
	}
	var shaped, exact op.InferOptions
	shaped.Inputs, exact.Values = map[string]*graph.Type{}, map[string]*tensor.Tensor{}
	exact.Inputs = shaped.Inputs
	for _, v := range f.Model.Graph.Inputs() {
		t, ok := feeds[v.Name()].(*tensor.Tensor)
		if !ok && v.Init != nil {
			t, ok = v.Init.Tensor, true
		}
		if ok && t != nil {
			shaped.Inputs[v.Name()] = graph.TensorOf(t.DType(), graph.DimsOf(t.Shape()))
			exact.Values[v.Name()] = t
		}
	}
	for what, o := range map[string]op.InferOptions{"declared": {}, "shaped": shaped, "known": exact} {
		known, err := admits(f.Model, o, got)
		if err != nil {
			return fmt.Errorf("inputs are %s: %w", what, err)
		}
		if what == "known" {
			n.known += known
		}
	}
	n.values += len(got)
	return nil
}

// everyValue runs m and returns all values that its main graph makes.
func everyValue(m *graph.Model, feeds map[string]tensor.Value) (map[string]tensor.Value, error) {
	var o engine.Options
	for n := range m.Graph.Nodes() {
		for _, v := range n.Outs() {
			if v != nil {
				o.Outputs = append(o.Outputs, v.Name())
			}
		}
	}
	s, err := engine.Compile(context.Background(), m, o)
	if err != nil {
		return nil, err
	}
	return s.Run(context.Background(), feeds)
}

// admits infers a copy of m and returns of how many values it knows the shape,
// and an error if a value has not the type that was inferred.
func admits(m *graph.Model, o op.InferOptions, got map[string]tensor.Value) (known int, err error) {
	m = m.Clone()
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		for _, v := range n.Outs() {
			if v != nil {
				v.Type = nil
			}
		}
	}
	r := op.InferModel(m, o)
	for _, g := range r.Gaps {
		if g.Err != op.ErrDataDependent {
			return 0, fmt.Errorf("%v: %w", g.Node, g.Err)
		}
	}
	for name, v := range got {
		x := m.Graph.Value(name)
		if err := admitsValue(x.Type, v); err != nil {
			return 0, fmt.Errorf("%v: result %q: %w", x.Producer(), name, err)
		}
		if x.Type != nil {
			if _, ok := x.Type.Shape.Static(); ok || x.Type.Kind != graph.KindTensor {
				known++
			}
		}
	}
	return known, nil
}

func admitsValue(typ *graph.Type, v tensor.Value) error {
	if typ == nil || typ.Kind == graph.KindNone {
		return nil
	}
	if typ.Kind == graph.KindOptional {
		if _, none := v.(tensor.None); none {
			return nil
		}
		typ = typ.Item
	}
	switch v := v.(type) {
	case *tensor.Tensor:
		if typ.Kind != graph.KindTensor || typ.Elem != v.DType() && typ.Elem != tensor.Undefined || !typ.Shape.Admits(v.Shape()) {
			return fmt.Errorf("is %v, inferred as %v", v, typ)
		}
	case *tensor.Seq:
		if typ.Kind != graph.KindSequence {
			return fmt.Errorf("is a sequence, inferred as %v", typ)
		}
		for i, item := range v.Items {
			if err := admitsValue(typ.Item, item); err != nil {
				return fmt.Errorf("item %d %w", i, err)
			}
		}
	}
	return nil
}

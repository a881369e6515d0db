package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// controlDefs holds control flow.
var controlDefs = []*Def{
	{Name: "If", Since: 1, Infer: inferIf, Eval: evalIf},
	{Name: "Loop", Since: 1, Infer: inferLoop, Eval: evalLoop},
	{Name: "Scan", Since: 8, Until: 8, Infer: inferScan, Eval: evalScanBatch},
	{Name: "Scan", Since: 9, Infer: inferScan, Eval: evalScan},
}

// subgraph returns the graph that an attribute of the call holds, or nil.
func subgraph(c *Call, name string) *graph.Graph {
	if a := c.Node.Attr(name); a != nil && len(a.Graphs) == 1 {
		return a.Graphs[0]
	}
	return nil
}

func (e *Eval) subgraph(name string) (*graph.Graph, error) {
	g := subgraph(&e.Call, name)
	if g == nil {
		return nil, fmt.Errorf("attribute %s is missing", name)
	}
	if e.Sub == nil {
		return nil, fmt.Errorf("subgraphs cannot run here")
	}
	return g, nil
}

// flag returns input i, one boolean, or def if it is omitted.
func (e *Eval) flag(i int, def bool) (bool, error) {
	t := e.Tensor(i)
	if t == nil {
		return def, nil
	}
	if t.DType() != tensor.Bool || t.Len() != 1 {
		return false, e.Errorf(i, "want one bool")
	}
	return tensor.Data[bool](t)[0], nil
}

func evalIf(e *Eval) error {
	cond, err := e.flag(0, false)
	if err != nil {
		return err
	}
	branch := "else_branch"
	if cond {
		branch = "then_branch"
	}
	g, err := e.subgraph(branch)
	if err != nil {
		return err
	}
	outs, err := e.Sub(g, nil)
	if err != nil {
		return err
	}
	for i, v := range outs {
		e.SetOut(i, v)
	}
	return nil
}

// loop is one run of a Loop.
type loop struct {
	e       *Eval
	body    *graph.Graph
	trips   int  // most iterations
	endless bool // the condition is not looked at
	state   []tensor.Value
	stacked [][]*tensor.Tensor // values of each iteration for each scan output
}

func evalLoop(e *Eval) error {
	body, err := e.subgraph("body")
	if err != nil {
		return err
	}
	l := &loop{e: e, body: body, endless: e.Tensor(1) == nil}
	if l.trips, err = e.int(0, math.MaxInt); err != nil {
		return err
	}
	l.state = slices.Clone(e.In[min(2, len(e.In)):])
	results := len(body.Outputs())
	if want := len(l.state) + 2; len(body.Inputs()) != want || results < len(l.state)+1 {
		return fmt.Errorf("attribute body has %d inputs and %d outputs for %d carried values", len(body.Inputs()), results, len(l.state))
	}
	l.stacked = make([][]*tensor.Tensor, results-1-len(l.state))
	going, err := e.flag(1, true)
	if err != nil {
		return err
	}
	for i := 0; i < l.trips && going; i++ {
		if going, err = l.step(i); err != nil {
			return fmt.Errorf("iteration %d: %w", i, err)
		}
	}
	return l.finish()
}

// step runs the body once and reports whether to go on.
func (l *loop) step(i int) (bool, error) {
	if l.e.Context != nil {
		if err := l.e.Context.Err(); err != nil {
			return false, err
		}
	}
	ins := l.body.Inputs()
	args := append([]tensor.Value{
		tensor.Of(oneShape(ins[0]), []int64{int64(i)}),
		tensor.Of(oneShape(ins[1]), []bool{true}),
	}, l.state...)
	outs, err := l.e.Sub(l.body, args)
	if err != nil {
		return false, err
	}
	cond, ok := outs[0].(*tensor.Tensor)
	if !ok || cond.DType() != tensor.Bool || cond.Len() != 1 {
		return false, fmt.Errorf("the body's condition is no bool")
	}
	n := len(l.state)
	l.e.free(l.state...)
	copy(l.state, outs[1:1+n])
	vals, err := tensorsOf(outs[1+n:])
	if err != nil {
		return false, err
	}
	for k, t := range vals {
		l.stacked[k] = append(l.stacked[k], t)
	}
	going := l.endless || tensor.Data[bool](cond)[0]
	l.e.free(cond)
	return going, nil
}

// oneShape is the shape in which a body wants a single number: [] unless it
// declares [1] or the like.
func oneShape(v *graph.Value) tensor.Shape {
	if v.Type != nil {
		if s, ok := v.Type.Shape.Static(); ok && s.Check() == nil && s.Len() == 1 {
			return s
		}
	}
	return tensor.Shape{}
}

func (l *loop) finish() error {
	for i, v := range l.state {
		l.e.SetOut(i, v)
	}
	n := len(l.state)
	for k, parts := range l.stacked {
		t, err := l.e.gathered(parts, 0, l.body.Outputs()[1+n+k])
		if err != nil {
			return err
		}
		l.e.SetOut(n+k, t)
	}
	return nil
}

// gathered stacks what iterations gave for out along a new axis; if there was
// no iteration, the type that out declares tells elements and shape.
func (e *Eval) gathered(parts []*tensor.Tensor, axis int, out *graph.Value) (*tensor.Tensor, error) {
	if len(parts) > 0 {
		return e.stack(parts, axis)
	}
	t := out.Type
	if t == nil || t.Kind != graph.KindTensor || t.Elem == tensor.Undefined {
		return nil, fmt.Errorf("no iteration ran and the type of %q is not known", out.Name())
	}
	s := make(tensor.Shape, len(t.Shape))
	for i, d := range t.Shape {
		s[i] = max(0, d.Size)
	}
	if axis > len(s) {
		return nil, fmt.Errorf("%q has no place for a new axis %d", out.Name(), axis)
	}
	return e.alloc(t.Elem, slices.Insert(s, axis, 0))
}

func inferIf(c *Infer) error {
	branches := []string{"then_branch", "else_branch"}
	if cond := c.Const(0); cond != nil && cond.DType() == tensor.Bool && cond.Len() == 1 {
		if tensor.Data[bool](cond)[0] {
			branches = branches[:1]
		} else {
			branches = branches[1:]
		}
	}
	for i, name := range branches {
		g := subgraph(&c.Call, name)
		if g == nil {
			return fmt.Errorf("attribute %s is missing", name)
		}
		types, err := c.Sub(g, nil)
		if err != nil {
			return err
		}
		if len(types) < len(c.Out) {
			return fmt.Errorf("attribute %s has %d outputs, want %d", name, len(types), len(c.Out))
		}
		for k := range c.Out {
			t := types[k]
			if i > 0 {
				t = joinTypes(c.Out[k], t)
			}
			c.SetType(k, t)
		}
	}
	return nil
}

func inferLoop(c *Infer) error {
	body := subgraph(&c.Call, "body")
	if body == nil {
		return fmt.Errorf("attribute body is missing")
	}
	state := slices.Clone(c.In[min(2, len(c.In)):])
	outs, err := c.carried(body, state, func(state []*graph.Type) []*graph.Type {
		return append([]*graph.Type{
			graph.TensorOf(tensor.Int64, graph.DimsOf(oneShape(body.Inputs()[0]))),
			graph.TensorOf(tensor.Bool, graph.DimsOf(oneShape(body.Inputs()[1]))),
		}, state...)
	}, 1)
	if err != nil {
		return err
	}
	trips := graph.Unknown()
	if m := c.Dims(0); len(m) == 1 && !c.Has(1) {
		trips = m[0]
	}
	for i, t := range outs[1:] {
		if i >= len(state) {
			t = stackType(t, 0, trips)
		}
		c.SetType(i, t)
	}
	return nil
}

// carried derives the types of a body's outputs when those from skip on, as
// many as state, are fed back: the types in state, which it changes, are
// widened until the body keeps them.
func (c *Infer) carried(body *graph.Graph, state []*graph.Type, args func([]*graph.Type) []*graph.Type, skip int) ([]*graph.Type, error) {
	if len(body.Inputs()) != len(args(state)) || len(body.Outputs()) < skip+len(state) {
		return nil, fmt.Errorf("attribute body has %d inputs and %d outputs for %d carried values", len(body.Inputs()), len(body.Outputs()), len(state))
	}
	const rounds = 8 // each round opens at least one dimension
	for round := 0; ; round++ {
		outs, err := c.Sub(body, args(state))
		if err != nil {
			return nil, err
		}
		same := true
		for i, t := range state {
			w := joinTypes(t, outs[skip+i])
			if round == rounds {
				w = nil
			}
			same = same && w.Equal(t)
			state[i] = w
		}
		if same || round > rounds {
			for i, t := range state {
				if t == nil || t.Kind != graph.KindOptional { // else the body tells what it makes
					outs[skip+i] = t
				}
			}
			return outs, nil
		}
	}
}

// stackType is the type of tensors of type t stacked along a new axis.
func stackType(t *graph.Type, axis int, n graph.Dim) *graph.Type {
	if t == nil || t.Kind != graph.KindTensor {
		return nil
	}
	if t.Shape == nil || axis > len(t.Shape) {
		return graph.TensorOf(t.Elem, nil)
	}
	return graph.TensorOf(t.Elem, slices.Insert(slices.Clone(t.Shape), axis, n))
}

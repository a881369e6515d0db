package graph

import (
	"fmt"
	"slices"
)

// Use is one place where a value is read: input Index of Node.
type Use struct {
	Node  *Node
	Index int
}

// Value is a name in a graph and what is known of it: a graph input, an
// initializer (Init is set), or the result of a node.
type Value struct {
	Type     *Type // nil if not known
	Inferred bool  // Type was computed here; a writer leaves it out
	Init     *Literal
	Doc      string
	Metadata []Prop

	Unknown []byte
	Wire    []byte // the value_info, input or output entry it was read from

	name     string
	graph    *Graph
	producer *Node
	index    int
	uses     []Use
	input    bool
	givers   []*Graph // the graphs that give it out, once for each time
}

// Name returns the value's name, unique in its graph.
func (v *Value) Name() string { return v.name }

// String names the value for messages: `value "x"`.
func (v *Value) String() string { return fmt.Sprintf("value %q", v.name) }

// Graph returns the graph that defines v.
func (v *Value) Graph() *Graph { return v.graph }

// Producer returns the node whose result v is, nil for inputs and
// initializers.
func (v *Value) Producer() *Node { return v.producer }

// Index returns which of its producer's results v is.
func (v *Value) Index() int { return v.index }

// Uses returns a copy of the list of places that read v, in nodes of its own
// graph and of the graphs inside it, in no order that means anything. Being a
// graph output is not a use.
func (v *Value) Uses() []Use { return slices.Clone(v.uses) }

// NumUses returns the number of places that read v.
func (v *Value) NumUses() int { return len(v.uses) }

// IsInput reports whether v is an input of its graph.
func (v *Value) IsInput() bool { return v.input }

// IsOutput reports whether v is an output of its graph, or of one inside it.
func (v *Value) IsOutput() bool { return len(v.givers) > 0 }

// NumOutputs returns how many times v is an output, of its graph or of graphs
// inside it.
func (v *Value) NumOutputs() int { return len(v.givers) }

// Givers returns the graphs of which v is an output, once for each time: its
// own, or graphs inside it.
func (v *Value) Givers() []*Graph { return slices.Clone(v.givers) }

// Used reports whether anything reads v or a graph gives it out.
func (v *Value) Used() bool { return len(v.uses) > 0 || len(v.givers) > 0 }

// SoleUse returns the only place that reads v, if there is just one and v is
// not a graph output.
func (v *Value) SoleUse() (Use, bool) {
	if len(v.uses) == 1 && len(v.givers) == 0 {
		return v.uses[0], true
	}
	return Use{}, false
}

// IsConst reports whether v is an initializer that no caller can override.
func (v *Value) IsConst() bool { return v.Init != nil && !v.input }

func (v *Value) addUse(u Use) {
	u.Node.useAt[u.Index] = len(v.uses)
	v.uses = append(v.uses, u)
}

// dropUse removes the use at the given place; the last one takes it over.
func (v *Value) dropUse(at int) {
	last := len(v.uses) - 1
	moved := v.uses[last]
	v.uses[at] = moved
	moved.Node.useAt[moved.Index] = at
	v.uses[last] = Use{}
	v.uses = v.uses[:last]
}

func (v *Value) dropGiver(g *Graph) {
	i := slices.Index(v.givers, g)
	if i < 0 {
		panic(fmt.Sprintf("graph: value %q is no output of graph %q", v.name, g.Name))
	}
	v.givers = slices.Delete(v.givers, i, i+1)
}

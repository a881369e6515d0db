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
	output   int // how many times it is an output of its graph
}

// Name returns the value's name, unique in its graph.
func (v *Value) Name() string { return v.name }

// Graph returns the graph that defines v.
func (v *Value) Graph() *Graph { return v.graph }

// Producer returns the node whose result v is, nil for inputs and
// initializers.
func (v *Value) Producer() *Node { return v.producer }

// Index returns which of its producer's results v is.
func (v *Value) Index() int { return v.index }

// Uses returns a copy of the list of places that read v, in nodes of its own
// graph and of the graphs inside it. Being a graph output is not a use.
func (v *Value) Uses() []Use { return slices.Clone(v.uses) }

// NumUses returns the number of places that read v.
func (v *Value) NumUses() int { return len(v.uses) }

// IsInput reports whether v is an input of its graph.
func (v *Value) IsInput() bool { return v.input }

// IsOutput reports whether v is an output of its graph.
func (v *Value) IsOutput() bool { return v.output > 0 }

// Used reports whether anything reads v or its graph gives it out.
func (v *Value) Used() bool { return len(v.uses) > 0 || v.output > 0 }

// SoleUse returns the only place that reads v, if there is just one and v is
// not a graph output.
func (v *Value) SoleUse() (Use, bool) {
	if len(v.uses) == 1 && v.output == 0 {
		return v.uses[0], true
	}
	return Use{}, false
}

// IsConst reports whether v is an initializer that no caller can override.
func (v *Value) IsConst() bool { return v.Init != nil && !v.input }

func (v *Value) dropUse(u Use) {
	i := slices.Index(v.uses, u)
	if i < 0 {
		panic(fmt.Sprintf("graph: value %q lost a use by %v", v.name, u.Node))
	}
	v.uses = slices.Delete(v.uses, i, i+1)
}

package graph

import (
	"fmt"
	"slices"
)

// Check returns the first broken invariant of a model, with the node or value
// that breaks it: every list and use list agrees with the others; each value
// has one maker, which stands before its readers and in their scope; what is
// called is imported or defined, and functions do not call each other in a
// circle; attributes, types and initializers are what they say they are.
//
// Check does not know operators: a wrong number of inputs is not its concern.
func Check(m *Model) error {
	if m.Graph == nil {
		return fmt.Errorf("model has no main graph")
	}
	if m.IRVersion < 1 {
		return fmt.Errorf("model: ir_version is %d, want at least 1", m.IRVersion)
	}
	c := checker{model: m, defined: map[*Value]bool{}, reads: map[*Value]int{}, gives: map[*Value]int{}}
	if err := c.opsets("model", m.Opsets); err != nil {
		return err
	}
	for _, g := range m.roots(InMain | InTraining) {
		if g.Model() != m || g.Function() != nil || g.Owner() != nil {
			return fmt.Errorf("graph %q is not attached to the model that holds it", g.Name)
		}
		if err := c.root(g); err != nil {
			return err
		}
	}
	for i, f := range m.Functions {
		if err := c.checkFunction(f); err != nil {
			return fmt.Errorf("function %s: %w", f.id(), err)
		}
		if slices.IndexFunc(m.Functions, func(o *Function) bool { return o.id() == f.id() }) < i {
			return fmt.Errorf("function %s is defined twice", f.id())
		}
	}
	return c.recursion()
}

// CheckGraph returns the first broken invariant of an outermost graph that
// need not belong to a model; imports and calls are not checked then.
func CheckGraph(g *Graph) error {
	c := checker{model: g.Model(), defined: map[*Value]bool{}, reads: map[*Value]int{}, gives: map[*Value]int{}}
	return c.root(g)
}

type checker struct {
	model    *Model    // nil if a graph is checked alone
	function *Function // that is checked, nil elsewhere

	defined map[*Value]bool // values made so far
	reads   map[*Value]int  // how often nodes read a value
	gives   map[*Value]int  // how often graphs give a value out
}

// id names a function for messages.
func (f *Function) id() string {
	id := f.Domain + "::" + f.Name
	if f.Overload != "" {
		id += ":" + f.Overload
	}
	return fmt.Sprintf("%q", id)
}

func (c *checker) opsets(what string, sets []Opset) error {
	for i, s := range sets {
		if slices.IndexFunc(sets, func(o Opset) bool { return o.Domain == s.Domain }) < i {
			return fmt.Errorf("%s: opset of domain %q is imported twice", what, s.Domain)
		}
		if s.Version < 1 {
			return fmt.Errorf("%s: opset version of domain %q is %d, want at least 1", what, s.Domain, s.Version)
		}
	}
	return nil
}

// root checks an outermost graph with all that is inside it.
func (c *checker) root(g *Graph) error {
	if err := c.graph(g); err != nil {
		return fmt.Errorf("graph %q: %w", g.Name, err)
	}
	for s := range g.Walk() {
		for _, v := range s.values {
			if err := c.useList(v); err != nil {
				return fmt.Errorf("graph %q: %w", s.Name, err)
			}
		}
	}
	return nil
}

// useList holds the uses that v keeps against those that were counted.
func (c *checker) useList(v *Value) error {
	if len(v.uses) != c.reads[v] {
		return fmt.Errorf("value %q: use list has %d entries, but it is read %d times", v.name, len(v.uses), c.reads[v])
	}
	if v.NumOutputs() != c.gives[v] {
		return fmt.Errorf("value %q: counts %d outputs, but it is given out %d times", v.name, v.NumOutputs(), c.gives[v])
	}
	seen := make(map[Use]bool, len(v.uses))
	for at, u := range v.uses {
		if u.Node.In(u.Index) != v || u.Node.graph == nil || u.Node.useAt[u.Index] != at {
			return fmt.Errorf("value %q: use list names input %d of %v, which does not read it", v.name, u.Index, u.Node)
		}
		if seen[u] {
			return fmt.Errorf("value %q: use list names input %d of %v twice", v.name, u.Index, u.Node)
		}
		seen[u] = true
	}
	return nil
}

func (c *checker) graph(g *Graph) error {
	if err := c.sources(g); err != nil {
		return err
	}
	if err := c.values(g); err != nil {
		return err
	}
	var prev *Node
	count := 0
	for n := g.first; n != nil; n = n.next {
		if n.graph != g || n.prev != prev {
			return fmt.Errorf("%v: list of nodes is broken", n)
		}
		if err := c.node(g, n); err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
		prev = n
		count++
	}
	if g.last != prev || g.numNodes != count {
		return fmt.Errorf("list of nodes has %d nodes, but %d are counted", count, g.numNodes)
	}
	for i, v := range g.outputs {
		if err := c.readable(g, v); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
		c.gives[v]++
	}
	return nil
}

// sources checks inputs and initializers.
func (c *checker) sources(g *Graph) error {
	for _, v := range g.inputs {
		if g.values[v.name] != v || !v.input || v.producer != nil {
			return fmt.Errorf("input %q is not a value of the graph without another maker", v.name)
		}
		if c.defined[v] {
			return fmt.Errorf("input %q is listed twice", v.name)
		}
		c.defined[v] = true
	}
	listed := make(map[*Value]bool, len(g.inits))
	for _, v := range g.inits {
		if g.values[v.name] != v || v.Init == nil || v.producer != nil {
			return fmt.Errorf("initializer %q is not a value of the graph without another maker", v.name)
		}
		if listed[v] {
			return fmt.Errorf("initializer %q is listed twice", v.name)
		}
		listed[v] = true
		if c.model != nil && c.model.IRVersion < 4 && !v.input {
			return fmt.Errorf("initializer %q is not an input, which ir_version %d asks for (4 does not)", v.name, c.model.IRVersion)
		}
		if err := checkInit(v); err != nil {
			return fmt.Errorf("initializer %q: %w", v.name, err)
		}
		c.defined[v] = true
	}
	return nil
}

// values checks the table of names.
func (c *checker) values(g *Graph) error {
	inputs := 0
	for name, v := range g.values {
		switch {
		case v.name != name || v.graph != g || name == "":
			return fmt.Errorf("value %q is entered as %q", v.name, name)
		case v.Init != nil && !c.defined[v]:
			return fmt.Errorf("value %q has contents, but is no listed initializer", name)
		case v.producer != nil && (v.producer.graph != g || v.producer.Out(v.index) != v):
			return fmt.Errorf("value %q: %v, said to make it, does not", name, v.producer)
		}
		if err := checkType(v.Type); err != nil {
			return fmt.Errorf("value %q: %w", name, err)
		}
		if v.input {
			inputs++
		}
	}
	if inputs != len(g.inputs) {
		return fmt.Errorf("%d values call themselves inputs, but %d are listed", inputs, len(g.inputs))
	}
	return nil
}

func (c *checker) node(g *Graph, n *Node) error {
	if n.Op == "" {
		return fmt.Errorf("op_type is empty")
	}
	if err := c.callee(g, n); err != nil {
		return err
	}
	for i, v := range n.in {
		if v == nil {
			continue
		}
		if err := c.readable(g, v); err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
		c.reads[v]++
	}
	for i, a := range n.attrs {
		if slices.IndexFunc(n.attrs, func(b *Attr) bool { return a.Name == b.Name }) < i {
			return fmt.Errorf("attribute %q is given twice", a.Name)
		}
		if err := c.attr(a); err != nil {
			return fmt.Errorf("attribute %q: %w", a.Name, err)
		}
		for _, s := range a.Graphs {
			if s.owner != n {
				return fmt.Errorf("attribute %q: graph %q does not belong to the node", a.Name, s.Name)
			}
			if err := c.graph(s); err != nil {
				return fmt.Errorf("attribute %q: graph %q: %w", a.Name, s.Name, err)
			}
		}
	}
	return c.results(g, n)
}

func (c *checker) results(g *Graph, n *Node) error {
	for i, v := range n.out {
		if v == nil {
			continue
		}
		if v.producer != n || v.index != i || g.values[v.name] != v || v.input || v.Init != nil {
			return fmt.Errorf("result %d, %q, has another maker", i, v.name)
		}
		c.defined[v] = true
	}
	return nil
}

// readable reports why a node or output of g cannot read v.
func (c *checker) readable(g *Graph, v *Value) error {
	switch {
	case v.graph == nil || v.graph.values[v.name] != v:
		return fmt.Errorf("value %q belongs to no graph", v.name)
	case g.Lookup(v.name) != v:
		return fmt.Errorf("value %q is not in scope", v.name)
	case v.producer == nil && !v.input && v.Init == nil:
		return fmt.Errorf("nothing makes value %q", v.name)
	case !c.defined[v]:
		return fmt.Errorf("value %q is read before %v makes it", v.name, v.producer)
	}
	return nil
}

// callee checks that what n applies is imported or defined.
func (c *checker) callee(g *Graph, n *Node) error {
	if c.model == nil {
		return nil
	}
	sets := c.model.Opsets
	if c.function != nil {
		sets = c.function.Opsets
	}
	if c.model.IRVersion >= 3 && !imports(sets, n.Domain) {
		return fmt.Errorf("no opset of domain %q is imported", n.Domain)
	}
	f := c.model.Function(n.Domain, n.Op, n.Overload)
	if f == nil {
		if n.Overload != "" {
			return fmt.Errorf("no function has overload %q", n.Overload)
		}
		return nil
	}
	if got, want := n.NumIn(), len(f.Body.inputs); got > want {
		return fmt.Errorf("%d inputs are given, want at most the %d of the function", got, want)
	}
	if got, want := n.NumOut(), len(f.Body.outputs); got > want {
		return fmt.Errorf("%d results are named, want at most the %d of the function", got, want)
	}
	return nil
}

func imports(sets []Opset, domain string) bool {
	return slices.ContainsFunc(sets, func(s Opset) bool { return s.Domain == domain })
}

func (c *checker) checkFunction(f *Function) error {
	if c.model.IRVersion < 8 {
		return fmt.Errorf("ir_version is %d, functions want at least 8", c.model.IRVersion)
	}
	if f.Name == "" || f.Body == nil {
		return fmt.Errorf("want a name and a body")
	}
	if f.Body.Function() != f || f.Body.Model() != c.model || f.Body.Owner() != nil {
		return fmt.Errorf("body is not attached to the function")
	}
	if err := c.opsets("imports", f.Opsets); err != nil {
		return err
	}
	c.function = f
	defer func() { c.function = nil }()
	for i, name := range f.parameters() {
		if slices.Index(f.parameters(), name) < i {
			return fmt.Errorf("attribute %q is declared twice", name)
		}
	}
	for _, a := range f.Defaults {
		if err := c.attr(a); err != nil {
			return fmt.Errorf("default of attribute %q: %w", a.Name, err)
		}
	}
	return c.root(f.Body)
}

// parameters returns the names of all attributes of a function.
func (f *Function) parameters() []string {
	names := slices.Clone(f.Attrs)
	for _, a := range f.Defaults {
		names = append(names, a.Name)
	}
	return names
}

// recursion reports functions that call themselves, through others or not.
func (c *checker) recursion() error {
	const (
		open = iota + 1
		done
	)
	state := map[*Function]int{}
	var visit func(f *Function) error
	visit = func(f *Function) error {
		state[f] = open
		for g := range f.Body.Walk() {
			for n := range g.Nodes() {
				callee := c.model.Function(n.Domain, n.Op, n.Overload)
				switch {
				case callee == nil || state[callee] == done:
				case state[callee] == open:
					return fmt.Errorf("function %s: %v calls a function that calls this one", f.id(), n)
				default:
					if err := visit(callee); err != nil {
						return err
					}
				}
			}
		}
		state[f] = done
		return nil
	}
	for _, f := range c.model.Functions {
		if state[f] == 0 {
			if err := visit(f); err != nil {
				return err
			}
		}
	}
	return nil
}

package nodeprune

import (
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// cause says why an index cannot go: for a reason of its own, or because it
// is linked to another that cannot.
type cause struct {
	reason string
	node   *graph.Node // where the reason lies, nil if in the value itself
	link   *link
	from   index
}

// fix says that no index of an axis can go.
func (w *web) fix(x *axis, c *cause) {
	for i := range x.n {
		w.kill(index{x, i}, c)
	}
}

func (w *web) kill(at index, c *cause) {
	if at.axis.why[at.i] == nil {
		at.axis.why[at.i] = c
		w.queue = append(w.queue, at)
	}
}

// spread follows links from indices that cannot go to those that then cannot
// either. An index of a product stays alive as long as one factor lets it go.
func (w *web) spread() {
	for len(w.queue) > 0 {
		at := w.queue[0]
		w.queue = w.queue[1:]
		for _, l := range at.axis.links {
			c := &cause{link: l, from: at}
			if l.a == at.axis {
				l.images(at.i, func(k int) {
					if l.product == nil || l.product.dead(k) {
						w.kill(index{l.b, k}, c)
					}
				})
			} else if l.covers(at.i) {
				w.kill(index{l.a, l.project(at.i)}, c)
			}
		}
	}
}

// dead reports whether no factor lets index k of b go.
func (p *product) dead(k int) bool {
	for _, l := range p.factors {
		if l.a.why[l.project(k)] == nil {
			return false
		}
	}
	return true
}

// String names an axis for people: its value, and which axis it is.
func (x *axis) String() string {
	switch {
	case x.value == nil && x.attr != "":
		return fmt.Sprintf("%s of %v", x.attr, x.node)
	case x.value == nil:
		return fmt.Sprintf("places in a head or group of %v", x.node)
	}
	return fmt.Sprintf("axis %d of %q", x.at, x.value.Name())
}

// chain returns what ties an index to the reason that it cannot go, a step a
// line, and the reason.
func (w *web) chain(at index) (steps []string, reason string) {
	for {
		c := at.axis.why[at.i]
		if c == nil {
			return steps, ""
		}
		if c.link == nil {
			where := at.axis.String()
			if c.node != nil {
				where += ", in " + c.node.String()
			}
			return steps, where + ": " + c.reason
		}
		steps = append(steps, fmt.Sprintf("%v goes with %v in %v", at.axis, c.from.axis, c.link.node))
		at = c.from
	}
}

// passesLengths are operators that compute with shapes and give out what is
// one again. Their results depend on no more than lengths.
var passesLengths = strings.Fields(`Gather Slice Concat Unsqueeze Squeeze Identity Reshape Cast
	Add Sub Mul Div Mod Min Max Neg Equal Where Split ReduceProd`)

// takesLengths says from which input on an operator reads shapes, bounds and
// targets, which follow the lengths of its operands.
var takesLengths = map[string]int{
	"Reshape": 1, "Expand": 1, "Slice": 1, "Tile": 1, "Resize": 1, "Upsample": 1, "Split": 1,
	"Pad": 1, "ConstantOfShape": 0, "Range": 0, "OneHot": 1, "Unsqueeze": 1, "Squeeze": 1,
}

// followLengths looks where the lengths that a Shape gives out go. Where they
// enter a computation, the axes that they are of keep theirs.
func (w *web) followLengths(shape *graph.Node) {
	all := make([]int, len(dimsOf(shape.In(0))))
	for i := range all {
		all[i] = i
	}
	w.followLength(shape.In(0), shape.Out(0), all, map[*graph.Value]bool{})
}

// followLength is followLengths for v, which holds lengths of the given axes
// of x.
func (w *web) followLength(x, v *graph.Value, axes []int, seen map[*graph.Value]bool) {
	if v == nil || seen[v] {
		return
	}
	seen[v] = true
	for _, u := range v.Uses() {
		if from, ok := takesLengths[u.Node.Op]; ok && u.Index >= from {
			continue
		}
		if !u.Node.Is(passesLengths...) || toFloat(u.Node) {
			for _, at := range axes {
				w.fix(w.of(x, at), &cause{reason: "its length enters a computation", node: u.Node})
			}
			continue
		}
		w.followLength(x, u.Node.Out(0), narrowed(u, axes), seen)
	}
}

func toFloat(n *graph.Node) bool {
	return n.Is("Cast") && tensor.DType(n.Int("to", 0)).IsFloat()
}

// narrowed returns which axes a Gather by constant indices picks the lengths of.
func narrowed(u graph.Use, axes []int) []int {
	at := constant(u.Node.In(1))
	if !u.Node.Is("Gather") || u.Index != 0 || at == nil {
		return axes
	}
	var picked []int
	for _, i := range tensor.Int64s(at) {
		if i < 0 {
			i += int64(len(axes))
		}
		if i < 0 || i >= int64(len(axes)) {
			return axes
		}
		picked = append(picked, axes[i])
	}
	return picked
}

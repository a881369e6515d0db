package nodeprune

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// DropConstantChannels removes channels that never change.
var DropConstantChannels = passes.Define(passes.Pass{
	Name: "drop-constant-channels",
	Doc: `remove channels and hidden units that are the same for every sample

A channel that is zero, or another constant, wherever layers read it on the
calibration data, is cut with all that goes with it. What it gave to a layer is
added to the bias of that layer:

	before: z = Conv (y, w, b), where y[:,k] is always c
	after:  z = Conv (y without k, w without k, b + c * sum of w[:,k])

For the calibration data the result is the same; a channel that such data never
wakes is lost for other data. A constant other than zero stays where a layer pads
with zeros or has no place for a bias.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, struct{}{}, dropConstantChannels)

func dropConstantChannels(j *passes.Job, _ struct{}) error {
	d := &constants{job: j, groups: Analyze(j.Model, j.Facts, Rules{}), spans: map[*graph.Value]*span{}}
	d.sinks = d.groups.web.sinks(j.Model)
	if err := d.observe(); err != nil {
		return err
	}
	var gone []*Unit
	for _, g := range d.groups.List {
		units := d.constantUnits(g)
		if len(units) == 0 {
			continue
		}
		j.Note("%s: %d of %d are constant", g.Name, len(units), len(g.Units))
		gone = append(gone, units...)
	}
	if len(gone) == 0 {
		return nil
	}
	for _, u := range gone {
		d.fold(u)
	}
	var err error
	j.Facts, err = d.groups.Cut(gone)
	j.Changed(len(gone))
	return err
}

// constants looks for channels that never change.
type constants struct {
	job    *passes.Job
	groups *Groups
	sinks  map[*axis][]sink
	spans  map[*graph.Value]*span
}

// sink is a place where a node reads an axis that none of its results has:
// where channels end, because they are summed up.
type sink struct {
	node  *graph.Node
	value *graph.Value
	at    int
}

// sinks finds where axes of values that are no constants end.
func (w *web) sinks(m *graph.Model) map[*axis][]sink {
	ends := map[*axis][]sink{}
	for n := range m.Nodes(graph.InMain | graph.InSubgraphs) {
		for _, v := range n.Ins() {
			if v == nil || constant(v) != nil {
				continue
			}
			for at := range dimsOf(v) {
				if x := w.of(v, at); !x.goesThrough(n) {
					ends[x] = append(ends[x], sink{n, v, at})
				}
			}
		}
	}
	return ends
}

// goesThrough reports whether links of n lead from x to a result of n.
func (x *axis) goesThrough(n *graph.Node) bool {
	seen := map[*axis]bool{x: true}
	queue := []*axis{x}
	for len(queue) > 0 {
		y := queue[0]
		queue = queue[1:]
		if y.value != nil && y.value.Producer() == n {
			return true
		}
		for _, l := range y.links {
			for _, z := range []*axis{l.a, l.b} {
				if l.node == n && !seen[z] {
					seen[z] = true
					queue = append(queue, z)
				}
			}
		}
	}
	return false
}

// span is the least and the greatest element at each index of an axis.
type span struct {
	at     int
	lo, hi []float32
}

func (s *span) add(t *tensor.Tensor) {
	shape := t.Shape()
	n, inner := shape[s.at], shape[s.at+1:].Len()
	data := tensor.Float32s(t)
	for i := range n {
		for o := i * inner; o < len(data); o += n * inner {
			for _, v := range data[o : o+inner] {
				if i == len(s.lo) {
					s.lo, s.hi = append(s.lo, v), append(s.hi, v)
				}
				s.lo[i], s.hi[i] = min(s.lo[i], v), max(s.hi[i], v)
			}
		}
	}
}

// constant returns the value at an index, if it is the same everywhere.
func (s *span) constant(i int) (c float32, ok bool) {
	if s == nil || i >= len(s.lo) || s.lo[i] != s.hi[i] {
		return 0, false
	}
	return s.lo[i], true
}

// observe takes the spans of all values at sinks of what can be cut.
func (d *constants) observe() error {
	var values []*graph.Value
	for _, g := range d.groups.List {
		for x := range g.Units[0].cuts {
			for _, s := range d.sinks[x] {
				if d.spans[s.value] == nil && s.value.Graph() == d.job.Model.Graph && s.value.Type.Elem == tensor.Float32 {
					d.spans[s.value] = &span{at: s.at}
					values = append(values, s.value)
				}
			}
		}
	}
	slices.SortFunc(values, func(a, b *graph.Value) int { return strings.Compare(a.Name(), b.Name()) })
	if len(values) == 0 {
		return nil
	}
	return d.job.Observe(values, func(v *graph.Value, t *tensor.Tensor) { d.spans[v].add(t) })
}

// constantUnits returns the units of a group that can go, all but one at most.
func (d *constants) constantUnits(g *Group) []*Unit {
	var units []*Unit
	for _, u := range g.Units {
		if why := d.stays(u); why == "" {
			units = append(units, u)
		} else if why != changes {
			d.job.SkipAt(g.Name, "%s", why)
		}
	}
	if len(units) == len(g.Units) {
		units = units[1:]
	}
	return units
}

const changes = "it changes"

// stays says why a unit cannot go, "" if it can.
func (d *constants) stays(u *Unit) string {
	ends := 0
	why := ""
	for _, x := range u.sorted() {
		for _, s := range d.sinks[x] {
			for _, k := range u.cuts[x] {
				c, ok := d.spans[s.value].constant(k)
				if !ok || d.spans[s.value].at != s.at {
					return changes
				}
				ends++
				if c != 0 && why == "" {
					why = s.cannotFold()
				}
			}
		}
	}
	switch {
	case ends == 0:
		return changes
	case u.hasState():
		return "it is constant, and a state"
	}
	return why
}

// hasState reports whether a unit is more than channels that flow from layer to
// layer: a hidden unit, a head or a place in one.
func (u *Unit) hasState() bool {
	for x := range u.cuts {
		if x.border != "" || x.value == nil && x.attr != "group" && !x.node.Is("Conv", "ConvTranspose", "Reshape") {
			return true
		}
	}
	return false
}

// cannotFold says why a constant other than zero cannot become a part of a
// bias, "" if it can.
func (s sink) cannotFold() string {
	l, ok := layerOf(s.node)
	if !ok || s.node.In(0) != s.value || s.node.Int("group", 1) != 1 {
		return fmt.Sprintf("a constant goes into %v, which has no bias for it", s.node)
	}
	if s.node.Is("Conv") && padded(s.node) || s.node.Is("ConvTranspose") {
		return fmt.Sprintf("a constant goes into %v, which pads with zeros", s.node)
	}
	w := constant(s.node.In(l.slot))
	h, _ := biasSlot(s.node)
	if w == nil || w.DType() != tensor.Float32 || s.node.Is("MatMul") && w.Rank() != 2 || h == nil || h.values(w.Shape()[l.outputs]) == nil {
		return fmt.Sprintf("a constant goes into %v, which has no bias for it", s.node)
	}
	return ""
}

// padded reports whether a convolution pads its input.
func padded(n *graph.Node) bool {
	if auto := n.Str("auto_pad", "NOTSET"); auto != "NOTSET" && auto != "VALID" {
		return true
	}
	return slices.ContainsFunc(n.Ints("pads"), func(p int64) bool { return p != 0 })
}

// fold adds what a unit gives to layers to their biases.
func (d *constants) fold(u *Unit) {
	for _, x := range u.sorted() {
		for _, s := range d.sinks[x] {
			for _, k := range u.cuts[x] {
				if c, _ := d.spans[s.value].constant(k); c != 0 {
					s.fold(k, float64(c))
				}
			}
		}
	}
}

// fold adds c times the weights that meet input k to the bias.
func (s sink) fold(k int, c float64) {
	l, _ := layerOf(s.node)
	h, _ := biasSlot(s.node)
	t := constant(s.node.In(l.slot))
	shape := t.Shape()
	outs, outer := shape[l.outputs], shape[l.outputs+1:].Len()
	ins, inner := shape[l.from], shape[l.from+1:].Len()
	b := h.values(outs)
	for i, w := range tensor.Float64s(t) {
		if i/inner%ins == k {
			b[i/outer%outs] += c * w
		}
	}
	h.set(b)
}

package nodeprune

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Inputs and outputs of a model keep their shapes: the world outside knows
// them. A state is the exception. It leaves the model to come back with the
// next call, as the hidden units of a recurrent layer or the keys and values of
// attention do, and what stands in the places of units that are cut is read by
// those units alone. So the model may compute with a smaller state, if it picks
// the places that it has kept from the state that comes in,
//
//	small = Gather(state, kept)
//
// and puts zeros back where the others were in the one that goes out:
//
//	state = Gather(Pad(small, one zero more), places)

// stateful are the attributes that count the index spaces of operators with
// states.
var stateful = []string{"hidden_size", "num_heads", "kv_num_heads", "q_num_heads"}

// closeBorder fixes the axes of inputs and outputs of the model but for
// indices of states.
func (w *web) closeBorder() {
	open := w.states()
	for _, x := range w.axes {
		if x.border == "" {
			continue
		}
		for i := range x.n {
			if !open[index{x, i}] {
				w.kill(index{x, i}, &cause{reason: article(x.border) + " of the graph"})
			}
		}
	}
}

func article(what string) string { return "it is an " + what }

// states returns the indices of inputs and outputs that are places of states:
// they go with an index of a stateful space, and every input among them has an
// output of the same shape, which goes with it in the same place.
func (w *web) states() map[index]bool {
	open := map[index]bool{}
	for _, x := range w.axes {
		if x.value != nil || !slices.Contains(stateful, x.attr) {
			continue
		}
		for i := range x.n {
			seen := w.border(index{x, i})
			if paired(seen) {
				for _, at := range seen {
					open[at] = true
				}
			}
		}
	}
	return open
}

// border returns the indices of inputs and outputs that links tie to an index.
func (w *web) border(seed index) []index {
	seen := map[index]bool{seed: true}
	queue := []index{seed}
	var list []index
	add := func(at index) {
		if !seen[at] {
			seen[at] = true
			queue = append(queue, at)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at.axis.border != "" {
			list = append(list, at)
		}
		for _, l := range at.axis.links {
			switch {
			case l.a == at.axis:
				l.images(at.i, func(k int) { add(index{l.b, k}) })
			case l.product == nil && l.covers(at.i):
				add(index{l.a, l.project(at.i)})
			}
		}
	}
	return list
}

// paired reports whether every input has an output, and every output an input.
func paired(list []index) bool {
	partner := func(x, y index) bool {
		return x.axis.border != y.axis.border && x.i == y.i && x.axis.at == y.axis.at && x.axis.n == y.axis.n &&
			len(dimsOf(x.axis.value)) == len(dimsOf(y.axis.value))
	}
	for _, x := range list {
		if !slices.ContainsFunc(list, func(y index) bool { return partner(x, y) }) {
			return false
		}
	}
	return len(list) > 0
}

// adaptBorder puts small values in the places of states that lose indices. The
// axes of a state are those of its small value from then on.
func (c *cutter) adaptBorder(g *graph.Graph) {
	for _, v := range g.Inputs() {
		small := v
		for at := range dimsOfAny(v) {
			if gone := c.gone(v, at); len(gone) > 0 {
				small = pick(g, small, at, remaining(gone, dimsOf(v)[at].Size))
			}
		}
		c.move(v, small)
	}
	for i, v := range g.Outputs() {
		whole := v
		for at := range dimsOfAny(v) {
			if gone := c.gone(v, at); len(gone) > 0 {
				whole = putBack(g, whole, at, gone, dimsOf(v)[at].Size)
			}
		}
		if whole == v {
			continue
		}
		name := v.Name()
		g.Rename(v, g.Fresh(name+"_kept"))
		g.Rename(whole, name)
		g.SetOutput(i, whole)
		whole.Type, v.Inferred = v.Type, true
	}
}

// move makes the axes of v those of w.
func (c *cutter) move(v, w *graph.Value) {
	if v == w {
		return
	}
	for at := range dimsOf(v) {
		if x := c.web.places[place{v, at}]; x != nil {
			x.value = w
			c.web.places[place{w, at}] = x
			delete(c.web.places, place{v, at})
		}
	}
	w.Type, w.Inferred = v.Type, true
}

// pick makes all readers of v read some indices of an axis of it.
func pick(g *graph.Graph, v *graph.Value, at int, list []int64) *graph.Value {
	n := graph.NewNode("", "Gather", nil, 1, graph.IntAttr("axis", int64(at)))
	n.SetIn(1, g.AddInit(v.Name()+"_kept", tensor.Vector(list...)))
	if p := v.Producer(); p != nil {
		g.InsertAfter(p, n)
	} else {
		g.InsertBefore(g.First(), n)
	}
	g.ReplaceUses(v, n.Out(0))
	n.SetIn(0, v)
	n.Out(0).Type, n.Out(0).Inferred = v.Type, true
	return n.Out(0)
}

// putBack returns v with zeros in the places that an axis of length n has lost.
func putBack(g *graph.Graph, v *graph.Value, at int, gone []int, n int) *graph.Value {
	kept := n - len(gone)
	pads := make([]int64, 2*len(dimsOf(v)))
	pads[len(pads)/2+at] = 1
	pad := graph.NewNode("", "Pad", []*graph.Value{v}, 1)
	if g.Opset("") < 11 {
		pad.SetAttr(graph.IntsAttr("pads", pads...))
	} else {
		pad.SetIn(1, g.AddInit(v.Name()+"_pads", tensor.Vector(pads...)))
	}
	g.Append(pad)
	places := make([]int64, n)
	next := int64(0)
	for i := range places {
		if _, cut := slices.BinarySearch(gone, i); cut {
			places[i] = int64(kept)
			continue
		}
		places[i] = next
		next++
	}
	gather := graph.NewNode("", "Gather", []*graph.Value{pad.Out(0), g.AddInit(v.Name()+"_places", tensor.Vector(places...))}, 1,
		graph.IntAttr("axis", int64(at)))
	return g.Append(gather).Out(0)
}

// remaining lists the indices below n that are not gone.
func remaining(gone []int, n int) []int64 {
	var list []int64
	for i := range n {
		if _, cut := slices.BinarySearch(gone, i); !cut {
			list = append(list, int64(i))
		}
	}
	return list
}

package nodeprune

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Importance of units. Every criterion gives each unit of a group one number
// for each weight that it cuts; these are put in relation to the mean of the
// group, which makes them comparable between layers of different scale, and
// aggregated.

// scorer scores the units of groups by one criterion.
type scorer struct {
	criterion string
	aggregate string
	rand      *rand.Rand
	energy    map[*graph.Value][]float64 // of the inputs of layers, by channel, for wanda
	readers   map[*axis][]layer          // layers that sum over an axis of their weight
	known     map[*graph.Node]*reader    // of obs and sensitivity
	held      int64                      // bytes that their moments take
	trials    *sampled                   // on which effects are measured; nil if none are
	measured  map[*Group][]float64       // of taylor, fisher, movement and obs
}

// scores returns the importance of every unit of a group, and whether the
// criterion could be had; else the L2 norm stands in.
func (s *scorer) scores(w *web, g *Group) (list []float64, ok bool) {
	var rows [][]float64
	switch s.criterion {
	case "random":
		list = make([]float64, len(g.Units))
		for i := range list {
			list[i] = s.rand.Float64()
		}
		return list, true
	case "wanda":
		if list = s.wanda(w, g); list != nil {
			return list, true
		}
	case "taylor", "fisher", "movement", "obs":
		if list = s.measured[g]; list != nil {
			return list, true
		}
	case "bn":
		rows = s.normScales(w, g)
	case "fpgm":
		rows = distances(w, g)
	case "l1":
		rows = norms(w, g, 1)
	}
	if ok = len(rows) > 0 || s.criterion == "l2"; len(rows) == 0 {
		rows = norms(w, g, 2)
	}
	return s.join(rows, len(g.Units)), ok
}

// join divides each row by its mean and aggregates the rows.
func (s *scorer) join(rows [][]float64, n int) []float64 {
	out := make([]float64, n)
	for _, row := range rows {
		mean := 0.0
		for _, x := range row {
			mean += x / float64(n)
		}
		if mean == 0 {
			continue
		}
		for i, x := range row {
			switch x /= mean; s.aggregate {
			case "max":
				out[i] = max(out[i], x)
			case "l2":
				out[i] += x * x
			default:
				out[i] += x
			}
		}
	}
	for i := range out {
		switch s.aggregate {
		case "mean":
			out[i] /= float64(max(len(rows), 1))
		case "l2":
			out[i] = math.Sqrt(out[i])
		}
	}
	return out
}

// matrices returns the axes of float weights of two axes or more that a group
// cuts.
func matrices(g *Group) []WeightAxis {
	return slices.DeleteFunc(slices.Clone(g.Cuts), func(c WeightAxis) bool {
		return len(dimsOf(c.Weight)) < 2
	})
}

// norms returns a row for each weight: the p-norms of what the units cut.
func norms(w *web, g *Group, p float64) [][]float64 {
	var rows [][]float64
	for _, c := range matrices(g) {
		x := w.of(c.Weight, c.Axis)
		per := sliceSums(constant(c.Weight), c.Axis, func(v float64) float64 { return math.Pow(math.Abs(v), p) })
		row := make([]float64, len(g.Units))
		for i, u := range g.Units {
			for _, k := range u.cuts[x] {
				row[i] += per[k]
			}
			row[i] = math.Pow(row[i], 1/p)
		}
		rows = append(rows, row)
	}
	return rows
}

// sliceSums sums f of the elements at each index of an axis.
func sliceSums(t *tensor.Tensor, at int, f func(float64) float64) []float64 {
	s := t.Shape()
	n, inner := s[at], s[at+1:].Len()
	sums := make([]float64, n)
	for i, v := range tensor.Float64s(t) {
		sums[i/inner%n] += f(v)
	}
	return sums
}

// normScales returns the magnitudes of the scales of batch normalizations.
// (Liu et al. 2017, Network Slimming, arXiv 1708.06519.)
func (s *scorer) normScales(w *web, g *Group) [][]float64 {
	var rows [][]float64
	for _, c := range g.Cuts {
		scale := slices.ContainsFunc(c.Weight.Uses(), func(u graph.Use) bool {
			return u.Node.Is("BatchNormalization") && u.Index == 1
		})
		if !scale {
			continue
		}
		x, t := w.of(c.Weight, c.Axis), tensor.Float64s(constant(c.Weight))
		row := make([]float64, len(g.Units))
		for i, u := range g.Units {
			for _, k := range u.cuts[x] {
				row[i] += math.Abs(t[k])
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// distances returns a row for each weight: how far what a unit cuts is from
// what the others cut, in sum. What lies in the middle can be replaced by
// them. (He et al. 2019, FPGM, arXiv 1811.00250.)
func distances(w *web, g *Group) [][]float64 {
	var rows [][]float64
	for _, c := range matrices(g) {
		x := w.of(c.Weight, c.Axis)
		vectors := make([][]float64, len(g.Units))
		for i, u := range g.Units {
			vectors[i] = slicesAt(constant(c.Weight), c.Axis, u.cuts[x])
		}
		row := make([]float64, len(g.Units))
		for i := range vectors {
			for k := range i {
				d := 0.0
				for e, v := range vectors[i] {
					d += (v - vectors[k][e]) * (v - vectors[k][e])
				}
				d = math.Sqrt(d)
				row[i] += d
				row[k] += d
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// slicesAt returns the elements at some indices of an axis.
func slicesAt(t *tensor.Tensor, at int, list []int) []float64 {
	s := t.Shape()
	n, inner := s[at], s[at+1:].Len()
	x := tensor.Float64s(t)
	var out []float64
	for o := range s[:at].Len() {
		for _, k := range list {
			out = append(out, x[(o*n+k)*inner:][:inner]...)
		}
	}
	return out
}

// wanda scores a unit by the share that it has in what the layers after it
// sum up: the energy of an input channel times that of the weights it meets,
// over all channels of the layer. (After Sun et al. 2023, Wanda, arXiv
// 2306.11695.) It returns nil if no layer reads the group.
func (s *scorer) wanda(w *web, g *Group) []float64 {
	out := make([]float64, len(g.Units))
	found := false
	for _, c := range g.Cuts {
		x := w.of(c.Weight, c.Axis)
		for _, l := range s.readers[x] {
			energy := s.energy[l.node.In(0)]
			if len(energy) != x.n {
				continue
			}
			found = true
			per := sliceSums(constant(c.Weight), c.Axis, func(v float64) float64 { return v * v })
			total := 0.0
			for k, e := range per {
				per[k] = e * energy[k]
				total += per[k]
			}
			for i, u := range g.Units {
				for _, k := range u.cuts[x] {
					out[i] += per[k] / max(total, 1e-30)
				}
			}
		}
	}
	if !found {
		return nil
	}
	return out
}

// findReaders lists the layers that sum over each axis of a constant weight.
func (g *Groups) findReaders() map[*axis][]layer {
	readers := map[*axis][]layer{}
	for n := range g.model.Nodes(graph.InMain | graph.InSubgraphs) {
		l, ok := layerOf(n)
		if !ok || n.Int("group", 1) != 1 || constant(n.In(l.slot)) == nil {
			continue
		}
		x := g.web.of(n.In(l.slot), l.from)
		readers[x] = append(readers[x], l)
	}
	return readers
}

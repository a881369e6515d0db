package distill

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// pair is a hidden value of the student with that of the teacher that it is
// to be like.
type pair struct{ student, teacher string }

// parsePairs reads pairs as "student=teacher", or as one name for both.
func parsePairs(list []string) []pair {
	var pairs []pair
	for _, text := range list {
		s, t, ok := strings.Cut(text, "=")
		if !ok {
			t = s
		}
		pairs = append(pairs, pair{s, t})
	}
	return pairs
}

// matchStages pairs, for each extent of feature maps (or of sequences) that
// both models have, the last value of that extent in the one with the last in
// the other. The one that is the last of all is left out: it is next to the
// logits, which are compared themselves.
func matchStages(student, teacher *graph.Model, s dataset.Sample) []pair {
	a, b := stages(opened(student, s)), stages(opened(teacher, s))
	var pairs []pair
	for _, x := range a {
		for _, y := range b {
			if x.extent == y.extent {
				pairs = append(pairs, pair{x.value, y.value})
			}
		}
	}
	return pairs
}

// matchBlocks is matchStages and, where both models have a value of one name
// and extent at the beginning or end of a residual block, as a student that was
// made from its teacher does, these too. Pairs stand in the order of the
// student.
func matchBlocks(student, teacher *graph.Model, s dataset.Sample) []pair {
	a, b := opened(student, s), opened(teacher, s)
	pairs := matchStages(student, teacher, s)
	for _, block := range residualBlocks(a) {
		for _, v := range []*graph.Value{block.skip, block.sum.Out(0)} {
			p := pair{v.Name(), v.Name()}
			t := b.Graph.Value(v.Name())
			if t == nil || t.Type == nil || extentOf(v.Type.Shape) == "" || extentOf(v.Type.Shape) != extentOf(t.Type.Shape) || v.Producer() == nil {
				continue
			}
			if !slices.ContainsFunc(pairs, func(q pair) bool { return q.student == p.student }) {
				pairs = append(pairs, p)
			}
		}
	}
	at := map[string]int{}
	for n := range a.Graph.Nodes() {
		for _, v := range n.Outs() {
			if v != nil {
				at[v.Name()] = len(at)
			}
		}
	}
	slices.SortFunc(pairs, func(p, q pair) int { return cmp.Compare(at[p.student], at[q.student]) })
	return pairs
}

type stage struct{ extent, value string }

// stages lists the extents of values [N,C,…] of at least four axes, or of
// sequences [N,T,C], in order, each with the last value that has it.
func stages(m *graph.Model) []stage {
	var list []stage
	for n := range m.Graph.Nodes() {
		v := n.Out(0)
		if v == nil || v.Type == nil || v.Type.Kind != graph.KindTensor || v.Type.Elem != tensor.Float32 {
			continue
		}
		extent := extentOf(v.Type.Shape)
		if extent == "" {
			continue
		}
		at := slices.IndexFunc(list, func(s stage) bool { return s.extent == extent })
		if at < 0 {
			list = append(list, stage{extent, v.Name()})
		} else {
			list[at].value = v.Name()
		}
	}
	return list
}

// extentOf returns what two values have to share to be compared place by
// place, "" if they are no maps.
func extentOf(d graph.Dims) string {
	switch {
	case len(d) >= 4:
		d = d[2:]
	case len(d) == 3:
		d = d[1:2]
	default:
		return ""
	}
	s, ok := d.Static()
	if !ok || s.Len() <= 1 {
		return ""
	}
	return fmt.Sprint(len(d), s)
}

// hidden is the mean squared difference of a hidden value and its teacher's,
// over the teacher's mean square, so that layers of different magnitude count
// alike. Channels that the student has inherited (see anchor) are compared with
// their own; else, where the numbers of channels differ, a linear projection of
// the student's channels is learned beside (Romero et al. 2015, FitNets).
func (i *imitation) hidden(p pair, weight float64) train.Term {
	return train.Term{Name: "hidden " + p.student, Weight: weight, Feed: i.teacher.feeds, Build: func(s *train.Scope) (*graph.Value, error) {
		x, t, err := i.pair(s, p)
		if err != nil {
			return nil, err
		}
		if at := i.inherited[p.student]; at != nil {
			axis := channelAxis(len(i.teacher.shapes[p.teacher]) + 1)
			t = s.OpAttrs("Gather", []*graph.Attr{graph.IntAttr("axis", axis)}, t, s.Const("inherited/"+p.student, tensor.Of(tensor.Shape{len(at)}, at)))
		} else if x, err = i.project(s, p, x, i.teacher.shapes[p.teacher]); err != nil {
			return nil, err
		}
		energy := s.Mean(s.Op("Mul", t, t))
		return s.Op("Div", s.MeanSquare(x, t), s.Op("Add", energy, s.Number(1e-6))), nil
	}}
}

// attention compares where the two look: the mean over channels of the
// squares, scaled to unit length (Zagoruyko and Komodakis 2017).
func (i *imitation) attention(p pair, weight float64) train.Term {
	return train.Term{Name: "attention " + p.student, Weight: weight, Feed: i.teacher.feeds, Build: func(s *train.Scope) (*graph.Value, error) {
		x, t, err := i.pair(s, p)
		if err != nil {
			return nil, err
		}
		channel := channelAxis(len(i.teacher.shapes[p.teacher]) + 1)
		d := s.Op("Sub", attentionMap(s, x, channel), attentionMap(s, t, channel))
		return s.Mean(s.Sum(s.Op("Mul", d, d), false, 1)), nil
	}}
}

// channelAxis is where the channels of a value with so many axes are.
func channelAxis(rank int) int64 {
	if rank == 3 {
		return 2
	}
	return 1
}

func attentionMap(s *train.Scope, x *graph.Value, channel int64) *graph.Value {
	x = s.Sum(s.Op("Mul", x, x), true, channel)
	x = s.OpAttrs("Flatten", []*graph.Attr{graph.IntAttr("axis", 1)}, x)
	norm := s.Op("Sqrt", s.Op("Add", s.Sum(s.Op("Mul", x, x), true, 1), s.Number(1e-12)))
	return s.Op("Div", x, norm)
}

// pair returns the two values, of which all dimensions but the channels must
// agree.
func (i *imitation) pair(s *train.Scope, p pair) (x, t *graph.Value, err error) {
	if x, err = s.Value(p.student); err != nil {
		return nil, nil, fmt.Errorf("student: %w", err)
	}
	have, err := s.Shape(x)
	if err != nil {
		return nil, nil, err
	}
	want := i.teacher.shapes[p.teacher]
	c := int(channelAxis(len(want)+1)) - 1
	same := len(have) == len(want)
	for k := range min(len(have), len(want)) {
		same = same && (k == c || have[k] == want[k])
	}
	if !same {
		return nil, nil, fmt.Errorf("the student's %q is %v, the teacher's %q %v: want the same but for the channels", p.student, have, p.teacher, want)
	}
	s.FeedAll(i.teacher.shapes, feedName)
	return x, s.Feed(feedName(p.teacher), tensor.Float32, want), nil
}

// macsOf returns the multiply-accumulates of m for one sample.
func macsOf(m *graph.Model, s dataset.Sample) int64 {
	var total int64
	for _, macs := range macsByNode(m, s) {
		total += macs
	}
	return total
}

// macsByNode returns the multiply-accumulates of each node of m for one
// sample, in the order of the nodes of the main graph and its subgraphs.
func macsByNode(m *graph.Model, s dataset.Sample) []int64 {
	c := m.Clone()
	op.InferModel(c, op.InferOptions{Inputs: op.TypesOf(s.Feeds)})
	var list []int64
	for n := range c.Nodes(graph.InMain | graph.InSubgraphs) {
		list = append(list, op.CostOf(n).MACs)
	}
	return list
}

package quantize

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// Equalize rescales the channels between two convolutions so that one scale
// for all of them serves each.
var Equalize = passes.Define(passes.Pass{
	Name: "equalize-channels",
	Doc: `rescale the channels between two convolutions to like ranges

One scale serves all channels of an activation, so a channel of small numbers
gets few of its levels. Where nothing but a Relu or a Clip stands between two
convolutions, a factor k for each channel moves from one to the other:

	a = Conv (x, W, b)        a = Conv (x, k*W, k*b)
	r = Relu (a)          =>  r = Relu (a)
	y = Conv (r, V)           y = Conv (r, V/k)

A depthwise V has a scale of its own for each channel: k gives every channel
the range of the largest. Else k balances the range of a channel with that of
the weights that read it, which share their scales (Nagel et al. 2019, arXiv
1906.04721, section 4.1). A Clip keeps its upper bound; k is at least 1 and
takes no number that calibration saw beyond it, so that only numbers larger than
all that were seen are clipped lower than before.`,
	Kind:  passes.Lossy,
	Needs: passes.Calibration,
}, EqualizeOptions{Limit: 32}, runEqualize)

// EqualizeOptions are the options of [Equalize].
type EqualizeOptions struct {
	Limit float64 `opt:"limit" help:"channels with less than this fraction, as 1/limit, of the largest range are left"`
}

// Validate reports an option out of range.
func (o EqualizeOptions) Validate() error {
	if o.Limit < 1 || math.IsNaN(o.Limit) || o.Limit > 1<<20 {
		return fmt.Errorf("option \"limit\": got %v, want 1 to %d", o.Limit, 1<<20)
	}
	return nil
}

func runEqualize(j *passes.Job, o EqualizeOptions) error {
	var links []*link
	var values []*graph.Value
	peaks := map[*graph.Value]*channelPeaks{}
	for n := range j.Model.Graph.Nodes() {
		l, why := linkAfter(n)
		switch {
		case why != "":
			j.Skip(n, "%s", why)
		case l != nil:
			links, values = append(links, l), append(values, l.value)
			peaks[l.value] = &channelPeaks{}
		}
	}
	if len(links) == 0 {
		j.Note("there are no two convolutions with nothing but a Relu or Clip between them")
		return nil
	}
	err := j.Observe(values, func(v *graph.Value, t *tensor.Tensor) { peaks[v].add(t) })
	if err != nil {
		return err
	}
	for _, l := range links {
		if k := l.factors(peaks[l.value].max, o.Limit); k != nil {
			l.rescale(k)
			j.Changed(1)
		}
	}
	return nil
}

// link is two convolutions and the value that goes from one to the other.
type link struct {
	first, second *graph.Node
	value         *graph.Value // what second reads
	bound         float64      // of a Clip between them, infinite if there is none
}

// linkAfter returns the link that begins with n, nil if there is none, and why
// one between two convolutions cannot be rescaled.
func linkAfter(n *graph.Node) (*link, string) {
	if !n.Is("Conv") {
		return nil, ""
	}
	l := &link{first: n, value: n.Out(0), bound: math.Inf(1)}
	u, ok := l.value.SoleUse()
	lo := 0.0
	if ok && u.Index == 0 && isBound(u.Node) {
		lo, l.bound, _ = boundOf(u.Node)
		l.value = u.Node.Out(0)
		u, ok = l.value.SoleUse()
	}
	if !ok || u.Index != 0 || !u.Node.Is("Conv") || u.Node.Graph() != n.Graph() {
		return nil, ""
	}
	l.second = u.Node
	for _, m := range []*graph.Node{l.first, l.second} {
		if why := unfit(m); why != "" {
			return nil, fmt.Sprintf("%v: %s", m, why)
		}
	}
	if lo != 0 || l.bound <= 0 {
		return nil, "the Clip that follows has a lower bound other than zero"
	}
	return l, ""
}

// factors returns the factor, at least 1, of each channel whose largest
// magnitude is given, nil if all of them are 1. Channels with less than
// 1/limit of the range were hardly seen in use and keep theirs.
func (l *link) factors(seen []float64, limit float64) []float64 {
	top := l.bound
	if math.IsInf(top, 1) {
		top = slices.Max(seen)
	}
	readers := l.readers()
	k, changes := make([]float64, len(seen)), false
	for c := range k {
		k[c] = 1
	}
	for range 16 { // as factors change, so does the largest reader
		strongest, settled := 0.0, true
		for c := range k {
			strongest = max(strongest, readers[c]/k[c])
		}
		for c := range k {
			if seen[c]*limit < top || readers[c] == 0 {
				continue
			}
			f := top / (seen[c] * k[c])
			if strongest > 0 && !l.depthwise() {
				f = min(f, math.Sqrt(f*readers[c]/k[c]/strongest))
			}
			if f = roundDown(f); f > 1+1.0/32 {
				k[c] *= f
				changes, settled = true, false
			}
		}
		if settled {
			break
		}
	}
	if !changes {
		return nil
	}
	return k
}

func (l *link) depthwise() bool { return isDepthwise(l.second, l.second.In(1).Init.Tensor) }

// readers returns the largest magnitude of the weights that read each channel.
func (l *link) readers() []float64 {
	w := l.second.In(1).Init.Tensor
	largest := make([]float64, l.first.In(1).Init.Tensor.Shape()[0])
	in := inputOf(l.second, w)
	for i, x := range tensor.Float64s(w) {
		largest[in(i)] = max(largest[in(i)], math.Abs(x))
	}
	return largest
}

// roundDown rounds a positive number down to seven significant bits, so that
// it does not depend on the last bits of the numbers observed.
func roundDown(x float64) float64 {
	f, e := math.Frexp(x)
	return math.Ldexp(math.Floor(f*128)/128, e)
}

// rescale multiplies what the first convolution gives out by k and divides the
// weight of the second by it.
func (l *link) rescale(k []float64) {
	w := l.first.In(1).Init.Tensor
	out, _ := channelOf(w.Shape(), 0)
	scale(l.first, 1, func(i int) float64 { return k[out(i)] })
	if l.first.NumIn() > 2 && l.first.In(2) != nil {
		scale(l.first, 2, func(i int) float64 { return k[i] })
	}
	in := inputOf(l.second, l.second.In(1).Init.Tensor)
	scale(l.second, 1, func(i int) float64 { return 1 / k[in(i)] })
}

// scale gives n a copy of the constant input i whose elements are multiplied
// by f.
func scale(n *graph.Node, i int, f func(i int) float64) {
	old := n.In(i)
	x := tensor.Float64s(old.Init.Tensor)
	for i := range x {
		x[i] *= f(i)
	}
	g := n.Graph()
	n.SetIn(i, g.AddInit(g.Fresh(old.Name()+"_equalized"), tensor.FromFloat64s(old.Init.Tensor.DType(), old.Init.Tensor.Shape(), x)))
	if !old.Used() && !old.IsInput() {
		old.Graph().DropInit(old)
	}
}

// channelPeaks are the largest magnitudes of a value's channels, which lie on
// its second axis.
type channelPeaks struct{ max []float64 }

func (p *channelPeaks) add(t *tensor.Tensor) {
	n, run := t.Shape()[1], t.Shape()[2:].Len()
	if p.max == nil {
		p.max = make([]float64, n)
	}
	x := tensor.Data[float32](t)
	for c := 0; len(x) > 0 && run > 0; c = (c + 1) % n {
		for _, v := range x[:run] {
			p.max[c] = max(p.max[c], math.Abs(float64(v)))
		}
		x = x[run:]
	}
}

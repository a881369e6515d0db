package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// privateCTCDefs are connectionist temporal classification (Graves et al.
// 2006) and its gradient:
//
//	CTCLoss (logp, targets)             [N] losses
//	CTCLossGrad (dloss, logp, targets)  [N,T,C], the gradient by logp
//
// logp [N,T,C] holds logarithms of probabilities; targets [N,S] holds labels
// as [CTCTarget] reads them. The attribute blank is the class between labels,
// 0 by default. The loss of a sample is -log p(target) over the number of its
// labels, or over 1 if it has none. Both calculate in float64.
var privateCTCDefs = []*Def{
	{Domain: PrivateDomain, Name: "CTCLoss", Since: 1, Infer: inferCTC, Eval: evalCTC, Cost: perInput(14)},
	{Domain: PrivateDomain, Name: "CTCLossGrad", Since: 1, Infer: inferCTCGrad, Eval: evalCTCGrad, Cost: perElement(42)},
}

// gradCTCRules hold the gradient of CTCLoss.
var gradCTCRules = map[opName]func(*Grad) error{
	{PrivateDomain, "CTCLoss"}: func(g *Grad) error {
		g.Set(0, g.Private("CTCLossGrad", g.attrs(), g.DOut[0], g.In[0], g.In[1]))
		return nil
	},
}

func inferCTC(c *Infer) error {
	var losses graph.Dims
	if s := c.Shape(0); len(s) == 3 {
		losses = s[:1]
	}
	c.SetOut(0, c.Elem(0), losses)
	return nil
}

func inferCTCGrad(c *Infer) error {
	c.SetOut(0, c.Elem(1), c.Shape(1))
	return nil
}

// CTCTarget returns the labels of a row of targets: what is left without the
// elements at its end that are -1 or blank. The error says which label is not
// a class other than blank, or that no path of so many frames shows them all:
// each takes a frame, and one more where it equals the label before it.
func CTCTarget(row []int64, frames, classes, blank int) ([]int64, error) {
	n := len(row)
	for n > 0 && (row[n-1] == -1 || row[n-1] == int64(blank)) {
		n--
	}
	target, need := row[:n], n
	for i, label := range target {
		switch {
		case label < 0 || label >= int64(classes):
			return nil, fmt.Errorf("label %d (element %d) is outside [0,%d]", label, i, classes-1)
		case label == int64(blank):
			return nil, fmt.Errorf("label %d (element %d) is the blank, in front of other labels", label, i)
		case i > 0 && label == target[i-1]:
			need++
		}
	}
	if need > frames {
		return nil, fmt.Errorf("%d labels need at least %d frames, the output has %d: the loss is infinite", n, need, frames)
	}
	return target, nil
}

// ctc is a sample of a CTC loss. A path goes through its states, of which
// every other one is the blank, from the first or second to one of the last
// two; from a state it goes on to the same, the next or, past a blank between
// different labels, the one after.
type ctc struct {
	logp    []float64 // [frames, classes]
	frames  int
	classes int
	labels  int   // of the target
	states  []int // class of each: blank, label, blank, …, label, blank
}

// ctcSamples reads logp and targets from inputs i and i+1.
func ctcSamples(e *Eval, i int) ([]ctc, error) {
	s, t := e.Tensor(i).Shape(), e.Tensor(i+1).Shape()
	if len(s) != 3 || s[1] < 1 || s[2] < 1 {
		return nil, e.Errorf(i, "want the shape [samples, frames, classes]")
	}
	if len(t) != 2 || t[0] != s[0] {
		return nil, e.Errorf(i+1, "want the shape [%d, labels]", s[0])
	}
	blank := e.Node.Int("blank", 0)
	if blank < 0 || blank >= int64(s[2]) {
		return nil, fmt.Errorf("attribute blank is %d, want one of %d classes", blank, s[2])
	}
	logp, rows := tensor.Float64s(e.Tensor(i)), tensor.Int64s(e.Tensor(i+1))
	samples := make([]ctc, s[0])
	for n := range samples {
		target, err := CTCTarget(rows[n*t[1]:(n+1)*t[1]], s[1], s[2], int(blank))
		if err != nil {
			return nil, e.Errorf(i+1, "row %d: %v", n, err)
		}
		states := []int{int(blank)}
		for _, label := range target {
			states = append(states, int(label), int(blank))
		}
		samples[n] = ctc{logp[n*s[1]*s[2] : (n+1)*s[1]*s[2]], s[1], s[2], len(target), states}
	}
	return samples, nil
}

// at is the logarithm of the probability of a state at a frame.
func (c *ctc) at(frame, state int) float64 { return c.logp[frame*c.classes+c.states[state]] }

// skips reports whether paths go from the state before the last one to this.
func (c *ctc) skips(state int) bool {
	return state >= 2 && state%2 == 1 && c.states[state] != c.states[state-2]
}

// forward returns the logarithms of the probabilities of all beginnings of
// paths that end in a state at a frame, with that frame: [frames, states].
func (c *ctc) forward() []float64 {
	n := len(c.states)
	a := make([]float64, c.frames*n)
	for s := range n {
		if a[s] = math.Inf(-1); s < 2 {
			a[s] = c.at(0, s)
		}
	}
	for t := 1; t < c.frames; t++ {
		last, now := a[(t-1)*n:t*n], a[t*n:(t+1)*n]
		for s := range n {
			sum := last[s]
			if s > 0 {
				sum = logAdd(sum, last[s-1])
			}
			if c.skips(s) {
				sum = logAdd(sum, last[s-2])
			}
			now[s] = sum + c.at(t, s)
		}
	}
	return a
}

// backward returns the same of the ends of paths that begin in a state at a
// frame, without that frame.
func (c *ctc) backward() []float64 {
	n := len(c.states)
	b := make([]float64, c.frames*n)
	for s := range n {
		if s < n-2 {
			b[(c.frames-1)*n+s] = math.Inf(-1)
		}
	}
	for t := c.frames - 2; t >= 0; t-- {
		next, now := b[(t+1)*n:(t+2)*n], b[t*n:(t+1)*n]
		for s := range n {
			sum := next[s] + c.at(t+1, s)
			if s+1 < n {
				sum = logAdd(sum, next[s+1]+c.at(t+1, s+1))
			}
			if s+2 < n && c.skips(s+2) {
				sum = logAdd(sum, next[s+2]+c.at(t+1, s+2))
			}
			now[s] = sum
		}
	}
	return b
}

// total is the logarithm of the probability of the target.
func (c *ctc) total(forward []float64) float64 {
	ends := forward[(c.frames-1)*len(c.states):]
	if len(ends) == 1 {
		return ends[0]
	}
	return logAdd(ends[len(ends)-1], ends[len(ends)-2])
}

// gradient sets dst [frames, classes] to that of the loss by logp, times
// dloss: minus the share of the paths that show a class at a frame.
func (c *ctc) gradient(dst []float64, dloss float64) {
	a, b, n := c.forward(), c.backward(), len(c.states)
	total := c.total(a)
	scale := dloss / float64(max(c.labels, 1))
	for t := range c.frames {
		for s, class := range c.states {
			dst[t*c.classes+class] -= scale * math.Exp(a[t*n+s]+b[t*n+s]-total)
		}
	}
}

// logAdd is log(exp(a) + exp(b)).
func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

func evalCTC(e *Eval) error {
	samples, err := ctcSamples(e, 0)
	if err != nil {
		return err
	}
	losses := make([]float64, len(samples))
	e.Parallel(len(samples), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			c := &samples[i]
			losses[i] = -c.total(c.forward()) / float64(max(c.labels, 1))
		}
	})
	if i := slices.Index(losses, math.Inf(1)); i >= 0 {
		return e.Errorf(0, "row %d: the labels have probability zero: the loss is infinite", i)
	}
	e.SetOut(0, tensor.FromFloat64s(e.Tensor(0).DType(), tensor.Shape{len(samples)}, losses))
	return nil
}

func evalCTCGrad(e *Eval) error {
	samples, err := ctcSamples(e, 1)
	if err != nil {
		return err
	}
	dloss := tensor.Float64s(e.Tensor(0))
	if len(dloss) != len(samples) {
		return e.Errorf(0, "want one gradient for each of %d losses", len(samples))
	}
	s := e.Tensor(1).Shape()
	out := make([]float64, s.Len())
	e.Parallel(len(samples), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := s[1] * s[2]
			samples[i].gradient(out[i*row:(i+1)*row], dloss[i])
		}
	})
	e.SetOut(0, tensor.FromFloat64s(e.Tensor(1).DType(), s, out))
	return nil
}

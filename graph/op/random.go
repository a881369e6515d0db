package op

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// randomDefs holds random operators.
var randomDefs = []*Def{
	{Name: "Bernoulli", Since: 15, Infer: inferLike, Eval: evalBernoulli, Effects: true},
	{Name: "Multinomial", Since: 7, Infer: inferMultinomial, Eval: evalMultinomial, Effects: true},
	{Name: "RandomNormal", Since: 1, Infer: inferRandom, Eval: evalRandom(normal), Effects: true},
	{Name: "RandomNormalLike", Since: 1, Infer: inferLike, Eval: evalRandomLike(normal), Effects: true},
	{Name: "RandomUniform", Since: 1, Infer: inferRandom, Eval: evalRandom(uniform), Effects: true},
	{Name: "RandomUniformLike", Since: 1, Infer: inferLike, Eval: evalRandomLike(uniform), Effects: true},
}

// source returns the random numbers of a call: those of its seed attribute,
// the same at every call, or those of the run.
func (e *Eval) source() *rand.Rand {
	if e.Node.Attr("seed") != nil || e.Rand == nil {
		return rand.New(rand.NewPCG(uint64(math.Float32bits(e.Node.Float("seed", 0))), 0))
	}
	return e.Rand
}

// distribution draws numbers as the attributes of a call describe them.
type distribution func(c *Call, r *rand.Rand) func() float64

func normal(c *Call, r *rand.Rand) func() float64 {
	mean, scale := float64(c.Node.Float("mean", 0)), float64(c.Node.Float("scale", 1))
	return func() float64 { return mean + scale*r.NormFloat64() }
}

func uniform(c *Call, r *rand.Rand) func() float64 {
	low, high := float64(c.Node.Float("low", 0)), float64(c.Node.Float("high", 1))
	return func() float64 { return low + (high-low)*r.Float64() }
}

// draw sets result 0 to numbers from f.
func (e *Eval) draw(d tensor.DType, s tensor.Shape, f func() float64) error {
	if err := s.Check(); err != nil {
		return err
	}
	x := make([]float64, s.Len())
	for i := range x {
		x[i] = f()
	}
	e.SetOut(0, tensor.FromFloat64s(d, s, x))
	return nil
}

// randomType returns the dtype attribute, def if it is absent.
func randomType(c *Call, def tensor.DType) (tensor.DType, error) {
	n := c.Node.Int("dtype", int64(def))
	if d := tensor.DType(n); n > 0 && n < 256 && d.Valid() && d != tensor.String && !d.IsComplex() {
		return d, nil
	}
	return 0, fmt.Errorf("attribute dtype is %d, want the number of a type of real numbers", n)
}

func evalRandom(dist distribution) func(*Eval) error {
	return func(e *Eval) error {
		d, err := randomType(&e.Call, tensor.Float32)
		if err != nil {
			return err
		}
		return e.draw(d, toInts(e.Node.Ints("shape")), dist(&e.Call, e.source()))
	}
}

func evalRandomLike(dist distribution) func(*Eval) error {
	return func(e *Eval) error {
		d, err := randomType(&e.Call, e.Tensor(0).DType())
		if err != nil {
			return err
		}
		return e.draw(d, e.Tensor(0).Shape(), dist(&e.Call, e.source()))
	}
}

func evalBernoulli(e *Eval) error {
	p, err := e.realInput()
	if err != nil {
		return err
	}
	d, err := randomType(&e.Call, e.Tensor(0).DType())
	if err != nil {
		return err
	}
	r, i := e.source(), -1
	return e.draw(d, e.Tensor(0).Shape(), func() float64 {
		if i++; r.Float64() < p[i] {
			return 1
		}
		return 0
	})
}

func evalMultinomial(e *Eval) error {
	x, err := e.samples()
	if err != nil {
		return err
	}
	d, err := randomType(&e.Call, tensor.Int32)
	if err != nil {
		return err
	}
	n := int(e.Node.Int("sample_size", 1))
	if n < 0 || x.features == 0 {
		return e.Errorf(0, "%d samples of %d outcomes", n, x.features)
	}
	r, i := e.source(), -1
	var sums []float64
	return e.draw(d, tensor.Shape{x.n, n}, func() float64 {
		if i++; i%n == 0 {
			sums = cumulative(x.row(i / n))
		}
		return float64(outcome(sums, r.Float64()))
	})
}

// cumulative returns the running sums of the probabilities that unnormalised
// log-probabilities stand for.
func cumulative(logits []float64) []float64 {
	p := append([]float64{}, logits...)
	softmax64(p)
	for i := 1; i < len(p); i++ {
		p[i] += p[i-1]
	}
	return p
}

// outcome returns the first place whose running sum exceeds u.
func outcome(sums []float64, u float64) int {
	for i, s := range sums {
		if u < s {
			return i
		}
	}
	return len(sums) - 1
}

func inferRandom(c *Infer) error {
	d, err := randomType(&c.Call, tensor.Float32)
	if err != nil {
		return err
	}
	c.SetOut(0, d, dimsOfInts(c.Node.Ints("shape")))
	return nil
}

func inferLike(c *Infer) error {
	def := c.Elem(0)
	if def == tensor.Undefined && c.Node.Attr("dtype") == nil {
		return nil
	}
	d, err := randomType(&c.Call, def)
	if err != nil {
		return err
	}
	c.SetOut(0, d, c.Shape(0))
	return nil
}

func inferMultinomial(c *Infer) error {
	d, err := randomType(&c.Call, tensor.Int32)
	if err != nil {
		return err
	}
	c.SetOut(0, d, graph.Dims{c.batch(), graph.Known(int(max(0, c.Node.Int("sample_size", 1))))})
	return nil
}

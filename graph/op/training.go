package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

const trainingDomain = "ai.onnx.preview.training"

// trainingDefs holds operators of ai.onnx.preview.training. Their inputs are
// the learning rate, the number of updates so far, and then groups of equally
// many tensors: parameters, gradients and the states of the method.
var trainingDefs = []*Def{
	{Domain: trainingDomain, Name: "Adagrad", Since: 1, Infer: inferOptimizer(3), Eval: evalOptimizer(3, newAdagrad)},
	{Domain: trainingDomain, Name: "Adam", Since: 1, Infer: inferOptimizer(4), Eval: evalOptimizer(4, newAdam)},
	{Domain: trainingDomain, Name: "Momentum", Since: 1, Infer: inferOptimizer(3), Eval: evalOptimizer(3, newMomentum)},
}

// update changes one element: v holds a parameter, its gradient and states,
// and receives the new parameter in place of the gradient and new states.
type update func(v []float64)

// evalOptimizer evaluates an optimizer with the given number of tensors for
// each parameter. Results are the new parameters, then each state.
func evalOptimizer(groups int, method func(c *Call, rate, step float64) (update, error)) func(*Eval) error {
	return func(e *Eval) error {
		n := (len(e.In) - 2) / groups
		if len(e.In) < 2+groups || (len(e.In)-2)%groups != 0 {
			return fmt.Errorf("%d inputs, want 2 and groups of %d", len(e.In), groups)
		}
		rate, err := e.number(0)
		if err != nil {
			return err
		}
		step, err := e.number(1)
		if err != nil {
			return err
		}
		f, err := method(&e.Call, rate, step)
		if err != nil {
			return err
		}
		for i := range n {
			if err := e.updateParameter(i, n, groups, f); err != nil {
				return err
			}
		}
		return nil
	}
}

// number returns input i, one number.
func (e *Eval) number(i int) (float64, error) {
	t := e.Tensor(i)
	if t == nil || t.Len() != 1 || t.DType() == tensor.String || t.DType().IsComplex() {
		return 0, e.Errorf(i, "want one number")
	}
	return tensor.Float64s(t)[0], nil
}

// updateParameter computes parameter i of n with its states.
func (e *Eval) updateParameter(i, n, groups int, f update) error {
	first := e.Tensor(2 + i)
	in, out := make([][]float64, groups), make([][]float64, groups)
	for g := range groups {
		t := e.Tensor(2 + g*n + i)
		if t == nil || !t.DType().IsFloat() || !t.Shape().Equal(first.Shape()) {
			return e.Errorf(2+g*n+i, "want floats of shape %v", first.Shape())
		}
		in[g], out[g] = tensor.Float64s(t), make([]float64, t.Len())
	}
	v := make([]float64, groups)
	for k := range in[0] {
		for g := range v {
			v[g] = in[g][k]
		}
		f(v)
		for g := range v {
			out[g][k] = v[g]
		}
	}
	for g := 1; g < groups; g++ { // v[1] is the new parameter
		e.SetOut((g-1)*n+i, tensor.FromFloat64s(first.DType(), first.Shape(), out[g]))
	}
	return nil
}

func newAdagrad(c *Call, rate, step float64) (update, error) {
	decay, eps, norm := attr64(c, "decay_factor", 0), attr64(c, "epsilon", 1e-6), attr64(c, "norm_coefficient", 0)
	rate /= 1 + step*decay
	return func(v []float64) {
		x, g, h := v[0], v[1], v[2]
		g += norm * x
		h += g * g
		v[1], v[2] = x-rate*g/(math.Sqrt(h)+eps), h
	}, nil
}

func newAdam(c *Call, rate, step float64) (update, error) {
	alpha, beta, eps := attr64(c, "alpha", 0.9), attr64(c, "beta", 0.999), attr64(c, "epsilon", 1e-6)
	norm, after := attr64(c, "norm_coefficient", 0), attr64(c, "norm_coefficient_post", 0)
	if step > 0 {
		rate *= math.Sqrt(1-math.Pow(beta, step)) / (1 - math.Pow(alpha, step))
	}
	return func(v []float64) {
		x, g, m, h := v[0], v[1], v[2], v[3]
		g += norm * x
		m = alpha*m + (1-alpha)*g
		h = beta*h + (1-beta)*g*g
		x -= rate * m / (math.Sqrt(h) + eps)
		v[1], v[2], v[3] = (1-after)*x, m, h
	}, nil
}

func newMomentum(c *Call, rate, step float64) (update, error) {
	alpha, beta, norm := attr64(c, "alpha", 0), attr64(c, "beta", 0), attr64(c, "norm_coefficient", 0)
	if step == 0 {
		beta = 1
	}
	mode := c.Node.Str("mode", "standard")
	if mode != "standard" && mode != "nesterov" {
		return nil, fmt.Errorf("attribute mode is %q, want standard or nesterov", mode)
	}
	return func(v []float64) {
		x, g, m := v[0], v[1], v[2]
		g += norm * x
		m = alpha*m + beta*g
		if mode == "standard" {
			g = m
		} else {
			g += alpha * m
		}
		v[1], v[2] = x-rate*g, m
	}, nil
}

func attr64(c *Call, name string, def float32) float64 { return float64(c.Node.Float(name, def)) }

// inferOptimizer returns the rule of an optimizer with the given number of
// tensors for each parameter.
func inferOptimizer(groups int) func(*Infer) error {
	return func(c *Infer) error {
		n := (len(c.In) - 2) / groups
		for i := range c.Out {
			if g := i % max(n, 1); n > 0 && 2+g < len(c.In) && c.In[2+g] != nil {
				c.SetType(i, c.In[2+g])
			}
		}
		return nil
	}
}

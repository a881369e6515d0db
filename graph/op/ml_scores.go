package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

const mlDomain = "ai.onnx.ml"

// scoreTransform is what an ai.onnx.ml model does to its scores at last.
type scoreTransform uint8

// The transforms, in the order of TreeEnsemble's post_transform numbers.
const (
	scoreNone scoreTransform = iota
	scoreSoftmax
	scoreLogistic
	scoreSoftmaxZero
	scoreProbit
)

var scoreNames = map[string]scoreTransform{
	"NONE": scoreNone, "SOFTMAX": scoreSoftmax, "LOGISTIC": scoreLogistic,
	"SOFTMAX_ZERO": scoreSoftmaxZero, "PROBIT": scoreProbit,
}

// postTransform reads the attribute post_transform.
func postTransform(c *Call) (scoreTransform, error) {
	name := c.Node.Str("post_transform", "NONE")
	t, ok := scoreNames[name]
	if !ok {
		return 0, fmt.Errorf("attribute post_transform is %q, want NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT", name)
	}
	return t, nil
}

// single is the transform of a model with a single score, to which ONNX
// Runtime applies PROBIT only.
func (t scoreTransform) single() scoreTransform {
	if t == scoreProbit {
		return t
	}
	return scoreNone
}

// apply transforms the scores of one sample in place.
func (t scoreTransform) apply(s []float64) {
	switch t {
	case scoreSoftmax:
		softmax64(s)
	case scoreSoftmaxZero:
		softmaxZero(s)
	case scoreLogistic:
		for i, x := range s {
			s[i] = 1 / (1 + math.Exp(-x))
		}
	case scoreProbit:
		for i, x := range s {
			s[i] = probit(x)
		}
	}
}

func softmax64(s []float64) {
	top := math.Inf(-1)
	for _, x := range s {
		top = max(top, x)
	}
	sum := 0.0
	for i, x := range s {
		s[i] = math.Exp(x - top)
		sum += s[i]
	}
	for i := range s {
		s[i] /= sum
	}
}

// softmaxZero is a softmax that leaves scores of zero out of the exponential:
// they stay near zero.
func softmaxZero(s []float64) {
	const zero = 1e-7
	top := math.Inf(-1)
	for _, x := range s {
		top = max(top, x)
	}
	sum := 0.0
	for i, x := range s {
		if math.Abs(x) > zero {
			s[i] = math.Exp(x - top)
		} else {
			s[i] = x * math.Exp(-top)
		}
		sum += s[i]
	}
	for i := range s {
		if sum == 0 {
			s[i] = 0.5
		} else {
			s[i] /= sum
		}
	}
}

// probit is the quantile function of the normal distribution, by Winitzki's
// approximation of the inverse error function with a = 0.147.
func probit(p float64) float64 {
	x := 2*p - 1
	l := math.Log((1 - x) * (1 + x))
	if math.IsInf(l, -1) {
		return 0
	}
	v := 2/(math.Pi*0.147) + 0.5*l
	return math.Copysign(math.Sqrt2*math.Sqrt(math.Sqrt(v*v-l/0.147)-v), x)
}

// classLabels are the names of classes: integers or strings.
type classLabels struct {
	ints []int64
	strs []string
}

// newClassLabels reads the labels of a classifier; intsName is the name of
// the integer attribute.
func newClassLabels(c *Call, intsName string) classLabels {
	l := classLabels{ints: c.Node.Ints(intsName)}
	if a := c.Node.Attr("classlabels_strings"); a != nil {
		l.strs = a.Strings
	}
	return l
}

func (l classLabels) len() int { return max(len(l.ints), len(l.strs)) }

func (l classLabels) dtype() tensor.DType {
	if len(l.strs) > 0 {
		return tensor.String
	}
	return tensor.Int64
}

// tensor returns the labels of the given class numbers. A single integer label
// tells nothing: then, and beyond the labels, a number stands for itself.
func (l classLabels) tensor(classes []int) *tensor.Tensor {
	if len(l.strs) > 0 {
		out := make([]string, len(classes))
		for i, k := range classes {
			if k < len(l.strs) {
				out[i] = l.strs[k]
			}
		}
		return tensor.OfStrings(tensor.Shape{len(out)}, out)
	}
	out := make([]int64, len(classes))
	for i, k := range classes {
		out[i] = int64(k)
		if k < len(l.ints) && len(l.ints) > 1 {
			out[i] = l.ints[k]
		}
	}
	return tensor.Vector(out...)
}

// argmax returns the place of the first largest element.
func argmax(s []float64) int {
	best := 0
	for i, x := range s {
		if x > s[best] {
			best = i
		}
	}
	return best
}

// samples is the input of an ai.onnx.ml model: rows of features.
type samples struct {
	n, features int
	data        []float64
}

// samples reads input 0, [N,F] or [F], of real numbers.
func (e *Eval) samples() (samples, error) {
	x := e.Tensor(0)
	if x.DType() == tensor.String || x.DType().IsComplex() {
		return samples{}, e.Errorf(0, "want real numbers")
	}
	s := samples{n: 1, data: tensor.Float64s(x)}
	switch x.Rank() {
	case 1:
		s.features = x.Shape()[0]
	case 2:
		s.n, s.features = x.Shape()[0], x.Shape()[1]
	default:
		return samples{}, e.Errorf(0, "has %d axes, want 1 or 2", x.Rank())
	}
	return s, nil
}

func (s samples) row(i int) []float64 { return s.data[i*s.features : (i+1)*s.features] }

// batch returns the number of samples of input 0.
func (c *Infer) batch() graph.Dim {
	switch in := c.Shape(0); len(in) {
	case 2:
		return in[0]
	case 1:
		return graph.Known(1)
	}
	return graph.Unknown()
}

// setFloats sets result i to an [n, len/n] tensor of type d.
func (e *Eval) setFloats(i int, d tensor.DType, n int, data []float64) {
	width := 0
	if n > 0 {
		width = len(data) / n
	}
	e.SetOut(i, tensor.FromFloat64s(d, tensor.Shape{n, width}, data))
}

// float64s returns a float attribute as float64, or that of the same name
// with the suffix _as_tensor.
func float64s(c *Call, name string) []float64 {
	if f := c.Node.Floats(name); f != nil {
		out := make([]float64, len(f))
		for i, x := range f {
			out[i] = float64(x)
		}
		return out
	}
	if t := tensorAttr(c, name+"_as_tensor"); t != nil {
		return tensor.Float64s(t)
	}
	return nil
}

// tensorAttr returns a dense tensor attribute, or nil.
func tensorAttr(c *Call, name string) *tensor.Tensor {
	if a := c.Node.Attr(name); a != nil && len(a.Literals) == 1 {
		return a.Literals[0].Tensor
	}
	return nil
}

package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// mlLinearDefs holds linear models, support vector machines and scalings of
// ai.onnx.ml.
var mlLinearDefs = []*Def{
	{Domain: mlDomain, Name: "Binarizer", Since: 1, Infer: sameType, Eval: evalBinarizer, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "Imputer", Since: 1, Infer: sameType, Eval: evalImputer, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "LinearClassifier", Since: 1, Infer: inferLinearClassifier, Eval: evalLinearClassifier},
	{Domain: mlDomain, Name: "LinearRegressor", Since: 1, Infer: inferLinearRegressor, Eval: evalLinearRegressor},
	{Domain: mlDomain, Name: "Normalizer", Since: 1, Infer: inferToFloat, Eval: evalNormalizer, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "SVMClassifier", Since: 1, Infer: inferSVMClassifier, Eval: evalSVMClassifier},
	{Domain: mlDomain, Name: "SVMRegressor", Since: 1, Infer: inferSVMRegressor, Eval: evalSVMRegressor},
	{Domain: mlDomain, Name: "Scaler", Since: 1, Infer: inferToFloat, Eval: evalScaler, Cost: (*Infer).traffic},
}

// inferToFloat gives result 0 the shape of input 0 and Float32 elements.
func inferToFloat(c *Infer) error {
	c.SetOut(0, tensor.Float32, c.Shape(0))
	return nil
}

// linear is a matrix of coefficients, [targets, features], and intercepts.
type linear struct {
	targets, features int
	coef, intercept   []float64
}

// newLinear reads the coefficients of a model of the given number of targets,
// which divides their number.
func newLinear(c *Call, targets int) (*linear, error) {
	l := &linear{targets: targets, coef: float64s(c, "coefficients"), intercept: float64s(c, "intercepts")}
	if targets < 1 || len(l.coef) == 0 || len(l.coef)%targets != 0 {
		return nil, fmt.Errorf("attribute coefficients has %d entries for %d targets", len(l.coef), targets)
	}
	if n := len(l.intercept); n != 0 && n != targets {
		return nil, fmt.Errorf("attribute intercepts has %d entries, want %d", n, targets)
	}
	l.features = len(l.coef) / targets
	return l, nil
}

// scores returns coef * x + intercept for every sample, [n, targets].
func (l *linear) scores(e *Eval) (samples, []float64, error) {
	x, err := e.samples()
	if err != nil {
		return x, nil, err
	}
	if x.features != l.features {
		return x, nil, e.Errorf(0, "has %d features, want %d", x.features, l.features)
	}
	out := make([]float64, x.n*l.targets)
	e.Parallel(x.n, 1+1<<14/len(l.coef), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := x.row(i)
			for t := range l.targets {
				sum := 0.0
				if l.intercept != nil {
					sum = l.intercept[t]
				}
				for j, w := range l.coef[t*l.features : (t+1)*l.features] {
					sum += w * row[j]
				}
				out[i*l.targets+t] = sum
			}
		}
	})
	return x, out, nil
}

func evalLinearRegressor(e *Eval) error {
	post, err := postTransform(&e.Call)
	if err != nil {
		return err
	}
	l, err := newLinear(&e.Call, int(e.Node.Int("targets", 1)))
	if err != nil {
		return err
	}
	x, scores, err := l.scores(e)
	if err != nil {
		return err
	}
	if l.targets == 1 {
		post = post.single()
	}
	for i := range x.n {
		post.apply(scores[i*l.targets : (i+1)*l.targets])
	}
	e.SetOut(0, tensor.FromFloat64s(tensor.Float32, tensor.Shape{x.n, l.targets}, scores))
	return nil
}

// linearTargets returns the number of rows of coefficients: one for each
// intercept, else one for each class.
func linearTargets(c *Call, labels classLabels) int {
	if n := len(c.Node.Floats("intercepts")); n > 0 {
		return n
	}
	return max(labels.len(), 1)
}

func evalLinearClassifier(e *Eval) error {
	post, err := postTransform(&e.Call)
	if err != nil {
		return err
	}
	labels := newClassLabels(&e.Call, "classlabels_ints")
	l, err := newLinear(&e.Call, linearTargets(&e.Call, labels))
	if err != nil {
		return err
	}
	x, scores, err := l.scores(e)
	if err != nil {
		return err
	}
	if l.targets == 1 && labels.len() == 2 {
		e.setBinary(labels, scores, post)
		return nil
	}
	classes := make([]int, x.n)
	for i := range x.n {
		row := scores[i*l.targets : (i+1)*l.targets]
		switch {
		case l.targets > 1:
			classes[i] = argmax(row)
		case row[0] > 0:
			classes[i] = 1
		}
		post.apply(row)
	}
	e.SetOut(0, labels.tensor(classes))
	e.SetOut(1, tensor.FromFloat64s(tensor.Float32, tensor.Shape{x.n, l.targets}, scores))
	return nil
}

// setBinary sets labels and scores of two classes that share one score: it is
// that of the second, after the transform if that takes single numbers, and
// the first gets what is left to one.
func (e *Eval) setBinary(labels classLabels, scores []float64, post scoreTransform) {
	classes, both := make([]int, len(scores)), make([]float64, 2*len(scores))
	for i, s := range scores {
		if s > 0 {
			classes[i] = 1
		}
		switch one := []float64{s}; post {
		case scoreLogistic, scoreProbit:
			post.apply(one)
			s = one[0]
		}
		both[2*i], both[2*i+1] = 1-s, s
	}
	e.SetOut(0, labels.tensor(classes))
	e.SetOut(1, tensor.FromFloat64s(tensor.Float32, tensor.Shape{len(scores), 2}, both))
}

// mirrored returns the scores -s, s of two classes for every score s.
func mirrored(scores []float64) []float64 {
	out := make([]float64, 2*len(scores))
	for i, s := range scores {
		out[2*i], out[2*i+1] = -s, s
	}
	return out
}

func inferLinearRegressor(c *Infer) error {
	c.SetOut(0, tensor.Float32, graph.Dims{c.batch(), graph.Known(int(max(1, c.Node.Int("targets", 1))))})
	return nil
}

func inferLinearClassifier(c *Infer) error {
	labels := newClassLabels(&c.Call, "classlabels_ints")
	c.classifierTypes(labels)
	if n := linearTargets(&c.Call, labels); n > 1 || labels.len() < 2 {
		c.SetOut(1, tensor.Float32, graph.Dims{c.batch(), graph.Known(n)})
	}
	return nil
}

// realInput returns input 0 as float64s of its own, to be changed.
func (e *Eval) realInput() ([]float64, error) {
	x := e.Tensor(0)
	if x.DType() == tensor.String || x.DType().IsComplex() {
		return nil, e.Errorf(0, "want real numbers")
	}
	return slices.Clone(tensor.Float64s(x)), nil
}

func evalBinarizer(e *Eval) error {
	x, err := e.realInput()
	if err != nil {
		return err
	}
	threshold := float64(e.Node.Float("threshold", 0))
	for i, v := range x {
		x[i] = 0
		if v > threshold {
			x[i] = 1
		}
	}
	e.SetOut(0, tensor.FromFloat64s(e.Tensor(0).DType(), e.Tensor(0).Shape(), x))
	return nil
}

// perFeature returns entry i of a list that has one entry for all features or
// one for each.
func perFeature(list []float64, i, features int) float64 {
	if len(list) == 1 {
		return list[0]
	}
	return list[i%features]
}

// checkFeatures makes sure that a list serves perFeature.
func (e *Eval) checkFeatures(name string, n int) (features int, err error) {
	s := e.Tensor(0).Shape()
	if len(s) == 0 {
		return 0, e.Errorf(0, "want at least one axis")
	}
	features = s[len(s)-1]
	if n != 1 && n != features {
		return 0, e.Errorf(0, "attribute %s has %d entries, want 1 or %d", name, n, features)
	}
	return features, nil
}

func evalScaler(e *Eval) error {
	x, err := e.realInput()
	if err != nil {
		return err
	}
	offset, scale := float64s(&e.Call, "offset"), float64s(&e.Call, "scale")
	if len(offset) == 0 {
		offset = []float64{0}
	}
	if len(scale) == 0 {
		scale = []float64{1}
	}
	features, err := e.checkFeatures("offset", len(offset))
	if err != nil {
		return err
	}
	if _, err := e.checkFeatures("scale", len(scale)); err != nil {
		return err
	}
	for i, v := range x {
		x[i] = (v - perFeature(offset, i, features)) * perFeature(scale, i, features)
	}
	e.SetOut(0, tensor.FromFloat64s(tensor.Float32, e.Tensor(0).Shape(), x))
	return nil
}

func evalImputer(e *Eval) error {
	t := e.Tensor(0)
	if t.DType().IsInteger() {
		return imputeInts(e)
	}
	x, err := e.realInput()
	if err != nil {
		return err
	}
	replaced, values := float64(e.Node.Float("replaced_value_float", 0)), float64s(&e.Call, "imputed_value_floats")
	features, err := e.checkFeatures("imputed_value_floats", len(values))
	if err != nil {
		return err
	}
	for i, v := range x {
		if v == replaced || math.IsNaN(v) && math.IsNaN(replaced) {
			x[i] = perFeature(values, i, features)
		}
	}
	e.SetOut(0, tensor.FromFloat64s(t.DType(), t.Shape(), x))
	return nil
}

func imputeInts(e *Eval) error {
	t := e.Tensor(0)
	replaced, values := e.Node.Int("replaced_value_int64", 0), e.Node.Ints("imputed_value_int64s")
	features, err := e.checkFeatures("imputed_value_int64s", len(values))
	if err != nil {
		return err
	}
	x := slices.Clone(tensor.Int64s(t))
	for i, v := range x {
		switch {
		case v != replaced:
		case len(values) == 1:
			x[i] = values[0]
		default:
			x[i] = values[i%features]
		}
	}
	e.SetOut(0, tensor.FromInt64s(t.DType(), t.Shape(), x))
	return nil
}

// evalNormalizer divides each sample by its largest element (MAX), the sum of
// magnitudes (L1) or its length (L2), unless that is zero.
func evalNormalizer(e *Eval) error {
	x, err := e.samples()
	if err != nil {
		return err
	}
	norm := e.Node.Str("norm", "MAX")
	measure, ok := map[string]func([]float64) float64{"MAX": slices.Max[[]float64], "L1": normL1, "L2": normL2}[norm]
	if !ok {
		return fmt.Errorf("attribute norm is %q, want MAX, L1 or L2", norm)
	}
	out := slices.Clone(x.data)
	if x.features > 0 {
		for i := range x.n {
			if d := measure(x.row(i)); d != 0 {
				for j := range x.features {
					out[i*x.features+j] /= d
				}
			}
		}
	}
	e.SetOut(0, tensor.FromFloat64s(tensor.Float32, e.Tensor(0).Shape(), out))
	return nil
}

func normL1(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Abs(v)
	}
	return sum
}

func normL2(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}

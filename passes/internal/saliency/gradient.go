package saliency

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/grad"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
	"github.com/onnxpack/onnxpack/passes/internal/opset"
	"github.com/onnxpack/onnxpack/passes/internal/train"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// Gradients computes the derivative of a loss by weights, one sample at a time.
//
// The loss is the cross entropy of the first output, in front of a final
// Softmax, with the label of the sample. Without a label, the class is drawn
// from what the model itself gives: the mean of squared derivatives is then the
// diagonal of the Fisher information (Martens 2014, arXiv 1412.1193). An output
// that is no row of scores is multiplied with random signs instead, which makes
// that mean the diagonal of the Gauss-Newton matrix of the squared error.
type Gradients struct {
	ctx     context.Context
	model   *engine.Session // computes the scores
	loss    *engine.Session
	scores  string
	shape   tensor.Shape // of the scores
	classes int          // 0 if the scores are none of classes
	by      []string
}

const (
	lossInput  = "saliency/target"
	lossOutput = "saliency/loss"
)

// gradientOpset is a version in which every operator has its gradient.
const gradientOpset = 14

// NewGradients compiles the loss of m for samples like the given one. by are
// float32 initializers of the main graph.
func NewGradients(ctx context.Context, m *graph.Model, by []*graph.Value, like dataset.Sample, threads int) (*Gradients, error) {
	g := &Gradients{ctx: ctx, scores: train.LogitsName(m, "")}
	for _, v := range by {
		g.by = append(g.by, v.Name())
	}
	var err error
	if g.model, err = engine.Compile(ctx, m, engine.Options{Threads: threads, Outputs: []string{g.scores}}); err != nil {
		return nil, err
	}
	z, err := g.scoresOf(like)
	if err != nil {
		return nil, err
	}
	g.shape = z.Shape()
	if n := len(g.shape); n == 2 && g.shape[0] == 1 && g.shape[1] > 1 {
		g.classes = g.shape[1]
	}
	if m, err = opset.Raise(m, gradientOpset); err != nil {
		return nil, err
	}
	m = m.Clone()
	if err := g.addLoss(m.Graph); err != nil {
		return nil, err
	}
	if m, err = grad.Build(m, grad.Options{Loss: lossOutput, By: g.by, Inputs: typesOf(like.Feeds)}); err != nil {
		return nil, err
	}
	o := engine.Options{Threads: threads}
	for _, name := range g.by {
		o.Outputs = append(o.Outputs, grad.Name(name))
	}
	g.loss, err = engine.Compile(ctx, m, o)
	return g, err
}

func (g *Gradients) scoresOf(s dataset.Sample) (*tensor.Tensor, error) {
	out, err := g.model.Run(g.ctx, s.Feeds)
	if err != nil {
		return nil, err
	}
	z, ok := out[g.scores].(*tensor.Tensor)
	if !ok || z.DType() != tensor.Float32 {
		return nil, fmt.Errorf("output %q is no tensor of float32, so that no loss can be taken of it", g.scores)
	}
	return z, nil
}

// addLoss adds the sum of products of the target with the scores.
func (g *Gradients) addLoss(to *graph.Graph) error {
	z := to.Value(g.scores)
	if z == nil {
		return fmt.Errorf("value %q is not in the model", g.scores)
	}
	b := graph.NewBuilder(to, nil)
	t := to.AddInput(lossInput, graph.TensorOf(tensor.Float32, graph.DimsOf(g.shape)))
	if g.classes > 0 {
		z = b.OpAttrs("LogSoftmax", []*graph.Attr{graph.IntAttr("axis", 1)}, z)
	}
	sum := b.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", 0)}, b.Op("Mul", t, z))
	to.Rename(sum, lossOutput)
	to.AddOutput(sum)
	return nil
}

// Of returns the derivatives for one sample, by the name of the weight.
func (g *Gradients) Of(s dataset.Sample, r *rand.Rand) (map[string][]float32, error) {
	t, err := g.target(s, r)
	if err != nil {
		return nil, err
	}
	feeds := map[string]tensor.Value{lossInput: t}
	for name, x := range s.Feeds {
		feeds[name] = x
	}
	out, err := g.loss.Run(g.ctx, feeds)
	if err != nil {
		return nil, err
	}
	d := map[string][]float32{}
	for _, name := range g.by {
		if t, ok := out[grad.Name(name)].(*tensor.Tensor); ok {
			d[name] = tensor.Float32s(t)
		}
	}
	return d, nil
}

// target is -1 for the class of the sample, or random signs.
func (g *Gradients) target(s dataset.Sample, r *rand.Rand) (*tensor.Tensor, error) {
	t := make([]float32, g.shape.Len())
	switch {
	case g.classes == 0:
		for i := range t {
			t[i] = float32(2*r.IntN(2) - 1)
		}
	case s.Label >= 0 && s.Label < g.classes:
		t[s.Label] = -1
	default:
		z, err := g.scoresOf(s)
		if err != nil {
			return nil, err
		}
		t[draw(tensor.Float64s(z), r)] = -1
	}
	return tensor.FromFloat32s(tensor.Float32, g.shape, t), nil
}

// draw returns a class with the probability that its score gives it.
func draw(scores []float64, r *rand.Rand) int {
	x := r.Float64()
	for i, p := range logSoftmax(scores) {
		if x -= math.Exp(p); x < 0 {
			return i
		}
	}
	return len(scores) - 1
}

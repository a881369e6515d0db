package distill

import (
	"context"
	"fmt"
	"maps"

	"gonum.org/v1/gonum/mat"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes/internal/train"
)

// imitation makes the terms of a loss that compare a student with its
// teacher.
type imitation struct {
	teacher *teacher
	output  string // of the student, whose logits are compared

	projectors map[string]*mat.Dense // where those of hidden values begin, by the student's value
	inherited  map[string][]int64    // the teacher's channels that a hidden value is held to, by the student's value
}

// term returns a term of logits z of the student and t of the teacher, both
// [batch, classes].
func (i *imitation) term(name string, weight float64, loss func(s *train.Scope, z, t *graph.Value, classes int) *graph.Value) train.Term {
	return train.Term{Name: name, Weight: weight, Feed: i.teacher.feeds, Build: func(s *train.Scope) (*graph.Value, error) {
		z, t, classes, err := i.logits(s)
		if err != nil {
			return nil, err
		}
		return loss(s, z, t, classes), nil
	}}
}

func (i *imitation) logits(s *train.Scope) (z, t *graph.Value, classes int, err error) {
	if z, err = s.Logits(i.output); err != nil {
		return nil, nil, 0, err
	}
	if z, classes, err = s.Classes(z); err != nil {
		return nil, nil, 0, err
	}
	shape := i.teacher.shapes[logitsKey]
	if shape.Len() != classes {
		return nil, nil, 0, fmt.Errorf("the student's output %q has %d elements, the teacher's has %d", i.output, classes, shape.Len())
	}
	s.FeedAll(i.teacher.shapes, feedName)
	t, _, err = s.Classes(s.Feed(feedName(logitsKey), tensor.Float32, shape))
	return z, t, classes, err
}

// kl is Hinton's loss.
func (i *imitation) kl(weight, temperature float64) train.Term {
	return i.term("kl", weight, func(s *train.Scope, z, t *graph.Value, _ int) *graph.Value {
		return s.TeacherKL(z, t, temperature)
	})
}

// mse compares logits as they are (Ba and Caruana 2014).
func (i *imitation) mse(weight float64) train.Term {
	return i.term("mse", weight, func(s *train.Scope, z, t *graph.Value, _ int) *graph.Value {
		return s.MeanSquare(z, t)
	})
}

// targetFeed holds which class counts as the right one of each sample.
const targetFeed = "teacher/target"

// dkd is decoupled distillation (Zhao et al. 2022): the divergence between
// the right class and all others, and, with weight beta, that among the
// others. The right class is the label, or the teacher's where there is none.
func (i *imitation) dkd(weight, alpha, beta, temperature float64) train.Term {
	classes := 0
	term := i.term("dkd", weight, func(s *train.Scope, z, t *graph.Value, n int) *graph.Value {
		classes = n
		target := s.Feed(targetFeed, tensor.Float32, tensor.Shape{n})
		others := s.Op("Sub", s.Number(1), target)
		logP, logQ := s.LogSoftmax(t, temperature), s.LogSoftmax(z, temperature)
		between := s.Op("Add", bit(s, logP, logQ, target), bit(s, logP, logQ, others))
		far := s.Op("Mul", target, s.Number(1000)) // takes the right class out of the softmax
		p2 := s.LogSoftmax(s.Op("Sub", s.Op("Mul", t, s.Number(1/temperature)), far), 1)
		q2 := s.LogSoftmax(s.Op("Sub", s.Op("Mul", z, s.Number(1/temperature)), far), 1)
		among := s.Sum(s.Op("Mul", s.Op("Mul", s.Op("Exp", p2), others), s.Op("Sub", p2, q2)), true, 1)
		both := s.Op("Add", s.Op("Mul", between, s.Number(alpha)), s.Op("Mul", among, s.Number(beta)))
		return s.Op("Mul", s.Mean(both), s.Number(temperature*temperature))
	})
	term.Feed = func(ctx context.Context, b *train.Batch) (map[string]tensor.Value, error) {
		feeds, err := i.teacher.feeds(ctx, b)
		if err != nil {
			return nil, err
		}
		right, err := i.right(b, feeds, classes)
		if err != nil {
			return nil, err
		}
		feeds = maps.Clone(feeds)
		feeds[targetFeed] = right
		return feeds, nil
	}
	return term
}

// bit is p log(p/q) of the classes in which mask is 1, taken together.
func bit(s *train.Scope, logP, logQ, mask *graph.Value) *graph.Value {
	p := s.Sum(s.Op("Mul", s.Op("Exp", logP), mask), true, 1)
	q := s.Sum(s.Op("Mul", s.Op("Exp", logQ), mask), true, 1)
	tiny := s.Number(1e-12)
	return s.Op("Mul", p, s.Op("Sub", s.Op("Log", s.Op("Add", p, tiny)), s.Op("Log", s.Op("Add", q, tiny))))
}

// right returns [batch, classes] with 1 for the label of each sample, or for
// the teacher's class where there is none.
func (i *imitation) right(b *train.Batch, feeds map[string]tensor.Value, classes int) (*tensor.Tensor, error) {
	n := len(b.Index)
	labels, err := b.Labels(classes)
	if err != nil {
		if b.HasLabels() {
			return nil, err
		}
		labels = make([]int, n)
		t := tensor.Float32s(feeds[feedName(logitsKey)].(*tensor.Tensor))
		for k := range labels {
			labels[k] = argmax(t[k*classes : (k+1)*classes])
		}
	}
	out := tensor.New(tensor.Float32, tensor.Shape{n, classes})
	for k, c := range labels {
		tensor.Data[float32](out)[k*classes+c] = 1
	}
	return out, nil
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// rkd is relational distillation (Park et al. 2019): distances between the
// samples of a batch, each over their mean, and angles in triples of them,
// are to be those among the teacher's logits; angles count twice.
func (i *imitation) rkd(weight float64) train.Term {
	return i.term("rkd", weight, func(s *train.Scope, z, t *graph.Value, _ int) *graph.Value {
		dz, ez := relations(s, z)
		dt, et := relations(s, t)
		angles := s.Huber(cosines(s, ez), cosines(s, et))
		return s.Op("Add", s.Huber(dz, dt), s.Op("Mul", angles, s.Number(2)))
	})
}

// relations returns the distances [n,n,1] of the rows of x, over the mean of
// those that are not 0, and the directions [n,n,d] between them.
func relations(s *train.Scope, x *graph.Value) (distances, directions *graph.Value) {
	axis := func(a int64) *graph.Value { return s.Const("loss/axis", tensor.Vector(a)) }
	diff := s.Op("Sub", s.Op("Unsqueeze", x, axis(0)), s.Op("Unsqueeze", x, axis(1)))
	square := s.Sum(s.Op("Mul", diff, diff), true, 2)
	norm := s.Op("Sqrt", s.Op("Add", square, s.Number(1e-8)))
	apart := s.OpAttrs("Cast", []*graph.Attr{graph.IntAttr("to", int64(tensor.Float32))}, s.Op("Greater", square, s.Number(0)))
	mean := s.Op("Div", s.Sum(s.Op("Mul", norm, apart), false, 0, 1, 2), s.Op("Add", s.Sum(apart, false, 0, 1, 2), s.Number(1e-8)))
	return s.Op("Div", norm, s.Op("Add", mean, s.Number(1e-8))), s.Op("Div", diff, norm)
}

// cosines returns the products [n,n,n] of directions that begin in one row.
func cosines(s *train.Scope, e *graph.Value) *graph.Value {
	turned := s.OpAttrs("Transpose", []*graph.Attr{graph.IntsAttr("perm", 0, 2, 1)}, e)
	return s.Op("MatMul", e, turned)
}

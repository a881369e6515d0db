package train

import (
	"context"
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// CTC returns the loss of connectionist temporal classification (Graves et
// al. 2006) of an output of [N,T,C] or [T,N,C] scores, N being the axis that
// grows with the batch and the first where none is seen to. It looks at the
// value in front of a final Softmax. The target is the expected output of a
// sample: integers, the classes in order without blank, after which -1 or
// blank may fill up. As torch's reduction "mean" does, the loss is the mean
// over the samples of -log p(target) by the number of labels.
func CTC(output string, blank int) Term {
	frames, classes := 0, 0
	build := func(s *Scope) (*graph.Value, error) {
		z, err := s.Logits(output)
		if err != nil {
			return nil, err
		}
		if z, frames, classes, err = s.sequences(z); err != nil {
			return nil, err
		}
		if blank < 0 || blank >= classes {
			return nil, fmt.Errorf("blank is %d, want one of %d classes (0 to %d)", blank, classes, classes-1)
		}
		op.ImportPrivate(s.Graph().Model())
		logp := s.OpAttrs("LogSoftmax", []*graph.Attr{graph.IntAttr("axis", -1)}, z)
		t := s.Feed(targetFeed, tensor.Int64, tensor.Shape{frames})
		n := graph.NewNode(op.PrivateDomain, "CTCLoss", []*graph.Value{logp, t}, 1, graph.IntAttr("blank", int64(blank)))
		return s.Mean(s.Add(n).Out(0)), nil
	}
	return Term{Name: "ctc", Weight: 1, Build: build, Feed: func(_ context.Context, b *Batch) (map[string]tensor.Value, error) {
		t, err := b.sequences(frames, classes, blank)
		return map[string]tensor.Value{targetFeed: t}, err
	}}
}

// sequences returns v as [batch, frames, classes], and these two numbers.
func (s *Scope) sequences(v *graph.Value) (z *graph.Value, frames, classes int, err error) {
	d := s.base.dimsOf(v.Name())
	if len(d) != 3 {
		return nil, 0, 0, fmt.Errorf("%v has the shape %v, want [batch, frames, classes] or [frames, batch, classes]", v, d)
	}
	time := 1
	if d[1].Same(batchDim(0)) {
		time = 0
	}
	frames, okT := d[time].Number()
	classes, okC := d[2].Number()
	if !okT || !okC {
		return nil, 0, 0, fmt.Errorf("%v has the shape %v: want dimensions that are known but for the batch", v, d)
	}
	if time == 0 {
		v.Type = graph.TensorOf(tensor.Float32, graph.Dims{d[0], batchDim(s.batch), d[2]})
		v = s.OpAttrs("Transpose", []*graph.Attr{graph.IntsAttr("perm", 1, 0, 2)}, v)
	}
	return v, frames, classes, nil
}

// dimsOf infers the shape of a value for a batch of any size, whatever the
// model states of its outputs.
func (b *base) dimsOf(name string) graph.Dims {
	m := b.model.Clone()
	for _, v := range m.Graph.Outputs() {
		v.Type = nil
	}
	op.InferModel(m, op.InferOptions{Inputs: b.inputTypes(0)})
	if v := m.Graph.Value(name); v != nil && v.Type != nil {
		return v.Type.Shape
	}
	return nil
}

// sequences returns the expected first outputs of the samples as rows of
// labels, filled up with -1 to the number of frames.
func (b *Batch) sequences(frames, classes, blank int) (*tensor.Tensor, error) {
	if b.mixed != nil {
		return nil, fmt.Errorf("sequences of labels cannot be mixed")
	}
	out := tensor.New(tensor.Int64, tensor.Shape{len(b.samples), frames})
	rows := tensor.Data[int64](out)
	for i := range rows {
		rows[i] = -1
	}
	for i, s := range b.samples {
		t, ok := s.Want["0"].(*tensor.Tensor)
		if !ok || t.DType() != tensor.Int64 && t.DType() != tensor.Int32 {
			return nil, fmt.Errorf("sample %d: the expected output is %v, want integers that are classes in order", s.Number, s.Want["0"])
		}
		labels, err := op.CTCTarget(tensor.Int64s(t), frames, classes, blank)
		if err != nil {
			return nil, fmt.Errorf("sample %d: %w", s.Number, err)
		}
		copy(rows[i*frames:], labels)
	}
	return out, nil
}

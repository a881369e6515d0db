package train

import (
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// Batch is what one step is given.
type Batch struct {
	Index   []int                   // of the samples in the source
	Feeds   map[string]tensor.Value // the samples joined along the batch axis
	Held    bool                    // the samples are held out, and index those
	Varied  bool                    // the feeds are not just the samples: augmented or mixed
	samples []dataset.Sample
	mixed   *mixing // nil without mixup
}

// mixing pairs each sample with another of the batch, of which it has the
// share 1-share.
type mixing struct {
	partner []int
	share   float64
}

// load joins samples of src, varied as o says for the given step; o is nil
// for validation.
func load(src Source, index []int, o *Options, step int) (*Batch, error) {
	b := &Batch{Index: index, Held: o == nil, samples: make([]dataset.Sample, len(index))}
	for i, at := range index {
		s, err := src.At(at)
		if err != nil {
			return nil, err
		}
		if o != nil && o.Augment.active() {
			s = o.Augment.apply(s, stream(o.Seed, forAugment, step, i))
			b.Varied = true
		}
		b.samples[i] = s
	}
	if err := b.join(); err != nil {
		return nil, err
	}
	if o != nil && o.Mixup > 0 {
		b.mix(o, step)
	}
	return b, nil
}

func (b *Batch) join() error {
	b.Feeds = map[string]tensor.Value{}
	for name := range b.samples[0].Feeds {
		parts := make([]*tensor.Tensor, len(b.samples))
		for i, s := range b.samples {
			t, ok := s.Feeds[name].(*tensor.Tensor)
			if !ok {
				return fmt.Errorf("sample %d: input %q is %T, want a tensor", s.Number, name, s.Feeds[name])
			}
			parts[i] = t
		}
		t, err := tensor.Join(parts...)
		if err != nil {
			return fmt.Errorf("input %q: samples of different shapes cannot be in one batch: %w", name, err)
		}
		b.Feeds[name] = t
	}
	return nil
}

// mix replaces each float input by a mixture with that of another sample
// (Zhang et al. 2018).
func (b *Batch) mix(o *Options, step int) {
	r := stream(o.Seed, forMixup, step)
	n := len(b.samples)
	b.mixed = &mixing{partner: r.Perm(n), share: beta(r, o.Mixup)}
	b.Varied = true
	for name, v := range b.Feeds {
		t := v.(*tensor.Tensor)
		if t.DType() != tensor.Float32 {
			continue
		}
		x, out := tensor.Data[float32](t), tensor.New(tensor.Float32, t.Shape())
		y, row := tensor.Data[float32](out), t.Len()/n
		a, c := float32(b.mixed.share), float32(1-b.mixed.share)
		for i, p := range b.mixed.partner {
			for k := range row {
				y[i*row+k] = a*x[i*row+k] + c*x[p*row+k]
			}
		}
		b.Feeds[name] = out
	}
}

// Labels returns the classes of the samples, each below the given number.
func (b *Batch) Labels(classes int) ([]int, error) {
	labels := make([]int, len(b.samples))
	for i, s := range b.samples {
		switch {
		case s.Label < 0:
			return nil, fmt.Errorf("sample %d has no label", s.Number)
		case s.Label >= classes:
			return nil, fmt.Errorf("sample %d has label %d, the output has %d classes (0 to %d)", s.Number, s.Label, classes, classes-1)
		}
		labels[i] = s.Label
	}
	return labels, nil
}

// Targets returns [batch, classes] targets: expected outputs where the data
// has them, else labels as 1 and 0, smoothed and mixed.
func (b *Batch) Targets(classes int, smoothing float64) (*tensor.Tensor, error) {
	n := len(b.samples)
	out := tensor.New(tensor.Float32, tensor.Shape{n, classes})
	y := tensor.Data[float32](out)
	if b.samples[0].Want != nil {
		if err := b.wanted(y, classes); err != nil {
			return nil, err
		}
	} else {
		labels, err := b.Labels(classes)
		if err != nil {
			return nil, err
		}
		for i, c := range labels {
			row := y[i*classes : (i+1)*classes]
			for k := range row {
				row[k] = float32(smoothing / float64(classes))
			}
			row[c] += float32(1 - smoothing)
		}
	}
	if b.mixed == nil {
		return out, nil
	}
	mixed := tensor.New(tensor.Float32, out.Shape())
	z := tensor.Data[float32](mixed)
	a, c := float32(b.mixed.share), float32(1-b.mixed.share)
	for i, p := range b.mixed.partner {
		for k := range classes {
			z[i*classes+k] = a*y[i*classes+k] + c*y[p*classes+k]
		}
	}
	return mixed, nil
}

// wanted copies the expected first outputs of the samples.
func (b *Batch) wanted(y []float32, classes int) error {
	for i, s := range b.samples {
		t, ok := s.Want["0"].(*tensor.Tensor)
		if !ok || t.DType() != tensor.Float32 || t.Len() != classes {
			return fmt.Errorf("sample %d: the expected output is %v, the model's has %d float elements", s.Number, s.Want["0"], classes)
		}
		copy(y[i*classes:], tensor.Float32s(t))
	}
	return nil
}

// HasLabels reports whether any sample has a label.
func (b *Batch) HasLabels() bool {
	return slices.ContainsFunc(b.samples, func(s dataset.Sample) bool { return s.Label >= 0 })
}

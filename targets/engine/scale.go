package engine

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scaleImage is x*scale + shift with one scale and shift for each channel: a
// normalization with known statistics. An activation may follow.
type scaleImage struct {
	scale, shift []float32
	act          activation
	in, out      halo
}

func (s *scaleImage) name() string { return "Scale" }

func (s *scaleImage) eval(e *op.Eval) error {
	x, err := imageOf[float32](e.Tensor(0), s.in)
	if err != nil {
		return err
	}
	if x.c != len(s.scale) {
		return e.Errorf(0, "%v has %d channels, want %d", &x, x.c, len(s.scale))
	}
	y, t := newImage[float32](e, tensor.Float32, x.n, x.h, x.w, x.c, s.out, 0)
	rows(e, &x, func(n, lo, hi int) {
		for i := lo; i < hi; i++ {
			src, dst := x.row(n, i), y.row(n, i)
			for at := 0; at < len(src); at += x.c {
				to := dst[at : at+x.c]
				e.Kernels.Mul(to, src[at:at+x.c], s.scale)
				e.Kernels.Add(to, to, s.shift)
			}
			if s.act.name != "" {
				s.act.run(e.Kernels, dst, dst)
			}
		}
	})
	e.SetOut(0, t)
	return nil
}

// normalization returns what a BatchNormalization with known statistics
// multiplies each channel by and adds to it.
func (o *optimizer) normalization(n *graph.Node) (scale, shift []float32, ok bool) {
	if !n.Is("BatchNormalization") || n.Int("training_mode", 0) != 0 || n.NumOut() != 1 {
		return nil, nil, false
	}
	p, ok := o.floats(n.In(1), n.In(2), n.In(3), n.In(4))
	if !ok {
		return nil, nil, false
	}
	gamma, beta, mean, variance := p[0], p[1], p[2], p[3]
	if len(beta) != len(gamma) || len(mean) != len(gamma) || len(variance) != len(gamma) {
		return nil, nil, false
	}
	eps := float64(n.Float("epsilon", 1e-5))
	scale, shift = make([]float32, len(gamma)), make([]float32, len(gamma))
	for i := range gamma {
		s := float64(gamma[i]) / math.Sqrt(float64(variance[i])+eps)
		scale[i] = float32(s)
		shift[i] = float32(float64(beta[i]) - float64(mean[i])*s)
	}
	return scale, shift, true
}

package engine

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// planesDepthwise is a convolution of each channel by itself with a window of
// 3x3, over channels that lie in planes.
type planesDepthwise struct {
	window
	weights []float32 // [channels, 3, 3]
	bias    []float32 // nil if none
	act     activation
}

// planesWork is how many multiply-accumulates of a product take as long as an
// element of the result.
const planesWork = 20

func (d *planesDepthwise) name() string {
	if d.act.name != "" {
		return "Depthwise+" + d.act.name
	}
	return "Depthwise"
}

// over returns the convolution over planes of h x w whose rows are step apart,
// without its operands.
func (d *planesDepthwise) over(h, w, step int) (kernel.DepthwisePlanes, error) {
	p := kernel.DepthwisePlanes{H: h, W: w, Stride: d.stride[0], LDI: h * step, LDR: step}
	var err error
	if p.OH, p.Top, err = d.window.over(0, h); err == nil {
		p.OW, p.Left, err = d.window.over(1, w)
	}
	if err != nil {
		return p, fmt.Errorf("the depthwise window: %w", err)
	}
	p.LDO = p.OH * p.OW
	p.Lo, p.Hi = d.act.limits()
	return p, nil
}

// channels computes so many channels from the first on. x begins with that
// channel, y with channel 0.
func (d *planesDepthwise) channels(k *kernel.Table, p kernel.DepthwisePlanes, x, y []float32, first, count int) {
	p.In, p.Out, p.C = x, y[first*p.LDO:(first+count)*p.LDO], count
	p.Weights = d.weights[9*first:]
	if d.bias != nil {
		p.Bias = d.bias[first:]
	}
	k.DepthwisePlanes(&p)
	if d.act.apply != nil {
		d.act.apply(k, p.Out, p.Out)
	}
}

// planesDepthwise returns n as a convolution over planes of so many channels, nil
// if it is none.
func (o *optimizer) planesDepthwise(n *graph.Node, channels int) *planesDepthwise {
	if !n.Is("Conv") || n.Int("group", 1) != int64(channels) {
		return nil
	}
	w := o.constant(n.In(1))
	if w == nil || w.DType() != tensor.Float32 || !w.Shape().Equal(tensor.Shape{channels, 1, 3, 3}) {
		return nil
	}
	win, err := windowOf(n, 3, 3)
	if err != nil || win.stride[0] != win.stride[1] || win.stride[0] > 2 || win.dilation != [2]int{1, 1} || max(win.before[0], win.before[1]) > 2 {
		return nil
	}
	d := &planesDepthwise{window: win, weights: tensor.Data[float32](w)}
	if n.In(2) != nil {
		b, ok := o.floats(n.In(2))
		if !ok || len(b[0]) != channels {
			return nil
		}
		d.bias = b[0]
	}
	return d
}

package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op/internal/dft"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// signalDefs holds windows and Fourier transforms.
var signalDefs = []*Def{
	windowDef("HannWindow", func(t float64) float64 { return 0.5 - 0.5*math.Cos(2*math.Pi*t) }),
	windowDef("HammingWindow", func(t float64) float64 { return 25.0/46 - 21.0/46*math.Cos(2*math.Pi*t) }),
	windowDef("BlackmanWindow", func(t float64) float64 {
		return 0.42 - 0.5*math.Cos(2*math.Pi*t) + 0.08*math.Cos(4*math.Pi*t)
	}),
	{Name: "DFT", Since: 17, Infer: inferDFT, Eval: evalDFT, Cost: costDFT},
	{Name: "STFT", Since: 17, Infer: inferSTFT, Eval: evalSTFT, Cost: costDFT},
	{Name: "MelWeightMatrix", Since: 17, Infer: inferMel, Eval: evalMel, Cost: perElement(1)},
}

// windowDef defines a window: value i is f(i/size) if it is periodic, else
// f(i/(size-1)).
func windowDef(name string, f func(t float64) float64) *Def {
	return &Def{
		Name: name, Since: 17, Cost: perElement(10),
		Infer: func(c *Infer) error {
			n := graph.Unknown()
			if d := c.Dims(0); len(d) == 1 {
				n = d[0]
			}
			c.SetOut(0, outputType(c.Node), graph.Dims{n})
			return nil
		},
		Eval: func(e *Eval) error {
			size, err := e.int(0, 0)
			if err != nil {
				return err
			}
			if err := checkSize(size); err != nil {
				return e.Errorf(0, "%v", err)
			}
			period := float64(size)
			if e.Node.Int("periodic", 1) == 0 {
				period--
			}
			w := make([]float64, size)
			for i := range w {
				w[i] = f(float64(i) / period)
			}
			e.SetOut(0, tensor.FromFloat64s(outputType(e.Node), tensor.Shape{size}, w))
			return nil
		},
	}
}

// checkSize refuses the length of a result that no tensor can have.
func checkSize(n int) error {
	if n < 0 {
		return fmt.Errorf("size is %d, want at least 0", n)
	}
	return tensor.Shape{n}.Check()
}

// outputType is the attribute output_datatype, Float32 by default.
func outputType(n *graph.Node) tensor.DType {
	return tensor.DType(n.Int("output_datatype", int64(tensor.Float32)))
}

// dftAxis returns the axis of the transform: an attribute below version 20,
// an input from there on.
func dftAxis(version int64, n *graph.Node, given *tensor.Tensor, rank int) (int, error) {
	axis := n.Int("axis", 1)
	if version >= 20 {
		axis = -2
		if given != nil {
			list, err := ints(given)
			if err != nil || len(list) != 1 {
				return 0, fmt.Errorf("axis %v, want one integer", given)
			}
			axis = int64(list[0])
		}
	}
	a, err := tensor.Axis(int(axis), rank)
	if err == nil && a == rank-1 {
		err = fmt.Errorf("axis %d holds real and imaginary parts, want another", axis)
	}
	return a, err
}

func evalDFT(e *Eval) error {
	t := e.Tensor(0)
	s := t.Shape()
	if len(s) < 2 || s[len(s)-1] != 1 && s[len(s)-1] != 2 {
		return e.Errorf(0, "want at least 2 axes, the last of length 1 (real) or 2 (complex)")
	}
	axis, err := dftAxis(e.Version, e.Node, e.Tensor(2), len(s))
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	p := dft.Plan{Inverse: e.Node.Int("inverse", 0) != 0, Onesided: e.Node.Int("onesided", 0) != 0}
	p.Length = s[axis]
	if p.Inverse && p.Onesided {
		p.Length = 2 * (s[axis] - 1)
	}
	if p.Length, err = e.int(1, p.Length); err != nil {
		return err
	}
	if p.Length < 1 {
		return e.Errorf(1, "length is %d, want at least 1", p.Length)
	}
	y := transform(e, p, axis, tensor.Float64s(t), s)
	e.SetOut(0, cast(y, t.DType()))
	return nil
}

// transform returns the transform of x, of shape s, along an axis, as Float64.
func transform(e *Eval, p dft.Plan, axis int, x []float64, s tensor.Shape) *tensor.Tensor {
	last := len(s) - 1
	shape := s.Clone()
	shape[axis], shape[last] = p.Out(), p.OutParts()
	y := tensor.New(tensor.Float64, shape)
	dst := tensor.Data[float64](y)
	in, out := newLanes(s, axis, last), newLanes(shape, axis, last)
	e.Parallel(in.count, in.laneGrain(), func(lo, hi int) {
		plan := p
		src, res := make([]float64, in.size), make([]float64, out.size)
		for i := lo; i < hi; i++ {
			plan.Transform(res, readLane(in, i, x, src), s[last])
			writeLane(out, i, dst, res)
		}
	})
	return y
}

func inferDFT(c *Infer) error {
	s := slices.Clone(c.Shape(0))
	if s == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	s[len(s)-1] = graph.Known(2)
	inverse, onesided := c.Node.Int("inverse", 0) != 0, c.Node.Int("onesided", 0) != 0
	if inverse && onesided {
		s[len(s)-1] = graph.Known(1)
	}
	if c.Version >= 20 && c.Has(2) && c.Const(2) == nil {
		c.SetOut(0, c.Elem(0), append(unknownDims(len(s)-1), s[len(s)-1]))
		return nil
	}
	axis, err := dftAxis(c.Version, c.Node, c.Const(2), len(s))
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	s[axis] = dftLength(c, s[axis], inverse, onesided)
	c.SetOut(0, c.Elem(0), s)
	return nil
}

// dftLength returns the length of a transform along an axis of length n.
func dftLength(c *Infer, n graph.Dim, inverse, onesided bool) graph.Dim {
	given := c.Has(1)
	if given {
		n = graph.Unknown()
		if d := c.Dims(1); len(d) == 1 {
			n = d[0]
		}
	}
	switch {
	case !onesided || inverse && given:
		return n
	case !n.IsKnown():
		return graph.Unknown()
	case inverse:
		return graph.Known(2 * (n.Size - 1))
	}
	return graph.Known(n.Size/2 + 1)
}

// costDFT is 5 n log2 n for each lane of length n, as fast transforms count.
func costDFT(c *Infer) Cost {
	cost := c.traffic()
	if n, ok := c.outLen(0); ok {
		cost.Flops = int64(5 * float64(n) * math.Log2(float64(max(2, n))))
	}
	return cost
}

// stft is one call of STFT: the frames of a signal, windowed and transformed.
type stft struct {
	step, length, frames int
	window               []float64 // nil for ones
	onesided             bool
}

func evalSTFT(e *Eval) error {
	t := e.Tensor(0)
	s := t.Shape()
	if len(s) == 2 {
		s = tensor.Shape{s[0], s[1], 1}
	}
	if len(s) != 3 || s[2] != 1 && s[2] != 2 {
		return e.Errorf(0, "want [batch,length,1] or [batch,length,2]")
	}
	f, err := newSTFT(e, s[1])
	if err != nil {
		return err
	}
	x := tensor.Float64s(t)
	framed := make([]float64, 0, s[0]*f.frames*f.length*s[2])
	for b := range s[0] {
		for i := range f.frames {
			for j := range f.length {
				w := 1.0
				if f.window != nil {
					w = f.window[j]
				}
				for p := range s[2] {
					framed = append(framed, w*x[(b*s[1]+i*f.step+j)*s[2]+p])
				}
			}
		}
	}
	p := dft.Plan{Length: f.length, Onesided: f.onesided}
	y := transform(e, p, 2, framed, tensor.Shape{s[0], f.frames, f.length, s[2]})
	e.SetOut(0, cast(y, t.DType()))
	return nil
}

func newSTFT(e *Eval, signal int) (stft, error) {
	f := stft{length: signal, onesided: e.Node.Int("onesided", 1) != 0}
	var err error
	if f.step, err = e.int(1, 0); err != nil {
		return f, err
	}
	if f.step < 1 {
		return f, e.Errorf(1, "frame step is %d, want at least 1", f.step)
	}
	if w := e.Tensor(2); w != nil {
		f.window, f.length = tensor.Float64s(w), w.Len()
	}
	if f.length, err = e.int(3, f.length); err != nil {
		return f, err
	}
	if f.length < 1 || f.length > signal {
		return f, e.Errorf(3, "frame length is %d, want 1 to the signal's %d", f.length, signal)
	}
	if f.window != nil && len(f.window) != f.length {
		return f, e.Errorf(2, "window has %d values, want the frame length %d", len(f.window), f.length)
	}
	f.frames = 1 + (signal-f.length)/f.step
	return f, nil
}

func inferSTFT(c *Infer) error {
	s := c.Shape(0)
	out := unknownDims(4)
	out[3] = graph.Known(2)
	if len(s) > 0 {
		out[0] = s[0]
	}
	length := graph.Unknown()
	if w := c.Shape(2); len(w) == 1 {
		length = w[0]
	}
	if d := c.Dims(3); len(d) == 1 {
		length = d[0]
	}
	if length.IsKnown() {
		out[2] = length
		if c.Node.Int("onesided", 1) != 0 {
			out[2] = graph.Known(length.Size/2 + 1)
		}
		step := c.Dims(1)
		if len(step) == 1 && step[0].IsKnown() && step[0].Size > 0 && len(s) > 1 && s[1].IsKnown() {
			out[1] = graph.Known(1 + (s[1].Size-length.Size)/step[0].Size)
		}
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func inferMel(c *Infer) error {
	out := unknownDims(2)
	if d := c.Dims(1); len(d) == 1 && d[0].IsKnown() {
		out[0] = graph.Known(d[0].Size/2 + 1)
	}
	if d := c.Dims(0); len(d) == 1 {
		out[1] = d[0]
	}
	c.SetOut(0, outputType(c.Node), out)
	return nil
}

// evalMel makes triangles over the bins of a spectrum that are even on the
// mel scale, 2595*log10(1+f/700).
func evalMel(e *Eval) error {
	var n [3]int
	for i := range n {
		var err error
		if n[i], err = e.int(i, 0); err != nil {
			return err
		}
		if n[i] < 1 {
			return e.Errorf(i, "is %d, want at least 1", n[i])
		}
	}
	bins, length, rate := n[0], n[1], n[2]
	rows := length/2 + 1
	if err := (tensor.Shape{rows, bins}).Check(); err != nil {
		return err
	}
	edges := melEdges(bins, length, rate, tensor.Float64s(e.Tensor(3))[0], tensor.Float64s(e.Tensor(4))[0])
	y := make([]float64, rows*bins)
	set := func(row, col int, x float64) {
		if row >= 0 && row < rows {
			y[row*bins+col] = x
		}
	}
	for i := range bins {
		left, center, right := edges[i], edges[i+1], edges[i+2]
		if left == center {
			set(center, i, 1)
		}
		for j := left; j <= center && left < center; j++ {
			set(j, i, float64(j-left)/float64(center-left))
		}
		for j := center; j < right; j++ {
			set(j, i, float64(right-j)/float64(right-center))
		}
	}
	e.SetOut(0, tensor.FromFloat64s(outputType(e.Node), tensor.Shape{rows, bins}, y))
	return nil
}

// melEdges returns the bins of the spectrum at which the triangles meet.
func melEdges(bins, length, rate int, low, high float64) []int {
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	edges := make([]int, bins+2)
	step := (mel(high) - mel(low)) / float64(len(edges))
	for i := range edges {
		hz := 700 * (math.Pow(10, (float64(i)*step+mel(low))/2595) - 1)
		edges[i] = int(math.Floor(float64(length+1) * hz / float64(rate)))
	}
	return edges
}

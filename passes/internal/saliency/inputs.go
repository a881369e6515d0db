package saliency

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Inputs reads the columns of inputs that a weight's matrix is multiplied by
// out of the node's other operand. For a convolution these are the patches
// under its window (im2col).
type Inputs struct {
	Value  *graph.Value // the operand
	Matrix *Matrix

	node  *graph.Node
	slot  int
	taps  []int // sizes of a convolution's window
	limit int
}

// InputsOf returns the reader for input slot of n, a weight that m describes
// (see [MatrixOf]). Of every sample at most limit columns are read, spread
// evenly over it; 0 means all. The error says why they cannot be read.
func InputsOf(n *graph.Node, slot int, shape tensor.Shape, limit int) (*Inputs, error) {
	m, err := MatrixOf(n, slot, shape)
	if err != nil {
		return nil, err
	}
	in := &Inputs{Matrix: m, node: n, slot: slot, limit: limit}
	switch {
	case n.Is("Conv"):
		in.Value, in.taps = n.In(0), shape[2:]
	case n.Is("ConvTranspose"):
		in.Value = n.In(0)
	case m.Groups > 1:
		return nil, fmt.Errorf("its weight is a stack of matrices")
	default:
		in.Value = n.In(1 - slot)
	}
	if in.Value == nil || in.Value.IsConst() {
		return nil, fmt.Errorf("both its operands are constant")
	}
	return in, nil
}

// Columns are inputs of one sample: for every group, Cols rows of N numbers.
type Columns struct {
	N      int
	Groups [][]float32
}

// Join returns the columns of several, one after the other.
func Join(parts []*Columns) *Columns {
	all := &Columns{}
	for _, p := range parts {
		all.N += p.N
	}
	for g := range parts[0].Groups {
		rows := 0
		if n := parts[0].N; n > 0 {
			rows = len(parts[0].Groups[g]) / n
		}
		x := make([]float32, rows*all.N)
		at := 0
		for _, p := range parts {
			for r := range rows {
				copy(x[r*all.N+at:], p.Groups[g][r*p.N:(r+1)*p.N])
			}
			at += p.N
		}
		all.Groups = append(all.Groups, x)
	}
	return all
}

// places says where the numbers of columns lie in an operand: input (tap, c) of
// group g at position p is element at[tap][p] + (g*channels+c)*step, and zero
// where at is negative.
type places struct {
	channels, step int
	at             [][]int
}

// Read returns the columns of x, the operand's contents. With a limit, the
// positions that are read depend on the number of the sample.
func (in *Inputs) Read(x *tensor.Tensor, sample int) (*Columns, error) {
	p, err := in.places(x.Shape(), sample)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", in.node, err)
	}
	m := in.Matrix
	if p.channels*len(p.at) != m.Cols {
		return nil, fmt.Errorf("%v: input %v gives %d numbers a column, want %d", in.node, x, p.channels*len(p.at), m.Cols)
	}
	data := tensor.Float32s(x)
	c := &Columns{N: len(p.at[0]), Groups: make([][]float32, m.Groups)}
	flat := make([]float32, m.Groups*m.Cols*c.N)
	for g := range c.Groups {
		c.Groups[g] = flat[g*m.Cols*c.N : (g+1)*m.Cols*c.N]
		p.gather(c.Groups[g], data, g)
	}
	return c, nil
}

// Channels is how many channels y has if it is taken for the node's result; 0 if
// it is not shaped like one.
func (in *Inputs) Channels(y *tensor.Tensor) int {
	s := y.Shape()
	switch {
	case in.node.Is("Conv") && len(s) > 2:
		return s[1]
	case !in.node.Is("Conv") && len(s) > 0:
		return s[len(s)-1]
	}
	return 0
}

// Results returns the numbers of y, which has the shape of the node's result,
// at the positions whose columns [Inputs.Read] returns for the same sample: for
// each of the channels that rows lists, one for each column.
func (in *Inputs) Results(y *tensor.Tensor, sample int, rows []int) ([]float32, error) {
	s := y.Shape()
	channel, area := len(s)-1, 1
	switch {
	case in.node.Is("Conv") && len(s) > 2:
		channel, area = 1, s[2:].Len()
	case in.node.Is("Conv", "ConvTranspose") || in.slot != 1 || len(s) < 2:
		return nil, fmt.Errorf("%v: its results are not told by columns", in.node)
	}
	n := s[channel]
	data := tensor.Float32s(y)
	at := in.pick(y.Len()/max(n, 1), sample)
	out := make([]float32, 0, len(rows)*len(at))
	for _, r := range rows {
		for _, q := range at {
			out = append(out, data[(q/area*n+r)*area+q%area])
		}
	}
	return out, nil
}

func (p *places) gather(dst, src []float32, group int) {
	for _, at := range p.at {
		for c := range p.channels {
			from := (group*p.channels + c) * p.step
			for i, a := range at {
				if a >= 0 {
					dst[i] = src[from+a]
				}
			}
			dst = dst[len(at):]
		}
	}
}

func (in *Inputs) places(s tensor.Shape, sample int) (*places, error) {
	switch {
	case in.node.Is("Conv", "ConvTranspose"):
		if len(s) < 3 {
			return nil, fmt.Errorf("input has shape %v, want at least 3 axes", s)
		}
		if s[1]%in.Matrix.Groups != 0 {
			return nil, fmt.Errorf("input has %d channels, want a multiple of %d groups", s[1], in.Matrix.Groups)
		}
		if in.taps == nil {
			return in.pixels(s, sample), nil
		}
		return in.patches(s, sample)
	case len(s) == 1:
		return &places{channels: s[0], step: 1, at: [][]int{{0}}}, nil
	}
	channelsLast := in.slot == 1
	if in.node.Is("Gemm") && in.node.Int([2]string{"transB", "transA"}[in.slot], 0) != 0 {
		channelsLast = !channelsLast
	}
	return in.rows(s, channelsLast, sample), nil
}

// pick returns at most limit of the positions 0..n-1.
func (in *Inputs) pick(n, sample int) []int {
	if in.limit <= 0 || n <= in.limit {
		return steps(n, 1)
	}
	at := make([]int, in.limit)
	for i := range at {
		at[i] = (i*n/in.limit + sample) % n
	}
	return at
}

// rows places the columns of a matrix, or of a stack of them.
func (in *Inputs) rows(s tensor.Shape, channelsLast bool, sample int) *places {
	a, b := s[len(s)-2], s[len(s)-1]
	stack := s[:len(s)-2].Len()
	if channelsLast {
		return &places{channels: b, step: 1, at: [][]int{scaled(in.pick(stack*a, sample), b)}}
	}
	at := in.pick(stack*b, sample)
	for i, p := range at {
		at[i] = p/b*a*b + p%b
	}
	return &places{channels: a, step: b, at: [][]int{at}}
}

func scaled(x []int, by int) []int {
	for i := range x {
		x[i] *= by
	}
	return x
}

// pixels places the pixels [N, C, spatial…].
func (in *Inputs) pixels(s tensor.Shape, sample int) *places {
	area := s[2:].Len()
	at := in.pick(s[0]*area, sample)
	for i, p := range at {
		at[i] = p/area*s[1]*area + p%area
	}
	return &places{channels: s[1] / in.Matrix.Groups, step: area, at: [][]int{at}}
}

// patches places what lies under the window at each position of the result.
func (in *Inputs) patches(s tensor.Shape, sample int) (*places, error) {
	w, err := windowOf(in.node, in.taps, s[2:])
	if err != nil {
		return nil, err
	}
	area, out := s[2:].Len(), w.out.Len()
	positions := in.pick(s[0]*out, sample)
	p := &places{channels: s[1] / in.Matrix.Groups, step: area, at: make([][]int, tensor.Shape(in.taps).Len())}
	for t := range p.at {
		p.at[t] = make([]int, len(positions))
		for i, q := range positions {
			p.at[t][i] = -1
			if inside := w.under(q%out, t); inside >= 0 {
				p.at[t][i] = q/out*s[1]*area + inside
			}
		}
	}
	return p, nil
}

// window is a convolution's window over inputs of one size.
type window struct {
	in, out, taps            tensor.Shape
	strides, dilations, pads []int
}

func windowOf(n *graph.Node, taps []int, in tensor.Shape) (*window, error) {
	if len(taps) != len(in) {
		return nil, fmt.Errorf("window has %d axes, the input %d", len(taps), len(in))
	}
	w := &window{in: in, taps: taps, strides: attr(n, "strides", len(in), 1), dilations: attr(n, "dilations", len(in), 1)}
	pads := attr(n, "pads", 2*len(in), 0)
	auto := n.Str("auto_pad", "NOTSET")
	for i := range in {
		extent := (taps[i]-1)*w.dilations[i] + 1
		before, after := pads[i], pads[len(in)+i]
		switch auto {
		case "VALID":
			before, after = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			total := max(0, ((in[i]+w.strides[i]-1)/w.strides[i]-1)*w.strides[i]+extent-in[i])
			before, after = total/2, total-total/2
			if auto == "SAME_LOWER" {
				before, after = after, before
			}
		}
		size := (in[i]+before+after-extent)/w.strides[i] + 1
		if in[i]+before+after < extent {
			return nil, fmt.Errorf("window spans %d, the padded input %d", extent, in[i]+before+after)
		}
		w.pads, w.out = append(w.pads, before), append(w.out, size)
	}
	return w, nil
}

// attr returns a list attribute with n numbers, all def if it is absent or
// odd.
func attr(n *graph.Node, name string, count, def int) []int {
	x := make([]int, count)
	list := n.Ints(name)
	for i := range x {
		x[i] = def
		if len(list) == count && (def == 0 || list[i] > 0) {
			x[i] = int(list[i])
		}
	}
	return x
}

// under returns which input pixel lies under a tap of the window at a
// position of the result, -1 for padding.
func (w *window) under(position, tap int) int {
	at, scale := 0, 1
	for i := len(w.in) - 1; i >= 0; i-- {
		x := position%w.out[i]*w.strides[i] + tap%w.taps[i]*w.dilations[i] - w.pads[i]
		if x < 0 || x >= w.in[i] {
			return -1
		}
		at += x * scale
		scale *= w.in[i]
		position /= w.out[i]
		tap /= w.taps[i]
	}
	return at
}

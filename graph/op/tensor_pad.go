package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// padding is what a call adds to (or, below zero, takes from) both ends of
// each axis.
type padding struct{ begin, end []int }

// padAmounts reads the padding of a Pad of any version; axes is nil where all
// axes are meant in order.
func padAmounts(pads, only []int, rank int) (padding, error) {
	if only == nil {
		only = firstAxes(rank)
	}
	ax, err := axes(only, rank)
	if err != nil {
		return padding{}, err
	}
	if len(pads) != 2*len(ax) {
		return padding{}, fmt.Errorf("%d pads for %d axes, want two for each", len(pads), len(ax))
	}
	p := padding{make([]int, rank), make([]int, rank)}
	for i, a := range ax {
		p.begin[a], p.end[a] = pads[i], pads[len(ax)+i]
	}
	return p, nil
}

// shape returns the shape of the padded form of a tensor of shape s.
func (p padding) shape(s tensor.Shape) (tensor.Shape, error) {
	out := s.Clone()
	for i := range out {
		out[i] += p.begin[i] + p.end[i]
		if out[i] < 0 {
			return nil, fmt.Errorf("axis %d of length %d is padded by %d and %d", i, s[i], p.begin[i], p.end[i])
		}
	}
	return out, out.Check()
}

func evalPad(e *Eval) error {
	x := e.Tensor(0)
	attr := "pads"
	if e.Version == 1 && e.Node.Attr("pads") == nil {
		attr = "paddings"
	}
	pads, given, err := e.list(1, padInputs(&e.Call), attr)
	if err != nil {
		return err
	}
	if !given {
		return fmt.Errorf("no pads are given")
	}
	var only []int
	if e.Tensor(3) != nil {
		if only, err = e.ints(3); err != nil {
			return err
		}
	}
	p, err := padAmounts(pads, only, x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, err := e.pad(x, p, e.Node.Str("mode", "constant"), padValue(e))
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, y)
	return nil
}

// padInputs returns the version from which the amounts are an input.
func padInputs(c *Call) int64 {
	if c.Node.Domain != "" {
		return 1
	}
	return 11
}

// padValue returns the element to pad with, nil for zero.
func padValue(e *Eval) *tensor.Tensor {
	if e.Version >= padInputs(&e.Call) {
		if v := e.Tensor(2); v != nil && v.Len() == 1 {
			return v
		}
		return nil
	}
	if v := e.Node.Float("value", 0); v != 0 {
		return tensor.FromFloat32s(e.Tensor(0).DType(), tensor.Shape{}, []float32{v})
	}
	return nil
}

// pad returns x padded; value is the element of mode constant.
func (e *Eval) pad(x *tensor.Tensor, p padding, mode string, value *tensor.Tensor) (*tensor.Tensor, error) {
	out, err := p.shape(x.Shape())
	if err != nil {
		return nil, err
	}
	if mode == "constant" {
		return e.padConstant(x, p, out, value)
	}
	source, ok := padModes[mode]
	if !ok {
		return nil, fmt.Errorf("attribute mode is %q, want constant, reflect, edge or wrap", mode)
	}
	for a := range out {
		if p.begin[a] == 0 && p.end[a] == 0 {
			continue
		}
		if x, err = e.padAxis(x, a, p.begin[a], out[a], source); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (e *Eval) padConstant(x *tensor.Tensor, p padding, out tensor.Shape, value *tensor.Tensor) (*tensor.Tensor, error) {
	if value != nil && value.DType() != x.DType() {
		return nil, fmt.Errorf("pads with a %v", value.DType())
	}
	y := e.New(x.DType(), out)
	fill(y, value)
	b := box{shape: x.Shape().Clone(), dStr: out.Strides(), sStr: x.Shape().Strides()}
	for a := range out {
		cut := max(0, -p.begin[a])
		b.shape[a] -= cut + max(0, -p.end[a])
		if b.shape[a] <= 0 {
			return y, nil
		}
		b.sOff += cut * b.sStr[a]
		b.dOff += max(0, p.begin[a]) * b.dStr[a]
	}
	e.move(y, x, b)
	return y, nil
}

// padAxis returns x with axis a made n long, its index i being that of x that
// source finds for i - begin.
func (e *Eval) padAxis(x *tensor.Tensor, a, begin, n int, source func(i, n int) int) (*tensor.Tensor, error) {
	outer, from, inner := split3(x.Shape(), a)
	if from == 0 && n > 0 {
		return nil, fmt.Errorf("axis %d is empty and has nothing to pad with", a)
	}
	idx := make([]int, n)
	for i := range idx {
		idx[i] = source(i-begin, from)
	}
	s := x.Shape().Clone()
	s[a] = n
	y := e.New(x.DType(), s)
	e.pick(y, x, outer, from, inner, idx)
	return y, nil
}

// padModes tells for each mode which index of an axis of length n stands at
// place i, which may be outside 0..n-1.
var padModes = map[string]func(i, n int) int{
	"edge": func(i, n int) int { return min(max(i, 0), n-1) },
	"wrap": mod,
	"reflect": func(i, n int) int {
		if n == 1 {
			return 0
		}
		i = mod(i, 2*n-2)
		return min(i, 2*n-2-i)
	},
}

// mod returns i modulo n, in 0..n-1.
func mod(i, n int) int {
	if i %= n; i < 0 {
		i += n
	}
	return i
}

// evalCenterCropPad crops and pads axes evenly at both ends to the lengths
// asked for.
func evalCenterCropPad(e *Eval) error {
	x := e.Tensor(0)
	want, err := e.ints(1)
	if err != nil {
		return err
	}
	p, err := centerPadding(&e.Call, x.Shape(), want)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, err := e.pad(x, p, "constant", nil)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, y)
	return nil
}

func centerAxes(c *Call, rank int) ([]int, error) {
	if c.Node.Attr("axes") == nil {
		return firstAxes(rank), nil
	}
	return axes(toInts(c.Node.Ints("axes")), rank)
}

func centerPadding(c *Call, s tensor.Shape, want []int) (padding, error) {
	ax, err := centerAxes(c, len(s))
	if err != nil {
		return padding{}, err
	}
	if len(want) != len(ax) {
		return padding{}, fmt.Errorf("%d lengths for %d axes", len(want), len(ax))
	}
	p := padding{make([]int, len(s)), make([]int, len(s))}
	for i, a := range ax {
		if want[i] < 0 {
			return padding{}, fmt.Errorf("lengths %v", want)
		}
		more := want[i] - s[a]
		if more < 0 { // the window starts at the half, rounded down
			p.begin[a] = -(-more / 2)
		} else {
			p.begin[a] = more / 2
		}
		p.end[a] = more - p.begin[a]
	}
	return p, nil
}

// evalDepthToSpace and its inverse are transpositions of a finer shape.
func evalDepthToSpace(e *Eval) error {
	x := e.Tensor(0)
	b := int(e.Node.Int("blocksize", 0))
	s := x.Shape()
	if len(s) != 4 || b < 1 || s[1]%(b*b) != 0 {
		return e.Errorf(0, "want 4 axes and channels in blocks of %d*%d", b, b)
	}
	c := s[1] / (b * b)
	fine, perm := tensor.Shape{s[0], b, b, c, s[2], s[3]}, []int{0, 3, 4, 1, 5, 2}
	switch mode := e.Node.Str("mode", "DCR"); mode {
	case "DCR":
	case "CRD":
		fine, perm = tensor.Shape{s[0], c, b, b, s[2], s[3]}, []int{0, 1, 4, 2, 5, 3}
	default:
		return fmt.Errorf("attribute mode is %q, want DCR or CRD", mode)
	}
	y := e.transpose(x.Reshape(fine), perm)
	e.SetOut(0, y.Reshape(tensor.Shape{s[0], c, s[2] * b, s[3] * b}))
	return nil
}

func evalSpaceToDepth(e *Eval) error {
	x := e.Tensor(0)
	b := int(e.Node.Int("blocksize", 0))
	s := x.Shape()
	if len(s) != 4 || b < 1 || s[2]%b != 0 || s[3]%b != 0 {
		return e.Errorf(0, "want 4 axes and sides divisible by %d", b)
	}
	h, w := s[2]/b, s[3]/b
	y := e.transpose(x.Reshape(tensor.Shape{s[0], s[1], h, b, w, b}), []int{0, 3, 5, 1, 2, 4})
	e.SetOut(0, y.Reshape(tensor.Shape{s[0], s[1] * b * b, h, w}))
	return nil
}

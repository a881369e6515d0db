package op

import (
	"fmt"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Operators that keep the elements in order and change what they are called:
// their shape, or their type.

func evalIdentity(e *Eval) error {
	e.SetOut(0, e.In[0])
	return nil
}

// castType returns the type that a Cast or BitCast makes; Cast of version 1
// names it.
func castType(c *Call) (tensor.DType, error) {
	if name := c.Node.Str("to", ""); name != "" {
		if d, ok := tensor.ParseDType(strings.ToLower(name)); ok {
			return d, nil
		}
		return 0, fmt.Errorf("attribute to is %q, want the name of a type", name)
	}
	to := c.Node.Int("to", 0)
	if d := tensor.DType(to); to > 0 && to < 256 && d.Valid() {
		return d, nil
	}
	return 0, fmt.Errorf("attribute to is %d, want the number of a type", to)
}

func evalCast(e *Eval) error {
	to, err := castType(&e.Call)
	if err != nil {
		return err
	}
	return e.cast(to)
}

func evalCastLike(e *Eval) error { return e.cast(e.Tensor(1).DType()) }

// cast sets result 0 to input 0 with elements of type to.
func (e *Eval) cast(to tensor.DType) error {
	x := e.Tensor(0)
	if x.DType() == to {
		e.SetOut(0, x)
		return nil
	}
	mode := e.Node.Str("round_mode", "up")
	round, ok := tensor.ParseRounding(mode)
	if !ok {
		return fmt.Errorf("attribute round_mode is %q, want up, down or nearest", mode)
	}
	y := e.New(to, x.Shape())
	if err := tensor.ConvertTo(y, x, e.Node.Int("saturate", 1) != 0, round); err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, y)
	return nil
}

func evalBitCast(e *Eval) error {
	x := e.Tensor(0)
	to, err := castType(&e.Call)
	if err != nil {
		return err
	}
	if to.Bits() != x.DType().Bits() || to.Bits() == 0 {
		return e.Errorf(0, "has elements of %d bits, %v has %d", x.DType().Bits(), to, to.Bits())
	}
	e.SetOut(0, x.Bitcast(to))
	return nil
}

func evalReshape(e *Eval) error {
	x := e.Tensor(0)
	target, _, err := e.list(1, 5, "shape")
	if err != nil {
		return err
	}
	s, err := reshapeTo(x.Shape(), target, e.Node.Int("allowzero", 0) != 0)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, x.Reshape(s))
	return nil
}

// reshapeTo resolves a Reshape target: 0 keeps the dimension in its place
// unless allowZero is set, one -1 takes what is left.
func reshapeTo(in tensor.Shape, target []int, allowZero bool) (tensor.Shape, error) {
	out := make(tensor.Shape, len(target))
	free, known := -1, 1
	for i, n := range target {
		switch {
		case n == -1:
			if free >= 0 {
				return nil, fmt.Errorf("target %v has more than one -1", target)
			}
			free = i
			continue
		case n == 0 && !allowZero:
			if i >= len(in) {
				return nil, fmt.Errorf("target %v keeps dimension %d of %d", target, i, len(in))
			}
			n = in[i]
		case n < 0:
			return nil, fmt.Errorf("target %v has a negative dimension", target)
		}
		out[i] = n
	}
	if free >= 0 {
		out[free] = 1
	}
	if err := out.Check(); err != nil {
		return nil, err
	}
	known = out.Len()
	if free >= 0 {
		if known == 0 || in.Len()%known != 0 {
			return nil, fmt.Errorf("%d elements do not fill target %v", in.Len(), target)
		}
		out[free] = in.Len() / known
	} else if known != in.Len() {
		return nil, fmt.Errorf("%d elements do not fill target %v", in.Len(), target)
	}
	return out, nil
}

func evalSqueeze(e *Eval) error {
	x := e.Tensor(0)
	list, given, err := e.list(1, 13, "axes")
	if err != nil {
		return err
	}
	drop := make([]bool, x.Rank())
	if given {
		ax, err := axes(list, x.Rank())
		if err != nil {
			return e.Errorf(0, "%w", err)
		}
		for _, a := range ax {
			if x.Shape()[a] != 1 {
				return e.Errorf(0, "axis %d has length %d, want 1", a, x.Shape()[a])
			}
			drop[a] = true
		}
	}
	out := tensor.Shape{}
	for i, n := range x.Shape() {
		if given && !drop[i] || !given && n != 1 {
			out = append(out, n)
		}
	}
	e.SetOut(0, x.Reshape(out))
	return nil
}

func evalUnsqueeze(e *Eval) error {
	x := e.Tensor(0)
	list, given, err := e.list(1, 13, "axes")
	if err != nil {
		return err
	}
	if !given {
		return fmt.Errorf("no axes are given")
	}
	out := make(tensor.Shape, x.Rank()+len(list))
	ax, err := axes(list, len(out))
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	insertOnes(out, x.Shape(), ax, 1)
	e.SetOut(0, x.Reshape(out))
	return nil
}

// insertOnes fills out with one at the given places and the elements of in,
// in order, at the others.
func insertOnes[T any](out, in []T, places []int, one T) {
	isOne := make([]bool, len(out))
	for _, a := range places {
		isOne[a] = true
	}
	j := 0
	for i := range out {
		if isOne[i] {
			out[i] = one
		} else {
			out[i] = in[j]
			j++
		}
	}
}

// flattenAxis returns the axis that Flatten cuts at, 0..rank.
func flattenAxis(c *Call, rank int) (int, error) {
	axis := int(c.Node.Int("axis", 1))
	if axis < 0 && c.Version >= 11 {
		axis += rank
	}
	if axis < 0 || axis > rank {
		return 0, fmt.Errorf("axis %d is outside [%d,%d]", c.Node.Int("axis", 1), -rank, rank)
	}
	return axis, nil
}

func evalFlatten(e *Eval) error {
	x := e.Tensor(0)
	axis, err := flattenAxis(&e.Call, x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	s := x.Shape()
	e.SetOut(0, x.Reshape(tensor.Shape{s[:axis].Len(), s[axis:].Len()}))
	return nil
}

// shapeRange returns which dimensions Shape gives out, from start up to end.
func shapeRange(c *Call, rank int) (start, end int) {
	clamp := func(i int64) int {
		if i < 0 {
			i += int64(rank)
		}
		return int(min(max(i, 0), int64(rank)))
	}
	start, end = clamp(c.Node.Int("start", 0)), rank
	if c.Node.Attr("end") != nil {
		end = clamp(c.Node.Int("end", 0))
	}
	return start, max(start, end)
}

func evalShape(e *Eval) error {
	s := e.Tensor(0).Shape()
	start, end := shapeRange(&e.Call, len(s))
	y := e.New(tensor.Int64, tensor.Shape{end - start})
	for i, n := range s[start:end] {
		tensor.Data[int64](y)[i] = int64(n)
	}
	e.SetOut(0, y)
	return nil
}

func evalSize(e *Eval) error {
	y := e.New(tensor.Int64, tensor.Shape{})
	tensor.Data[int64](y)[0] = int64(e.Tensor(0).Len())
	e.SetOut(0, y)
	return nil
}

package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// grain is how many elements make a task of fair size for arithmetic.
const grain = 1 << 13

// wide returns the type that arithmetic on elements of type d is done in:
// Float32 for the smaller floats, Int64 for signed integers, Uint64 for
// unsigned ones and Bool; other types are their own. Results are rounded, or
// cut to the low bits, on the way back.
func wide(d tensor.DType) tensor.DType {
	switch {
	case d == tensor.Float64:
		return d
	case d.IsFloat():
		return tensor.Float32
	case d.IsSigned():
		return tensor.Int64
	case d.IsUnsigned() || d == tensor.Bool:
		return tensor.Uint64
	}
	return d
}

// widened returns t in the type its arithmetic is done in.
func widened(t *tensor.Tensor) *tensor.Tensor { return cast(t, wide(t.DType())) }

// cast converts between numeric types that always convert; see
// tensor.Convert.
func cast(t *tensor.Tensor, d tensor.DType) *tensor.Tensor {
	c, err := tensor.Convert(t, d, false, tensor.RoundUp)
	if err != nil {
		panic(fmt.Sprintf("op: %v", err))
	}
	return c
}

// unary is a function of one element in each of the types that arithmetic is
// done in. A nil f32 is f64 rounded; another nil function means that elements
// of the type are not served. row, if set, picks the kernel for Float32.
type unary struct {
	row func(*kernel.Table) func(dst, src []float32)
	f32 func(float32) float32
	f64 func(float64) float64
	i64 func(int64) int64
	u64 func(uint64) uint64
}

// eval is an Eval rule: result 0 is the function of input 0.
func (u unary) eval(e *Eval) error {
	y, err := u.apply(e, 0)
	if err == nil {
		e.SetOut(0, y)
	}
	return err
}

// apply returns the function of input i, in the type of the input.
func (u unary) apply(e *Eval, i int) (*tensor.Tensor, error) {
	t := e.Tensor(i)
	x := widened(t)
	var y *tensor.Tensor
	switch {
	case x.DType() == tensor.Float32 && u.row != nil:
		y = mapRows(e, x, u.row(e.Kernels))
	case x.DType() == tensor.Float32 && u.f32 != nil:
		y = mapped(e, x, u.f32)
	case x.DType() == tensor.Float32 && u.f64 != nil:
		y = mapped(e, x, func(x float32) float32 { return float32(u.f64(float64(x))) })
	case x.DType() == tensor.Float64 && u.f64 != nil:
		y = mapped(e, x, u.f64)
	case x.DType() == tensor.Int64 && u.i64 != nil:
		y = mapped(e, x, u.i64)
	case x.DType() == tensor.Uint64 && u.u64 != nil:
		y = mapped(e, x, u.u64)
	default:
		return nil, e.Errorf(i, "elements of type %v are not served", t.DType())
	}
	return cast(y, t.DType()), nil
}

// mapRows returns the tensor that a kernel makes of x.
func mapRows(e *Eval, x *tensor.Tensor, row func(dst, src []float32)) *tensor.Tensor {
	y := e.New(tensor.Float32, x.Shape())
	src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
	e.Parallel(len(src), grain, func(lo, hi int) { row(dst[lo:hi], src[lo:hi]) })
	return y
}

// mapped returns the tensor of f of each element of x.
func mapped[T tensor.Elem](e *Eval, x *tensor.Tensor, f func(T) T) *tensor.Tensor {
	y := e.New(x.DType(), x.Shape())
	src, dst := tensor.Data[T](x), tensor.Data[T](y)
	e.Parallel(len(src), grain, func(lo, hi int) {
		for i, v := range src[lo:hi] {
			dst[lo+i] = f(v)
		}
	})
	return y
}

// binary is a function of two elements, with the types as in unary. Operands
// are broadcast to each other.
type binary struct {
	row func(*kernel.Table) func(dst, a, b []float32)
	f32 func(a, b float32) float32
	f64 func(a, b float64) float64
	i64 func(a, b int64) int64
	u64 func(a, b uint64) uint64
}

// eval is an Eval rule: result 0 is the function of inputs 0 and 1.
func (b binary) eval(e *Eval) error {
	y, err := b.apply(e, e.Tensor(0), e.Tensor(1))
	if err == nil {
		e.SetOut(0, cast(y, e.Tensor(0).DType()))
	}
	return err
}

// apply returns the function of x and y in the type that their arithmetic is
// done in, which must be the same for both.
func (b binary) apply(e *Eval, x, y *tensor.Tensor) (*tensor.Tensor, error) {
	d := wide(x.DType())
	if wide(y.DType()) != d {
		return nil, fmt.Errorf("operands %v and %v: element types differ", x, y)
	}
	shape, err := tensor.Broadcast(x.Shape(), y.Shape())
	if err != nil {
		return nil, err
	}
	w := newBroadcast(shape, x.Shape(), y.Shape())
	z := e.New(d, shape)
	x, y = widened(x), widened(y)
	switch {
	case d == tensor.Float32 && b.row != nil:
		zipRows(e, w, z, x, y, b.row(e.Kernels))
	case d == tensor.Float32 && b.f32 != nil:
		zip(e, w, z, x, y, b.f32)
	case d == tensor.Float32 && b.f64 != nil:
		zip(e, w, z, x, y, func(a, c float32) float32 { return float32(b.f64(float64(a), float64(c))) })
	case d == tensor.Float64 && b.f64 != nil:
		zip(e, w, z, x, y, b.f64)
	case d == tensor.Int64 && b.i64 != nil:
		zip(e, w, z, x, y, b.i64)
	case d == tensor.Uint64 && b.u64 != nil:
		zip(e, w, z, x, y, b.u64)
	default:
		return nil, fmt.Errorf("operands %v and %v: elements of type %v are not served", x, y, d)
	}
	return z, nil
}

// zip sets the elements of z to f of those of x and y, which w broadcasts.
func zip[T, R tensor.Elem](e *Eval, w *walk, z, x, y *tensor.Tensor, f func(T, T) R) {
	zipSlices(e, w, tensor.Data[R](z), tensor.Data[T](x), tensor.Data[T](y), f)
}

func zipSlices[T, R any](e *Eval, w *walk, dst []R, x, y []T, f func(T, T) R) {
	sx, sy := w.step(0), w.step(1)
	e.Parallel(w.size, grain, func(lo, hi int) {
		w.runs(lo, hi, func(pos, n int, off []int) {
			a, b := off[0], off[1]
			for i := range dst[pos : pos+n] {
				dst[pos+i] = f(x[a], y[b])
				a += sx
				b += sy
			}
		})
	})
}

// zipRows is zip through a kernel over rows of equal length: an operand that
// repeats one element along the row is spread to a short row of its own.
func zipRows(e *Eval, w *walk, z, x, y *tensor.Tensor, row func(dst, a, b []float32)) {
	const spreadLen = 256
	dst, src := tensor.Data[float32](z), [2][]float32{tensor.Data[float32](x), tensor.Data[float32](y)}
	steps := [2]int{w.step(0), w.step(1)}
	e.Parallel(w.size, grain, func(lo, hi int) {
		var spread [2][spreadLen]float32
		w.runs(lo, hi, func(pos, n int, off []int) {
			part := n
			for k := range off {
				if steps[k] == 0 && n > 1 {
					part = min(n, spreadLen)
					fillWith(spread[k][:part], src[k][off[k]])
				}
			}
			for i := 0; i < n; i += part {
				m := min(part, n-i)
				var args [2][]float32
				for k := range off {
					if steps[k] == 0 && n > 1 {
						args[k] = spread[k][:m]
					} else {
						args[k] = src[k][off[k]+i : off[k]+i+m]
					}
				}
				row(dst[pos+i:pos+i+m], args[0], args[1])
			}
		})
	})
}

// fold returns the Eval rule of an operator with any number of inputs, joined
// by b from the left; finish, if not nil, turns the whole into the result.
func (b binary) fold(finish func(e *Eval, acc *tensor.Tensor) *tensor.Tensor) func(*Eval) error {
	return func(e *Eval) error {
		if len(e.In) == 0 || e.Tensor(0) == nil {
			return e.Errorf(0, "at least one input is wanted")
		}
		acc := widened(e.Tensor(0))
		for i := 1; i < len(e.In); i++ {
			var err error
			if acc, err = b.apply(e, acc, e.Tensor(i)); err != nil {
				return err
			}
		}
		if finish != nil {
			acc = finish(e, acc)
		}
		e.SetOut(0, cast(acc, e.Tensor(0).DType()))
		return nil
	}
}

// broadcastDims returns the shape that partly known shapes broadcast to, nil
// if one has an unknown rank. Two dimensions of which neither is known to be
// 1 or to be equal give an unknown one, unless one of them is a number above
// 1, which is then the result.
func broadcastDims(shapes ...graph.Dims) (graph.Dims, error) {
	rank := 0
	for _, s := range shapes {
		if s == nil {
			return nil, nil
		}
		rank = max(rank, len(s))
	}
	out := make(graph.Dims, rank)
	for i := range out {
		out[i] = graph.Known(1)
	}
	for _, s := range shapes {
		for i, d := range s {
			at := rank - len(s) + i
			joined, ok := broadcastDim(out[at], d)
			if !ok {
				return nil, fmt.Errorf("shapes %v do not broadcast: %v against %v on axis %d", shapes, d, out[at], at)
			}
			out[at] = joined
		}
	}
	return out, nil
}

func broadcastDim(a, b graph.Dim) (graph.Dim, bool) {
	a.Denotation, b.Denotation = "", ""
	one := graph.Known(1)
	switch {
	case a == one || a.Same(b):
		return b, true
	case b == one:
		return a, true
	case a.IsKnown() && b.IsKnown():
		return a, false
	case a.IsKnown():
		return a, true
	case b.IsKnown():
		return b, true
	}
	return graph.Unknown(), true
}

// inferSame is the Infer rule of an operator whose result has the type of
// input 0.
func inferSame(c *Infer) error {
	c.SetOut(0, c.Elem(0), c.Shape(0))
	return nil
}

// inferBroadcast is the Infer rule of an elementwise operator over all its
// inputs whose result has the element type of input 0.
func inferBroadcast(c *Infer) error { return inferBroadcastTo(c, c.Elem(0)) }

// inferCompare is inferBroadcast with a Bool result.
func inferCompare(c *Infer) error { return inferBroadcastTo(c, tensor.Bool) }

func inferBroadcastTo(c *Infer, elem tensor.DType) error {
	shapes := make([]graph.Dims, len(c.In))
	for i := range c.In {
		shapes[i] = c.Shape(i)
	}
	s, err := broadcastDims(shapes...)
	if err != nil {
		return err
	}
	c.SetOut(0, elem, s)
	return nil
}

// perElement returns the Cost rule of an elementwise operator that takes
// flops operations for each element of result 0.
func perElement(flops int64) func(*Infer) Cost {
	return func(c *Infer) Cost {
		cost := c.traffic()
		if n, ok := c.outLen(0); ok {
			cost.Flops = flops * n
		}
		return cost
	}
}

// perInput is perElement counted over the elements of input 0.
func perInput(flops int64) func(*Infer) Cost {
	return func(c *Infer) Cost {
		cost := c.traffic()
		if s, ok := c.Shape(0).Static(); ok {
			cost.Flops = flops * int64(s.Len())
		}
		return cost
	}
}

// traffic returns the bytes that a call reads and writes, as a cost without
// arithmetic; it is known if every shape is.
func (c *Infer) traffic() Cost {
	cost := Cost{Known: true}
	for _, list := range [][]*graph.Type{c.In, c.Out} {
		for _, t := range list {
			if t == nil || t.Kind != graph.KindTensor {
				continue
			}
			s, ok := t.Shape.Static()
			if !ok || s.Check() != nil {
				cost.Known = false
				continue
			}
			cost.Bytes += int64(t.Elem.Bytes(s.Len()))
		}
	}
	return cost
}

// outLen returns the number of elements of result i, if it is known.
func (c *Infer) outLen(i int) (int64, bool) {
	if i >= len(c.Out) || c.Out[i] == nil {
		return 0, false
	}
	s, ok := c.Out[i].Shape.Static()
	if !ok || s.Check() != nil {
		return 0, false
	}
	return int64(s.Len()), true
}

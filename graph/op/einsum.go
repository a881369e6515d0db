package op

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// einsum is a parsed equation: the labels of each operand's axes and those of
// the result. Axes under an ellipsis have the labels ellipsis+i, counted from
// the last, so that they align as broadcasting does.
type einsum struct {
	in  [][]int
	out []int
}

const ellipsis = 1 << 20

// parseEinsum reads an equation for operands of the given ranks.
func parseEinsum(equation string, ranks []int) (*einsum, error) {
	equation = strings.ReplaceAll(equation, " ", "")
	lhs, rhs, explicit := strings.Cut(equation, "->")
	terms := strings.Split(lhs, ",")
	if len(terms) != len(ranks) {
		return nil, fmt.Errorf("equation %q has %d operands, the node has %d", equation, len(terms), len(ranks))
	}
	q := &einsum{}
	hidden := 0
	for i, term := range terms {
		n := ranks[i] - len(strings.ReplaceAll(term, "...", ""))
		if n < 0 || n > 0 && !strings.Contains(term, "...") {
			return nil, fmt.Errorf("equation %q: operand %d has %d axes, which %q does not name", equation, i, ranks[i], term)
		}
		hidden = max(hidden, n)
		labels, err := einsumLabels(term, n)
		if err != nil {
			return nil, fmt.Errorf("equation %q: %w", equation, err)
		}
		q.in = append(q.in, labels)
	}
	if !explicit {
		q.out = q.implicit(hidden)
		return q, nil
	}
	if !strings.Contains(rhs, "...") {
		hidden = 0
	}
	var err error
	if q.out, err = einsumLabels(rhs, hidden); err != nil {
		return nil, fmt.Errorf("equation %q: %w", equation, err)
	}
	return q, q.checkOut(equation)
}

// einsumLabels reads one term, whose ellipsis stands for n axes.
func einsumLabels(term string, n int) ([]int, error) {
	var labels []int
	for i := 0; i < len(term); i++ {
		c := term[i]
		switch {
		case strings.HasPrefix(term[i:], "..."):
			for a := n - 1; a >= 0; a-- {
				labels = append(labels, ellipsis+a)
			}
			i += 2
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			labels = append(labels, int(c))
		default:
			return nil, fmt.Errorf("%q is no label", c)
		}
	}
	return labels, nil
}

// implicit returns the labels of a result that the equation does not state:
// the ellipsis, then those that occur once, in alphabetical order.
func (q *einsum) implicit(hidden int) []int {
	count := map[int]int{}
	for _, labels := range q.in {
		for _, l := range labels {
			count[l]++
		}
	}
	var out, once []int
	for a := hidden - 1; a >= 0; a-- {
		out = append(out, ellipsis+a)
	}
	for l, n := range count {
		if n == 1 && l < ellipsis {
			once = append(once, l)
		}
	}
	slices.Sort(once)
	return append(out, once...)
}

func (q *einsum) checkOut(equation string) error {
	for i, l := range q.out {
		known := slices.ContainsFunc(q.in, func(in []int) bool { return slices.Contains(in, l) })
		if !known || slices.Contains(q.out[:i], l) {
			return fmt.Errorf("equation %q: the result's axis %d is named twice, or by no operand", equation, i)
		}
	}
	return nil
}

// labelled is a tensor whose axes have distinct labels.
type labelled struct {
	t      *tensor.Tensor
	labels []int
}

func evalEinsum(e *Eval) error {
	ranks := make([]int, len(e.In))
	for i := range e.In {
		ranks[i] = e.Tensor(i).Rank()
	}
	q, err := parseEinsum(e.Node.Str("equation", ""), ranks)
	if err != nil {
		return err
	}
	if err := q.checkSizes(e); err != nil {
		return err
	}
	acc := q.operand(e, 0, q.wanted(1))
	for i := 1; i < len(e.In); i++ {
		next := q.operand(e, i, append(slices.Clone(acc.labels), q.wanted(i+1)...))
		if acc, err = contract(e, acc, next, q.wanted(i+1)); err != nil {
			return err
		}
	}
	y := acc.arranged(e, q.out)
	e.SetOut(0, cast(y, e.Tensor(0).DType()))
	return nil
}

// checkSizes holds axes of one label to one size, or to 1.
func (q *einsum) checkSizes(e *Eval) error {
	size := map[int]int{}
	for i, labels := range q.in {
		for a, l := range labels {
			n := e.Tensor(i).Shape()[a]
			if m, ok := size[l]; ok && m != n && m != 1 && n != 1 {
				return e.Errorf(i, "axis %d has size %d, another operand's axis of that label %d", a, n, m)
			} else if !ok || m == 1 {
				size[l] = n
			}
		}
	}
	return nil
}

// wanted returns the labels of the result and of the operands from i on.
func (q *einsum) wanted(i int) []int {
	all := slices.Clone(q.out)
	for _, labels := range q.in[i:] {
		all = append(all, labels...)
	}
	return all
}

// operand returns operand i with repeated labels replaced by the diagonal,
// and summed over the axes whose label nobody wants.
func (q *einsum) operand(e *Eval, i int, wanted []int) labelled {
	t := widened(e.Tensor(i))
	strides := t.Shape().Strides()
	var x labelled
	var shape tensor.Shape
	var steps []int
	for a, l := range q.in[i] {
		if at := slices.Index(x.labels, l); at >= 0 {
			steps[at] += strides[a]
			shape[at] = min(shape[at], t.Shape()[a])
			continue
		}
		x.labels = append(x.labels, l)
		shape = append(shape, t.Shape()[a])
		steps = append(steps, strides[a])
	}
	x.t = t
	if len(x.labels) < t.Rank() {
		x.t = e.New(t.DType(), shape)
		e.move(x.t, t, box{shape: shape, dStr: shape.Strides(), sStr: steps})
	}
	return x.summed(e, wanted)
}

// summed returns x summed over the axes whose label is not wanted.
func (x labelled) summed(e *Eval, wanted []int) labelled {
	var over []int
	y := labelled{}
	var shape tensor.Shape
	for a, l := range x.labels {
		if slices.Contains(wanted, l) {
			y.labels = append(y.labels, l)
			shape = append(shape, x.t.Shape()[a])
		} else {
			over = append(over, a)
		}
	}
	if len(over) == 0 {
		return x
	}
	y.t = sumAxes(e, x.t, over).Reshape(shape)
	return y
}

// arranged returns x with axes for exactly the given labels in their order.
func (x labelled) arranged(e *Eval, labels []int) *tensor.Tensor {
	if slices.Equal(x.labels, labels) {
		return x.t
	}
	strides := x.t.Shape().Strides()
	shape, steps := make(tensor.Shape, len(labels)), make([]int, len(labels))
	for i, l := range labels {
		shape[i] = 1
		if a := slices.Index(x.labels, l); a >= 0 {
			shape[i], steps[i] = x.t.Shape()[a], strides[a]
		}
	}
	y := e.New(x.t.DType(), shape)
	e.move(y, x.t, box{shape: shape, dStr: shape.Strides(), sStr: steps})
	return y
}

// contract multiplies two operands and sums over the labels that nobody
// wants. It is a stack of matrix products: labels that both have and that are
// wanted number the matrices, those of one alone are its rows or columns, and
// the others are the depth.
func contract(e *Eval, x, y labelled, wanted []int) (labelled, error) {
	var batch, rows, cols, depth []int
	for _, l := range x.labels {
		switch inY, keep := slices.Contains(y.labels, l), slices.Contains(wanted, l); {
		case inY && keep:
			batch = append(batch, l)
		case inY:
			depth = append(depth, l)
		default:
			rows = append(rows, l)
		}
	}
	for _, l := range y.labels {
		if !slices.Contains(x.labels, l) {
			cols = append(cols, l)
		}
	}
	x, y = x.alignedTo(e, y, depth), y.alignedTo(e, x, depth)
	a := x.arranged(e, slices.Concat(batch, rows, depth))
	b := y.arranged(e, slices.Concat(batch, depth, cols))
	nb, nr := len(batch), len(rows)
	as, bs := a.Shape(), b.Shape()
	p, err := matMul(e,
		a.Reshape(append(as[:nb:nb], as[nb:nb+nr].Len(), as[nb+nr:].Len())),
		b.Reshape(append(bs[:nb:nb], bs[nb:nb+len(depth)].Len(), bs[nb+len(depth):].Len())))
	if err != nil {
		return labelled{}, err
	}
	shape := append(p.Shape()[:nb:nb], slices.Concat(as[nb:nb+nr], bs[nb+len(depth):])...)
	return labelled{p.Reshape(shape), slices.Concat(batch, rows, cols)}, nil
}

// alignedTo returns x with its axes of length 1 under the given labels
// repeated to the length that y has there.
func (x labelled) alignedTo(e *Eval, y labelled, labels []int) labelled {
	shape := x.t.Shape().Clone()
	strides := x.t.Shape().Strides()
	for a, l := range x.labels {
		if at := slices.Index(y.labels, l); at >= 0 && shape[a] == 1 && slices.Contains(labels, l) {
			shape[a], strides[a] = y.t.Shape()[at], 0
		}
	}
	if shape.Equal(x.t.Shape()) {
		return x
	}
	t := e.New(x.t.DType(), shape)
	e.move(t, x.t, box{shape: shape, dStr: shape.Strides(), sStr: strides})
	return labelled{t, x.labels}
}

func inferEinsum(c *Infer) error {
	ranks := make([]int, len(c.In))
	for i := range c.In {
		if c.Shape(i) == nil {
			c.SetOut(0, c.Elem(0), nil)
			return nil
		}
		ranks[i] = len(c.Shape(i))
	}
	q, err := parseEinsum(c.Node.Str("equation", ""), ranks)
	if err != nil {
		return err
	}
	size, err := q.dims(c)
	if err != nil {
		return err
	}
	out := make(graph.Dims, len(q.out))
	for i, l := range q.out {
		out[i] = size[l]
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// dims returns the size of each label.
func (q *einsum) dims(c *Infer) (map[int]graph.Dim, error) {
	size := map[int]graph.Dim{}
	for i, labels := range q.in {
		for a, l := range labels {
			d := c.Shape(i)[a]
			if old, ok := size[l]; ok {
				joined, ok := broadcastDim(old, d)
				if !ok {
					return nil, c.Errorf(i, "axis %d has size %v, another operand's axis of that label %v", a, d, old)
				}
				d = joined
			}
			size[l] = d
		}
	}
	return size, nil
}

// costEinsum counts one multiply-accumulate for each combination of labels.
func costEinsum(c *Infer) Cost {
	cost := c.traffic()
	if !cost.Known {
		return cost
	}
	ranks := make([]int, len(c.In))
	for i := range c.In {
		ranks[i] = len(c.Shape(i))
	}
	q, err := parseEinsum(c.Node.Str("equation", ""), ranks)
	if err != nil {
		return Cost{}
	}
	size, err := q.dims(c)
	if err != nil {
		return Cost{}
	}
	cost.MACs = 1
	for _, d := range size {
		cost.MACs *= int64(d.Size)
	}
	cost.Flops = 2 * cost.MACs
	return cost
}

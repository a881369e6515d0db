package op

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Operators that write elements to places given by indices, and Unique.

func evalScatterElements(e *Eval) error {
	x, at, updates := e.Tensor(0), e.Tensor(1), e.Tensor(2)
	if !updates.Shape().Equal(at.Shape()) {
		return e.Errorf(2, "want the shape of the indices, %v", at.Shape())
	}
	idx, err := elementPlaces(e, x.Shape(), at)
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	return e.scatter(x, updates, 1, idx)
}

func evalScatterND(e *Eval) error {
	x, at, updates := e.Tensor(0), e.Tensor(1), e.Tensor(2)
	p, err := keep(e, 1, func() (*scatterPlaces, error) { return newScatterPlaces(x.Shape(), at) })
	if err == nil && !p.shape.Equal(x.Shape()) {
		p, err = newScatterPlaces(x.Shape(), at)
	}
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	q := at.Rank()
	want := joinShapes(at.Shape()[:q-1], x.Shape()[at.Shape()[q-1]:])
	if !updates.Shape().Equal(want) {
		return e.Errorf(2, "want shape %v", want)
	}
	return e.scatter(x, updates, p.block, p.idx)
}

// scatterPlaces says where blocks of updates go in data of a shape.
type scatterPlaces struct {
	shape tensor.Shape
	idx   []int // in blocks
	block int   // elements
}

func newScatterPlaces(s tensor.Shape, at *tensor.Tensor) (*scatterPlaces, error) {
	idx, block, err := tuplePlaces(s, at, 0)
	if err != nil {
		return nil, err
	}
	p := &scatterPlaces{shape: s.Clone(), idx: idx, block: block}
	p.join()
	return p, nil
}

// join makes blocks of runs of a common length that lie together in data as
// they do in the updates: the longest that all places allow.
func (p *scatterPlaces) join() {
	run := 0 // greatest common divisor of the lengths of runs
	for i := 0; i < len(p.idx); {
		n := 1
		for i+n < len(p.idx) && p.idx[i+n] == p.idx[i]+n {
			n++
		}
		run = gcd(run, gcd(n, p.idx[i]))
		i += n
	}
	if run <= 1 {
		return
	}
	joined := make([]int, 0, len(p.idx)/run)
	for i := 0; i < len(p.idx); i += run {
		joined = append(joined, p.idx[i]/run)
	}
	p.idx, p.block = joined, p.block*run
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// scatter sets result 0 to x with block i of updates, n elements long, joined
// into block idx[i] as the reduction attribute says.
func (e *Eval) scatter(x, updates *tensor.Tensor, n int, idx []int) error {
	if updates.DType() != x.DType() {
		return e.Errorf(2, "want %v elements", x.DType())
	}
	reduction := e.Node.Str("reduction", "none")
	if reduction == "none" {
		y := e.copyOf(x)
		e.put(y, updates, n, idx)
		e.SetOut(0, y)
		return nil
	}
	y, err := combineAt(e.copyOf(x), updates, n, idx, reduction)
	if err != nil {
		return err
	}
	e.SetOut(0, y)
	return nil
}

// combineAt joins blocks of updates into y, which it changes, and returns it
// or, for the narrow floats, which are joined as float32, a new tensor.
func combineAt(y, updates *tensor.Tensor, n int, idx []int, reduction string) (*tensor.Tensor, error) {
	switch d := y.DType(); d {
	case tensor.Float32:
		return y, combine[float32](y, updates, n, idx, reduction)
	case tensor.Float64:
		return y, combine[float64](y, updates, n, idx, reduction)
	case tensor.Int8:
		return y, combine[int8](y, updates, n, idx, reduction)
	case tensor.Int16:
		return y, combine[int16](y, updates, n, idx, reduction)
	case tensor.Int32:
		return y, combine[int32](y, updates, n, idx, reduction)
	case tensor.Int64:
		return y, combine[int64](y, updates, n, idx, reduction)
	case tensor.Uint8:
		return y, combine[uint8](y, updates, n, idx, reduction)
	case tensor.Uint16:
		return y, combine[uint16](y, updates, n, idx, reduction)
	case tensor.Uint32:
		return y, combine[uint32](y, updates, n, idx, reduction)
	case tensor.Uint64:
		return y, combine[uint64](y, updates, n, idx, reduction)
	case tensor.Bool: // + is or, * is and
		return y, combine[uint8](y, updates, n, idx, map[string]string{"add": "max", "mul": "min", "max": "max", "min": "min"}[reduction])
	case tensor.Complex64:
		return y, combineComplex[complex64](y, updates, n, idx, reduction)
	case tensor.Complex128:
		return y, combineComplex[complex128](y, updates, n, idx, reduction)
	case tensor.String:
		return nil, fmt.Errorf("attribute reduction is %q, want none for strings", reduction)
	default:
		wide := tensor.Of(y.Shape(), slices.Clone(tensor.Float32s(y)))
		u := tensor.Of(updates.Shape(), tensor.Float32s(updates))
		if err := combine[float32](wide, u, n, idx, reduction); err != nil {
			return nil, err
		}
		return y, tensor.ConvertTo(y, wide, false, tensor.RoundUp)
	}
}

// realNumber is a Go type that elements are reckoned in.
type realNumber interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

func combine[T realNumber](y, updates *tensor.Tensor, n int, idx []int, reduction string) error {
	var f func(a, b T) T
	switch reduction {
	case "add":
		f = func(a, b T) T { return a + b }
	case "mul":
		f = func(a, b T) T { return a * b }
	case "max":
		f = func(a, b T) T { return max(a, b) }
	case "min":
		f = func(a, b T) T { return min(a, b) }
	default:
		return fmt.Errorf("attribute reduction is %q, want none, add, mul, max or min", reduction)
	}
	combineBlocks(tensor.Data[T](y), tensor.Data[T](updates), n, idx, f)
	return nil
}

func combineComplex[T complex64 | complex128](y, updates *tensor.Tensor, n int, idx []int, reduction string) error {
	var f func(a, b T) T
	switch reduction {
	case "add":
		f = func(a, b T) T { return a + b }
	case "mul":
		f = func(a, b T) T { return a * b }
	default:
		return fmt.Errorf("attribute reduction is %q, want none, add or mul for complex numbers", reduction)
	}
	combineBlocks(tensor.Data[T](y), tensor.Data[T](updates), n, idx, f)
	return nil
}

func combineBlocks[T any](dst, src []T, n int, idx []int, f func(a, b T) T) {
	for i, k := range idx {
		d := dst[k*n : (k+1)*n]
		for j, x := range src[i*n : (i+1)*n] {
			d[j] = f(d[j], x)
		}
	}
}

// evalTensorScatter writes an update into a cache from a place of its own for
// each sample, along the sequence axis.
func evalTensorScatter(e *Eval) error {
	past, update := e.Tensor(0), e.Tensor(1)
	axis, err := tensor.Axis(int(e.Node.Int("axis", -2)), past.Rank())
	if err != nil || axis == 0 {
		return e.Errorf(0, "sequence axis %d, want one after the batch", e.Node.Int("axis", -2))
	}
	s, u := past.Shape(), update.Shape()
	want := s.Clone()
	if len(u) == len(s) {
		want[axis] = u[axis]
	}
	if !u.Equal(want) || update.DType() != past.DType() || u[axis] > s[axis] {
		return e.Errorf(1, "does not fit into the cache %v", past)
	}
	starts := make([]int, s[0])
	if e.Tensor(2) != nil {
		if starts, err = e.ints(2); err != nil {
			return err
		}
	}
	if len(starts) != s[0] {
		return e.Errorf(2, "want %d indices", s[0])
	}
	idx, err := cachePlaces(e, starts, s, u, axis)
	if err != nil {
		return e.Errorf(2, "%w", err)
	}
	y := e.copyOf(past)
	e.put(y, update, s[axis+1:].Len(), idx)
	e.SetOut(0, y)
	return nil
}

// cachePlaces returns which block of the cache each block of the update goes
// to; a block is what lies after the sequence axis.
func cachePlaces(e *Eval, starts []int, cache, update tensor.Shape, axis int) ([]int, error) {
	circular := false
	switch mode := e.Node.Str("mode", "linear"); mode {
	case "linear":
	case "circular":
		circular = true
	default:
		return nil, fmt.Errorf("attribute mode is %q, want linear or circular", mode)
	}
	rows, length, n := cache[1:axis].Len(), cache[axis], update[axis]
	var idx []int
	for b, start := range starts {
		if start < 0 || !circular && start > length-n {
			return nil, fmt.Errorf("index %d with %d steps in a cache of %d", start, n, length)
		}
		for r := range rows {
			for i := range n {
				idx = append(idx, (b*rows+r)*length+(start+i)%length)
			}
		}
	}
	return idx, nil
}

// evalUnique sorts or keeps slices of an axis (elements if none is named) and
// drops those equal to an earlier one.
func evalUnique(e *Eval) error {
	x := e.Tensor(0)
	flat := e.Node.Attr("axis") == nil
	axis := 0
	if flat {
		x = x.Reshape(tensor.Shape{x.Len()})
	} else {
		var err error
		if axis, err = tensor.Axis(int(e.Node.Int("axis", 0)), x.Rank()); err != nil {
			return e.Errorf(0, "%w", err)
		}
	}
	if x.DType().IsComplex() {
		return e.Errorf(0, "complex numbers have no order")
	}
	compare := sliceOrder(x, axis)
	first, inverse, counts := uniqueSlices(x.Shape()[axis], compare, e.Node.Int("sorted", 1) != 0)
	outer, n, inner := split3(x.Shape(), axis)
	s := x.Shape().Clone()
	s[axis] = len(first)
	y := e.New(x.DType(), s)
	e.pick(y, x, outer, n, inner, first)
	e.SetOut(0, y)
	for i, list := range [][]int{first, inverse, counts} {
		if e.Wants(i + 1) {
			e.SetOut(i+1, int64Vector(list))
		}
	}
	return nil
}

func int64Vector(list []int) *tensor.Tensor {
	out := make([]int64, len(list))
	for i, x := range list {
		out[i] = int64(x)
	}
	return tensor.Vector(out...)
}

// uniqueSlices groups 0..n-1 by equality under compare. It returns the first
// member of each group, the group of each number, and the groups' sizes; the
// groups are in order of compare, or of their first members.
func uniqueSlices(n int, compare func(i, j int) int, sorted bool) (first, inverse, counts []int) {
	order := firstAxes(n)
	slices.SortStableFunc(order, compare)
	first, inverse, counts = []int{}, make([]int, n), []int{}
	for k, i := range order {
		if k == 0 || compare(order[k-1], i) != 0 {
			first, counts = append(first, i), append(counts, 0)
		}
		inverse[i] = len(first) - 1
		counts[len(first)-1]++
	}
	if sorted {
		return first, inverse, counts
	}
	byFirst := firstAxes(len(first)) // groups in order of appearance
	slices.SortFunc(byFirst, func(a, b int) int { return cmp.Compare(first[a], first[b]) })
	f, c, place := make([]int, len(first)), make([]int, len(first)), make([]int, len(first))
	for p, g := range byFirst {
		f[p], c[p], place[g] = first[g], counts[g], p
	}
	for i, g := range inverse {
		inverse[i] = place[g]
	}
	return f, inverse, c
}

// sliceOrder returns the lexicographic order of the slices of x along axis.
func sliceOrder(x *tensor.Tensor, axis int) func(i, j int) int {
	element := elementOrder(x)
	outer, n, inner := split3(x.Shape(), axis)
	return func(i, j int) int {
		for o := range outer {
			for k := range inner {
				a, b := (o*n+i)*inner+k, (o*n+j)*inner+k
				if c := element(a, b); c != 0 {
					return c
				}
			}
		}
		return 0
	}
}

// elementOrder returns the order of the elements of x by their linear places.
func elementOrder(x *tensor.Tensor) func(i, j int) int {
	switch {
	case x.DType() == tensor.String:
		return ordered(x.Strings())
	case x.DType() == tensor.Uint64:
		return ordered(tensor.Data[uint64](x))
	case x.DType().IsFloat():
		return ordered(tensor.Float64s(x))
	}
	return ordered(tensor.Int64s(x))
}

func ordered[T cmp.Ordered](s []T) func(i, j int) int {
	return func(i, j int) int { return cmp.Compare(s[i], s[j]) }
}

package op

import "github.com/onnxpack/onnxpack/graph"

// Ties between the axes of products that are quantized, fused or written as
// equations.

// productAxes returns the rule of a product of the matrices at inputs 0 and b,
// with what has an element for each column at further inputs.
func productAxes(b int, perColumn ...int) func(*Axes) {
	return func(a *Axes) {
		ra, rb, out := a.rankIn(0), a.rankIn(b), a.rankOut(0)
		if ra < 2 || rb != 2 || out != ra {
			a.FixAll("it is no product with one matrix")
			return
		}
		a.EqualAxes(0, 0, ra-1)
		a.Equal(In(0, ra-1), In(b, 0))
		a.Equal(In(b, 1), Out(0, out-1))
		for _, slot := range perColumn {
			a.perChannel(slot, Out(0, out-1))
		}
	}
}

// fusedMatMulAxes is axesMatMul for operands whose last axes may be swapped.
func fusedMatMulAxes(a *Axes) {
	ra, rb, out := a.rankIn(0), a.rankIn(1), a.rankOut(0)
	if ra < 2 || rb < 2 || out < 2 || a.Node.Int("transBatchA", 0) != 0 || a.Node.Int("transBatchB", 0) != 0 {
		a.FixAll("its batches are transposed, or an operand is a vector")
		return
	}
	side := func(slot, rank int, attr string) (row, column Side) {
		row, column = In(slot, rank-2), In(slot, rank-1)
		if a.Node.Int(attr, 0) != 0 {
			row, column = column, row
		}
		return row, column
	}
	rowA, depthA := side(0, ra, "transA")
	depthB, columnB := side(1, rb, "transB")
	a.Equal(rowA, Out(0, out-2))
	a.Equal(depthA, depthB)
	a.Equal(columnB, Out(0, out-1))
	for i, r := range []int{ra, rb} {
		if out >= r {
			a.tieBroadcast(i, r-2, out-r, 0)
		}
	}
}

// qGemmAxes is axesGemm for A, its scale and zero point, and B with its own.
func qGemmAxes(a *Axes) {
	if len(a.Dims(0)) != 2 || len(a.Dims(3)) != 2 {
		a.FixAll("the shape of an operand is not known")
		return
	}
	side := func(slot int, attr string) (row, column Side) {
		if a.Node.Int(attr, 0) != 0 {
			return In(slot, 1), In(slot, 0)
		}
		return In(slot, 0), In(slot, 1)
	}
	row, depthA := side(0, "transA")
	depthB, column := side(3, "transB")
	a.Equal(row, Out(0, 0))
	a.Equal(depthA, depthB)
	a.Equal(column, Out(0, 1))
	for _, slot := range []int{4, 5, 6} {
		a.perChannel(slot, Out(0, 1))
	}
}

// qElementwiseAxes is elementwise over inputs 0 and 3, the others being scales.
func qElementwiseAxes(a *Axes) {
	for _, slot := range []int{0, 3} {
		if r := a.rankIn(slot); r >= 0 && a.rankOut(0) >= r {
			a.tieBroadcast(slot, r, a.rankOut(0)-r, 0)
		}
	}
}

// nBitsAxes ties the rows of a weight [N, blocks, bytes] in few bits to the
// columns of the product; its depth is packed.
func nBitsAxes(a *Axes) {
	r, n := a.rankIn(0), int(a.Node.Int("N", 0))
	if r < 1 || n < 1 || a.rankOut(0) != r {
		a.FixAll("the shape is not known")
		return
	}
	a.EqualAxes(0, 0, r-1)
	a.Fix(In(0, r-1), "the weight is packed along it")
	columns := a.Space("N", n)
	a.Equal(columns, Out(0, r-1))
	for _, slot := range []int{1, 2, 3, 5} {
		d := a.Dims(slot)
		if len(d) == 0 {
			continue
		}
		run, ok := d[0].FloorDiv(graph.Known(n)).Number()
		if !ok || run < 1 || d[0].Size != run*n {
			a.Fix(Out(0, r-1), "an operand does not hold a row for each column")
			continue
		}
		a.Within(columns, In(slot, 0), 1, run, 0)
		for axis := 1; axis < len(d); axis++ {
			a.Fix(In(slot, axis), "the weight is packed along it")
		}
	}
}

// einsumAxes ties all axes of one label. An axis that is summed in one operand
// alone, or runs along a diagonal, is fixed.
func einsumAxes(a *Axes) {
	var ranks []int
	for i := range a.In {
		ranks = append(ranks, a.rankIn(i))
	}
	q, err := parseEinsum(a.Node.Str("equation", ""), ranks)
	if err != nil {
		a.FixAll("the equation is not understood")
		return
	}
	places := map[int][]Side{}
	operands := map[int]int{} // the last operand that has the label, from 1
	for i, labels := range q.in {
		for axis, l := range labels {
			d := a.In[i].Shape[axis]
			if l >= ellipsis && d.IsKnown() && d.Size == 1 {
				continue // it may be repeated
			}
			if operands[l] == i+1 {
				a.Fix(In(i, axis), "it runs along a diagonal")
			}
			operands[l] = i + 1
			places[l] = append(places[l], In(i, axis))
		}
	}
	for axis, l := range q.out {
		places[l] = append(places[l], Out(0, axis))
	}
	for _, sides := range places {
		if len(sides) == 1 {
			a.Fix(sides[0], "it is summed")
		}
		for _, s := range sides[1:] {
			a.Equal(sides[0], s)
		}
	}
}

// biasAxes is elementwise over input 0 and a bias of its last axis.
func biasAxes(a *Axes) {
	a.EqualAxes(0, 0)
	if r := a.rankOut(0); r > 0 {
		a.perChannel(1, Out(0, r-1))
	}
}

// cumulatedAxes fixes the axis that elements are summed up along.
func cumulatedAxes(a *Axes) {
	at, given, known := a.constInput(1, 1, "")
	if !given || !known || len(at) != 1 {
		a.FixAll("the axis is not known")
		return
	}
	axesAlong(func(_ *Axes, rank int) []int { return axisOf(int64(at[0]), rank) }, "its elements are summed up")(a)
}

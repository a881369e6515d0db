package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

const msDomain = "com.microsoft"

// msGeneralDefs holds operators of com.microsoft that are neither quantized,
// nor fused, nor about attention.
var msGeneralDefs = []*Def{
	{Domain: msDomain, Name: "CDist", Since: 1, Infer: inferCDist, Eval: evalReal(0, evalCDist[float32], evalCDist[float64])},
	{Domain: msDomain, Name: "DynamicTimeWarping", Since: 1, Infer: inferTimeWarping, Eval: evalTimeWarping},
	{Domain: msDomain, Name: "ExpandDims", Since: 1, Axes: reshapeAxes, Infer: inferExpandDims, Eval: evalExpandDims, Quant: moves, Cost: noWork},
	{Domain: msDomain, Name: "GatherND", Since: 1, Infer: inferGatherND, Eval: evalGatherND, Quant: moves, Cost: (*Infer).traffic},
	{Domain: msDomain, Name: "Inverse", Since: 1, Infer: inferShapeOf(0), Eval: evalInverse},
	{Domain: msDomain, Name: "IsAllFinite", Since: 1, Infer: inferIsAllFinite, Eval: evalIsAllFinite, Cost: (*Infer).traffic},
	{Domain: msDomain, Name: "MurmurHash3", Since: 1, Infer: inferMurmur, Eval: evalMurmur, Cost: (*Infer).traffic},
	{Domain: msDomain, Name: "NGramRepeatBlock", Since: 1, Infer: inferLikeInput(1), Eval: evalNGramRepeatBlock},
	{Domain: msDomain, Name: "Pad", Since: 1, Infer: inferPad, Eval: spread(evalPad), Quant: moves, Cost: (*Infer).traffic},
	{Domain: msDomain, Name: "Range", Since: 1, Infer: inferRange, Eval: evalRangeByOne, Cost: perElement(2)},
	{Domain: msDomain, Name: "SparseToDenseMatMul", Since: 1, Infer: inferSparseMatMul, Eval: evalSparseMatMul},
	{Domain: msDomain, Name: "Tokenizer", Since: 1, Infer: inferTokenizer, Eval: evalTokenizer},
	{Domain: msDomain, Name: "Trilu", Since: 1, Infer: inferShapeOf(0), Eval: evalTrilu, Cost: (*Infer).traffic},
	{Domain: msDomain, Name: "UnfoldTensor", Since: 1, Infer: inferUnfold, Eval: spread(evalUnfold), Quant: moves, Cost: (*Infer).traffic},
	{Domain: msDomain, Name: "Unique", Since: 1, Infer: inferUnique, Eval: evalUniqueUnsorted, Cost: (*Infer).traffic},
}

func evalExpandDims(e *Eval) error {
	axis, err := e.int(1, 0)
	if err != nil {
		return err
	}
	x := e.Tensor(0)
	if axis, err = tensor.Axis(axis, x.Rank()+1); err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, x.Reshape(slices.Insert(x.Shape().Clone(), axis, 1)))
	return nil
}

func inferExpandDims(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	c.SetOut(0, c.Elem(0), unknownDims(len(in)+1))
	if at := c.Dims(1); len(at) == 1 {
		if n, ok := at[0].Number(); ok {
			axis, err := tensor.Axis(n, len(in)+1)
			if err != nil {
				return c.Errorf(0, "%w", err)
			}
			c.SetOut(0, c.Elem(0), slices.Insert(slices.Clone(in), axis, graph.Known(1)))
		}
	}
	return nil
}

// evalRangeByOne is Range with a step of one where none is given.
func evalRangeByOne(e *Eval) error {
	if e.Tensor(2) == nil {
		one := *e
		one.In = []tensor.Value{e.In[0], e.In[1], cast(tensor.Scalar[int64](1), e.Tensor(0).DType())}
		e = &one
	}
	return evalRange(e)
}

// evalUniqueUnsorted gives the elements of a list in order of their first
// places, the group of each element, and the groups' sizes.
func evalUniqueUnsorted(e *Eval) error {
	x := e.Tensor(0)
	if x.Rank() != 1 || x.DType().IsComplex() {
		return e.Errorf(0, "want real numbers or strings with one axis")
	}
	first, inverse, counts := uniqueSlices(x.Len(), elementOrder(x), false)
	y := e.New(x.DType(), tensor.Shape{len(first)})
	e.pick(y, x, 1, x.Len(), 1, first)
	e.SetOut(0, y)
	e.SetOut(1, int64Vector(inverse))
	e.SetOut(2, int64Vector(counts))
	return nil
}

// evalCDist computes the distances of the rows of [M,K] from those of [N,K].
func evalCDist[T real](e *Eval) error {
	a, b := e.Tensor(0), e.Tensor(1)
	if a.Rank() != 2 || b.Rank() != 2 || a.Shape()[1] != b.Shape()[1] {
		return e.Errorf(1, "want rows as long as those of %v", a)
	}
	metric := e.Node.Str("metric", "sqeuclidean")
	if metric != "sqeuclidean" && metric != "euclidean" {
		return fmt.Errorf("attribute metric is %q, want euclidean or sqeuclidean", metric)
	}
	m, n, k := a.Shape()[0], b.Shape()[0], a.Shape()[1]
	x, y := realsOf[T](e, 0), realsOf[T](e, 1)
	z := newResult[T](e, a.DType(), tensor.Shape{m, n})
	e.Parallel(m, 1+grain/max(1, n*k), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := range n {
				d := squaredDistance(x[i*k:(i+1)*k], y[j*k:(j+1)*k])
				if metric == "euclidean" {
					d = T(math.Sqrt(float64(d)))
				}
				z.Data[i*n+j] = d
			}
		}
	})
	return setReal(e, 0, z)
}

func squaredDistance[T real](x, y []T) T {
	var sum T
	for i, v := range x {
		d := v - y[i]
		sum += d * d
	}
	return sum
}

func inferCDist(c *Infer) error {
	out := unknownDims(2)
	if a := c.Shape(0); len(a) == 2 {
		out[0] = a[0]
	}
	if b := c.Shape(1); len(b) == 2 {
		out[1] = b[0]
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// evalInverse inverts matrices by elimination with pivots, in float64.
func evalInverse(e *Eval) error {
	x := e.Tensor(0)
	s := x.Shape()
	if len(s) < 2 || s[len(s)-1] != s[len(s)-2] {
		return e.Errorf(0, "want square matrices")
	}
	data, err := e.realInput()
	if err != nil {
		return err
	}
	n := s[len(s)-1]
	for at := 0; at+n*n <= len(data) && n > 0; at += n * n {
		if !invert(data[at:at+n*n], n) {
			return e.Errorf(0, "matrix %d is singular", at/(n*n))
		}
	}
	e.SetOut(0, tensor.FromFloat64s(x.DType(), s, data))
	return nil
}

// invert replaces an n x n matrix by its inverse (Gauss and Jordan, rows
// exchanged for the largest pivot); false if there is none.
func invert(a []float64, n int) bool {
	inv := make([]float64, n*n)
	for i := range n {
		inv[i*n+i] = 1
	}
	for c := range n {
		p := c
		for r := c + 1; r < n; r++ {
			if math.Abs(a[r*n+c]) > math.Abs(a[p*n+c]) {
				p = r
			}
		}
		if a[p*n+c] == 0 {
			return false
		}
		for j := range n {
			a[c*n+j], a[p*n+j] = a[p*n+j], a[c*n+j]
			inv[c*n+j], inv[p*n+j] = inv[p*n+j], inv[c*n+j]
		}
		d := a[c*n+c]
		for j := range n {
			a[c*n+j] /= d
			inv[c*n+j] /= d
		}
		for r := range n {
			f := a[r*n+c]
			if r == c || f == 0 {
				continue
			}
			for j := range n {
				a[r*n+j] -= f * a[c*n+j]
				inv[r*n+j] -= f * inv[c*n+j]
			}
		}
	}
	copy(a, inv)
	return true
}

// evalUnfold lists the windows of an axis, size long and step apart, along a
// new last axis.
func evalUnfold(e *Eval) error {
	x := e.Tensor(0)
	axis, err := tensor.Axis(int(e.Node.Int("dim", -1)), x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	size, step := int(e.Node.Int("size", 0)), int(e.Node.Int("step", 1))
	n := x.Shape()[axis]
	if size < 1 || step < 1 || size > n {
		return e.Errorf(0, "windows of %d, %d apart, along axis %d", size, step, axis)
	}
	out := append(x.Shape().Clone(), size)
	out[axis] = (n-size)/step + 1
	str := append(x.Shape().Strides(), 0)
	str[len(str)-1] = str[axis]
	str[axis] *= step
	y := e.New(x.DType(), out)
	e.move(y, x, box{shape: out, dStr: out.Strides(), sStr: str})
	e.SetOut(0, y)
	return nil
}

func inferUnfold(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("dim", -1)), len(in))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	size, step := int(c.Node.Int("size", 0)), int(c.Node.Int("step", 1))
	if size < 1 || step < 1 {
		return c.Errorf(0, "windows of %d, %d apart", size, step)
	}
	out := append(slices.Clone(in), graph.Known(size))
	out[axis] = in[axis].Minus(graph.Known(size)).FloorDiv(graph.Known(step)).Plus(graph.Known(1))
	c.SetOut(0, c.Elem(0), out)
	return nil
}

func evalIsAllFinite(e *Eval) error {
	onlyInf, onlyNaN := e.Node.Int("isinf_only", 0) != 0, e.Node.Int("isnan_only", 0) != 0
	if onlyInf && onlyNaN {
		return fmt.Errorf("attributes isinf_only and isnan_only exclude each other")
	}
	finite := true
	for i := range e.In {
		for _, v := range tensor.Float64s(e.Tensor(i)) {
			bad := math.IsInf(v, 0) && !onlyNaN || math.IsNaN(v) && !onlyInf
			finite = finite && !bad
		}
	}
	e.SetOut(0, tensor.Scalar(finite))
	return nil
}

func inferIsAllFinite(c *Infer) error {
	c.SetOut(0, tensor.Bool, graph.Dims{})
	return nil
}

// evalTimeWarping finds the cheapest path through a matrix of costs, [M,N] or
// [1,M,N], from its first to its last element by steps down, right or both.
// The result lists the rows and the columns of the path, [2,steps].
func evalTimeWarping(e *Eval) error {
	x := e.Tensor(0)
	s := x.Shape()
	if len(s) == 3 && s[0] == 1 {
		s = s[1:]
	}
	if len(s) != 2 {
		return e.Errorf(0, "want shape [M,N] or [1,M,N]")
	}
	rows, cols := warp(tensor.Float64s(x), s[0], s[1])
	out := append(rows, cols...)
	e.SetOut(0, tensor.Of(tensor.Shape{2, len(rows)}, out))
	return nil
}

// warp returns the path of dynamic time warping through an m x n matrix.
func warp(x []float64, m, n int) (rows, cols []int32) {
	const both, down, right = 0, 1, 2
	cost, from := make([]float64, (m+1)*(n+1)), make([]uint8, (m+1)*(n+1))
	at := func(i, j int) int { return i*(n+1) + j }
	for i := range cost {
		cost[i] = math.Inf(1)
	}
	cost[0] = 0
	for i := 1; i <= m; i++ {
		from[at(i, 0)] = down
	}
	for j := 0; j <= n; j++ {
		from[at(0, j)] = right
	}
	for j := 1; j <= n; j++ {
		for i := 1; i <= m; i++ {
			b, d, r := cost[at(i-1, j-1)], cost[at(i-1, j)], cost[at(i, j-1)]
			best, way := r, uint8(right)
			if b < d && b < r {
				best, way = b, both
			} else if d < b && d < r {
				best, way = d, down
			}
			cost[at(i, j)], from[at(i, j)] = x[(i-1)*n+j-1]+best, way
		}
	}
	for i, j := m, n; i > 0 || j > 0; {
		rows, cols = append(rows, int32(i-1)), append(cols, int32(j-1))
		way := from[at(i, j)]
		if way != right {
			i--
		}
		if way != down {
			j--
		}
	}
	slices.Reverse(rows)
	slices.Reverse(cols)
	return rows, cols
}

func inferTimeWarping(c *Infer) error {
	c.SetOut(0, tensor.Int32, graph.Dims{graph.Known(2), graph.Unknown()})
	return nil
}

// evalNGramRepeatBlock forbids, by minus infinity, the tokens that would
// complete an n-gram which a sequence already holds.
func evalNGramRepeatBlock(e *Eval) error {
	ids, scores := e.Tensor(0), e.Tensor(1)
	size := int(e.Node.Int("ngram_size", 0))
	if ids.Rank() != 2 || scores.Rank() != 2 || ids.Shape()[0] != scores.Shape()[0] || scores.DType() != tensor.Float32 {
		return e.Errorf(1, "want float scores for each sequence of %v", ids)
	}
	if size < 1 {
		return fmt.Errorf("attribute ngram_size is %d, want at least 1", size)
	}
	y := e.copyOf(scores)
	tokens, n, vocab := tensor.Int64s(ids), ids.Shape()[1], scores.Shape()[1]
	for b := range ids.Shape()[0] {
		row := tokens[b*n : (b+1)*n]
		out := tensor.Data[float32](y)[b*vocab : (b+1)*vocab]
		if err := blockRepeats(row, out, size); err != nil {
			return e.Errorf(0, "%w", err)
		}
	}
	e.SetOut(0, y)
	return nil
}

func blockRepeats(tokens []int64, scores []float32, size int) error {
	tail := tokens[max(0, len(tokens)-size+1):]
	for i := 0; i+size <= len(tokens); i++ {
		if !slices.Equal(tokens[i:i+size-1], tail) {
			continue
		}
		t := tokens[i+size-1]
		if t < 0 || t >= int64(len(scores)) {
			return fmt.Errorf("token %d of a vocabulary of %d", t, len(scores))
		}
		scores[t] = float32(math.Inf(-1))
	}
	return nil
}

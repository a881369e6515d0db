package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// attention is, for every head of a batch of float32 queries, keys and values,
//
//	y = Softmax(scale * q * k' + mask) * v
//
// over blocks of queries, so that only a block of the scores exists at a time.
// The operands may have their axes in any order that keeps one of a matrix's
// axes contiguous: transpositions are not carried out.
type attention struct {
	q, k, v, y headAxes
	scale      float32
	masked     bool // operand 3 is added to the scaled scores
}

// headAxes says which axes of a tensor are batch, head, position and feature.
type headAxes [4]int

const (
	batchAxis = iota
	headAxis
	positionAxis
	featureAxis
)

// through returns the axes of what a Transpose with the given permutation
// reads, if a are those of its result.
func (a headAxes) through(perm []int64) headAxes {
	for i, axis := range a {
		a[i] = int(perm[axis])
	}
	return a
}

// past returns the axes of the result of a Transpose with the given
// permutation, if a are those of what it reads.
func (a headAxes) past(perm []int64) headAxes {
	out := a
	for to, from := range perm {
		for i, axis := range a {
			if axis == int(from) {
				out[i] = to
			}
		}
	}
	return out
}

// heads is a tensor seen as matrices of positions by features.
type heads struct {
	data         []float32
	size, stride [4]int // of batch, head, position and feature
}

// headsOf views operand i; an axis of size 1 has stride 0 and repeats.
func headsOf(e *op.Eval, i int, axes headAxes) (heads, error) {
	t := e.Tensor(i)
	if t == nil || t.DType() != tensor.Float32 || t.Rank() != 4 {
		return heads{}, e.Errorf(i, "want float with 4 axes")
	}
	return viewHeads(t, axes), nil
}

func viewHeads(t *tensor.Tensor, axes headAxes) heads {
	h := heads{data: tensor.Data[float32](t)}
	strides := t.Shape().Strides()
	for i, axis := range axes {
		h.size[i] = t.Shape()[axis]
		if h.size[i] != 1 || i == featureAxis {
			h.stride[i] = strides[axis]
		}
	}
	return h
}

// at returns the elements from the first of a matrix on.
func (h *heads) at(batch, head int) []float32 {
	return h.data[min(len(h.data), batch*h.stride[batchAxis]+head*h.stride[headAxis]):]
}

func (a *attention) name() string { return "Attention" }

// attentionCall is one evaluation.
type attentionCall struct {
	*attention
	kernels                 *kernel.Table
	q, k, v, y, mask        heads
	batch, heads            int
	queries, keys           int
	depth, width            int       // features of a key and of a value
	packedK, packedV        []float32 // of all heads
	packedKLen, packedVLen  int       // of one
	rows, blocks, headCount int       // queries of a block, blocks of a head, heads in all
}

func (a *attention) eval(e *op.Eval) error {
	c := &attentionCall{attention: a, kernels: e.Kernels}
	if err := c.operands(e); err != nil {
		return err
	}
	if err := c.sizes(e); err != nil {
		return err
	}
	y := c.result(e)
	c.pack(e)
	c.rows, c.blocks = c.blocking()
	work := c.rows * c.keys * (c.depth + c.width)
	e.Parallel(c.headCount*c.blocks, max(1, macsPerPiece/max(1, work)), func(lo, hi int) {
		scratch := scores.Get().(*[]float32)
		tile := tiles.Get().(*kernel.TileF32)
		for i := lo; i < hi; i++ {
			c.block(tile, scratch, i/c.blocks, i%c.blocks)
		}
		*tile = kernel.TileF32{}
		tiles.Put(tile)
		scores.Put(scratch)
	})
	e.SetOut(0, y)
	return nil
}

func (c *attentionCall) operands(e *op.Eval) (err error) {
	if c.q, err = headsOf(e, 0, c.attention.q); err != nil {
		return err
	}
	if c.k, err = headsOf(e, 1, c.attention.k); err != nil {
		return err
	}
	if c.v, err = headsOf(e, 2, c.attention.v); err != nil || !c.masked {
		return err
	}
	m := e.Tensor(3)
	if m == nil || m.DType() != tensor.Float32 || m.Rank() > 4 {
		return e.Errorf(3, "want float with at most 4 axes")
	}
	shape := append(tensor.Shape{1, 1, 1, 1}[m.Rank():], m.Shape()...)
	c.mask = viewHeads(m.Reshape(shape), headAxes{0, 1, 2, 3})
	return nil
}

// sizes finds what the operands' axes come to.
func (c *attentionCall) sizes(e *op.Eval) error {
	c.depth, c.width, c.keys = c.k.size[featureAxis], c.v.size[featureAxis], c.k.size[positionAxis]
	if c.q.size[featureAxis] != c.depth {
		return e.Errorf(1, "keys have %d features, the queries %d", c.depth, c.q.size[featureAxis])
	}
	if c.v.size[positionAxis] != c.keys {
		return e.Errorf(2, "there are %d values for %d keys", c.v.size[positionAxis], c.keys)
	}
	shape := tensor.Shape(c.q.size[:featureAxis])
	for i, h := range []*heads{&c.k, &c.v, &c.mask} {
		part := tensor.Shape{h.size[batchAxis], h.size[headAxis], 1}
		if h == &c.mask {
			if !c.masked {
				break
			}
			part[2] = h.size[positionAxis]
			if last := h.size[featureAxis]; last != 1 && last != c.keys {
				return e.Errorf(3, "the mask is for %d keys, there are %d", last, c.keys)
			}
		}
		var err error
		if shape, err = tensor.Broadcast(shape, part); err != nil {
			return e.Errorf(i+1, "%v", err)
		}
	}
	c.batch, c.heads, c.queries = shape[0], shape[1], shape[2]
	c.headCount = c.batch * c.heads
	return nil
}

func (c *attentionCall) result(e *op.Eval) *tensor.Tensor {
	shape := make(tensor.Shape, 4)
	for i, n := range []int{c.batch, c.heads, c.queries, c.width} {
		shape[c.attention.y[i]] = n
	}
	t := e.New(tensor.Float32, shape)
	c.y = viewHeads(t, c.attention.y)
	return t
}

// pack packs the keys and values of all heads for the products, the keys
// scaled.
func (c *attentionCall) pack(e *op.Eval) {
	gemm := c.kernels.GemmF32
	c.packedKLen, c.packedVLen = gemm.PackedLen(c.depth, c.keys), gemm.PackedLen(c.keys, c.width)
	c.packedK = tensor.Data[float32](e.New(tensor.Float32, tensor.Shape{c.headCount, c.packedKLen}))
	c.packedV = tensor.Data[float32](e.New(tensor.Float32, tensor.Shape{c.headCount, c.packedVLen}))
	e.Parallel(c.headCount, max(1, unaryGrain/max(1, c.keys*(c.depth+c.width))), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			keys, values := c.keysOf(i), c.valuesOf(i)
			packMatrix(c.kernels, keys, c.k.at(i/c.heads, i%c.heads), c.depth, c.keys, c.k.stride[featureAxis], c.k.stride[positionAxis])
			if c.scale != 1 {
				c.kernels.MulScalar(keys, keys, c.scale)
			}
			packMatrix(c.kernels, values, c.v.at(i/c.heads, i%c.heads), c.keys, c.width, c.v.stride[positionAxis], c.v.stride[featureAxis])
		}
	})
}

func (c *attentionCall) keysOf(i int) []float32   { return c.packedK[i*c.packedKLen:][:c.packedKLen] }
func (c *attentionCall) valuesOf(i int) []float32 { return c.packedV[i*c.packedVLen:][:c.packedVLen] }

// packMatrix packs a matrix whose element r, c is at b[r*row+c*col]; row or
// col is 1, or there is one row or one column.
func packMatrix(k *kernel.Table, dst, b []float32, rows, cols, row, col int) {
	if col == 1 || cols == 1 {
		k.PackF32(dst, b, rows, cols, row, false)
		return
	}
	k.PackF32(dst, b, rows, cols, col, true)
}

// scoreElements is how many scores a block aims at: they stay in a core's
// caches between the two products.
const scoreElements = 16 << 10

// blocking returns the queries of a block, and the blocks of a head.
func (c *attentionCall) blocking() (rows, blocks int) {
	mr := c.kernels.GemmF32.MR
	rows = max(1, min(c.queries, roundUp(scoreElements/max(1, c.keys)+1, mr)))
	return rows, (c.queries + rows - 1) / rows
}

// scores lends the scratch of blocks.
var scores = sync.Pool{New: func() any { return new([]float32) }}

// block computes the results of one block of queries of head i.
func (c *attentionCall) block(tile *kernel.TileF32, scratch *[]float32, i, block int) {
	batch, head := i/c.heads, i%c.heads
	first := block * c.rows
	rows := min(c.rows, c.queries-first)
	if len(*scratch) < rows*c.keys {
		*scratch = make([]float32, rows*c.keys)
	}
	s := (*scratch)[:rows*c.keys]
	p := kernel.ProductF32{A: c.q.at(batch, head)[first*c.q.stride[positionAxis]:], B: c.keysOf(i), C: s}
	p.M, p.N, p.K, p.LDA, p.LDC = rows, c.keys, c.depth, c.q.stride[positionAxis], c.keys
	gemm := c.kernels.GemmF32
	gemm.Block(tile, &p, kernel.Range{Hi: rows}, kernel.Range{Hi: c.keys})
	for r := range rows {
		row := s[r*c.keys:][:c.keys]
		if c.masked {
			c.addMask(row, batch, head, first+r)
		}
		c.kernels.Softmax(row, row)
	}
	p = kernel.ProductF32{A: s, B: c.valuesOf(i), C: c.y.at(batch, head)[first*c.y.stride[positionAxis]:]}
	p.M, p.N, p.K, p.LDA, p.LDC = rows, c.width, c.keys, c.keys, c.y.stride[positionAxis]
	gemm.Block(tile, &p, kernel.Range{Hi: rows}, kernel.Range{Hi: c.width})
}

// addMask adds the mask to the scores of one query.
func (c *attentionCall) addMask(row []float32, batch, head, query int) {
	m := c.mask.at(batch, head)[query*c.mask.stride[positionAxis]:]
	if c.mask.size[featureAxis] == 1 {
		c.kernels.AddScalar(row, row, m[0])
		return
	}
	c.kernels.Add(row, row, m[:len(row)])
}

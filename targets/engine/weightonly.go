package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// weightOnly is a MatMulNBits: a product of a float32 tensor [..., k] with a
// constant matrix of 4 or 8 bits that is dequantized in registers for a few
// rows, and a few columns at a time for many.
type weightOnly struct {
	k, n    int
	bits    int
	weights kernel.Quantized // rows are the columns of the product
	bias    []float32        // nil if none
}

func (m *weightOnly) name() string { return "MatMulNBits" }

// fewRows is up to how many rows a matrix is read for each of them.
const fewRows = 4

func (m *weightOnly) eval(e *op.Eval) error {
	x := e.Tensor(0)
	if x == nil || x.DType() != tensor.Float32 || x.Rank() == 0 || x.Shape()[x.Rank()-1] != m.k {
		return e.Errorf(0, "want float with %d in the last axis", m.k)
	}
	shape := x.Shape().Clone()
	shape[len(shape)-1] = m.n
	rows := shape[:len(shape)-1].Len()
	y := e.New(tensor.Float32, shape)
	src, dst := m.padded(e, tensor.Data[float32](x), rows), tensor.Data[float32](y)
	if rows <= fewRows {
		m.byRows(e, dst, src, rows)
	} else {
		m.byColumns(e, dst, src, rows)
	}
	e.SetOut(0, y)
	return nil
}

// padded returns rows of x as long as those of the weights.
func (m *weightOnly) padded(e *op.Eval, x []float32, rows int) []float32 {
	if m.weights.K == m.k {
		return x
	}
	out := tensor.Data[float32](e.New(tensor.Float32, tensor.Shape{rows, m.weights.K}))
	clear(out)
	for r := range rows {
		copy(out[r*m.weights.K:], x[r*m.k:(r+1)*m.k])
	}
	return out
}

func (m *weightOnly) byRows(e *op.Eval, y, x []float32, rows int) {
	gemv := e.Kernels.GemvQ4
	if m.bits == 8 {
		gemv = e.Kernels.GemvQ8
	}
	e.Parallel(m.n, macsPerPiece/max(1, m.k*rows)+1, func(lo, hi int) {
		for r := range rows {
			part := y[r*m.n+lo : r*m.n+hi]
			gemv(part, x[r*m.weights.K:(r+1)*m.weights.K], &m.weights, lo)
			if m.bias != nil {
				e.Kernels.Add(part, part, m.bias[lo:hi])
			}
		}
	})
}

func (m *weightOnly) byColumns(e *op.Eval, y, x []float32, rows int) {
	g, k := e.Kernels.GemmF32, m.weights.K
	dequant := e.Kernels.DequantQ4
	if m.bits == 8 {
		dequant = e.Kernels.DequantQ8
	}
	p := kernel.ProductF32{A: x, C: y, Bias: m.bias}
	p.M, p.N, p.K, p.LDA, p.LDC = rows, m.n, k, k, m.n
	panels := ceilDiv(m.n, g.NR)
	e.Parallel(panels, macsPerPiece/max(1, g.NR*k*rows)+1, func(lo, hi int) {
		wide, packed := make([]float32, g.NR*k), make([]float32, g.PackedLen(k, g.NR))
		tile := tiles.Get().(*kernel.TileF32)
		for panel := lo; panel < hi; panel++ {
			from := panel * g.NR
			width := min(g.NR, m.n-from)
			for c := range width {
				dequant(wide[c*k:(c+1)*k], &m.weights, from+c)
			}
			e.Kernels.PackF32(packed, wide, k, width, k, true)
			part := p
			part.N, part.B, part.C = width, packed, y[from:]
			if m.bias != nil {
				part.Bias = m.bias[from:]
			}
			g.Block(tile, &part, kernel.Range{Hi: rows}, kernel.Range{Hi: width})
		}
		*tile = kernel.TileF32{}
		tiles.Put(tile)
	})
}

// packWeightOnly prepares the weights of every MatMulNBits that are constant.
func (o *optimizer) packWeightOnly() {
	for n := range o.graph.Nodes() {
		if n.Domain != "com.microsoft" || n.Op != "MatMulNBits" || !o.isFloat32(n.In(0)) {
			continue
		}
		m := o.weightOnlyOf(n)
		if m == nil {
			o.note(n, "not computed from narrow weights: want constants, 4 or 8 bits, blocks of a multiple of 16 and no g_idx")
			continue
		}
		o.replace(o.insert(n, m, n, n.In(0)), n)
	}
}

func (o *optimizer) weightOnlyOf(n *graph.Node) *weightOnly {
	m := &weightOnly{k: int(n.Int("K", 0)), n: int(n.Int("N", 0)), bits: int(n.Int("bits", 4))}
	block := int(n.Int("block_size", 0))
	q, scale := o.constant(n.In(1)), o.constant(n.In(2))
	if q == nil || scale == nil || q.DType() != tensor.Uint8 || n.In(4) != nil || m.k < 1 || m.n < 1 {
		return nil
	}
	if m.bits != 4 && m.bits != 8 || block < 16 || block%16 != 0 {
		return nil
	}
	blocks := ceilDiv(m.k, block)
	if q.Len() != m.n*blocks*block*m.bits/8 || !scale.DType().IsFloat() || scale.Len() != m.n*blocks {
		return nil
	}
	m.weights = kernel.Quantized{Q: tensor.Data[uint8](q), Scale: tensor.Float32s(scale), K: blocks * block, Block: block}
	if m.bits == 8 {
		m.weights.Q = flipped(m.weights.Q)
	}
	if z := n.In(3); z != nil {
		zero, ok := blockZeros(o.constant(z), m.n, blocks, m.bits)
		if !ok {
			return nil
		}
		m.weights.Zero = zero
	}
	if b := n.In(5); b != nil {
		bias, ok := o.floats(b)
		if !ok || len(bias[0]) != m.n {
			return nil
		}
		m.bias = bias[0]
	}
	return m
}

// flipped returns uint8 numbers minus 128, as int8.
func flipped(q []uint8) []uint8 {
	out := make([]uint8, len(q))
	for i, v := range q {
		out[i] = v ^ 0x80
	}
	return out
}

// blockZeros returns the zero point of each block, in the terms of the kernels:
// those of 8-bit weights are relative to 128. t holds numbers of that many
// bits, rows padded to whole bytes, or floats.
func blockZeros(t *tensor.Tensor, rows, blocks, bits int) ([]float32, bool) {
	shift := float32(0)
	if bits == 8 {
		shift = 128
	}
	zero := make([]float32, rows*blocks)
	perRow := ceilDiv(blocks*bits, 8)
	switch {
	case t != nil && t.DType() == tensor.Uint8 && t.Len() == rows*perRow:
		bytes := tensor.Data[uint8](t)
		for i := range zero {
			row, b := i/blocks, i%blocks
			v := bytes[row*perRow+b*bits/8]
			if bits == 4 {
				v = v >> (b % 2 * 4) & 15
			}
			zero[i] = float32(v) - shift
		}
	case t != nil && t.DType().IsFloat() && t.Len() == len(zero):
		for i, v := range tensor.Float32s(t) {
			zero[i] = v - shift
		}
	default:
		return nil, false
	}
	return zero, true
}

package engine

import (
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// epilogue is what is done to a product while what was computed of it is in the
// L1 cache: act, whose clamp the product itself has, and then the addition of a
// residual.
//
//	y = act(A*B + bias + res) + add
type epilogue struct {
	act *activation
	// add is addressed by addLD or addRows as the product's Res is; nil if there
	// is none.
	add     []float32
	addLD   int
	addRows []int32
}

// epilogueBlock is how many elements of a product are computed before an
// epilogue passes over them.
const epilogueBlock = 6 << 10

// productBlock computes the given rows and columns of p, and what follows.
func productBlock(k *kernel.Table, p *kernel.ProductF32, then epilogue, rows, cols kernel.Range) {
	tile := tiles.Get().(*kernel.TileF32)
	width := cols.Hi - cols.Lo
	apart := then.add != nil || p.LDC != p.N || width != p.N
	switch {
	case then.add == nil && then.act.apply == nil:
		k.GemmF32.Block(tile, p, rows, cols)
	case width > 0:
		step := roundUp(ceilDiv(epilogueBlock, width), k.GemmF32.MR)
		for i := rows.Lo; i < rows.Hi; i += step {
			part := kernel.Range{Lo: i, Hi: min(i+step, rows.Hi)}
			if apart {
				then.blockApart(k, tile, p, part, cols)
				continue
			}
			k.GemmF32.Block(tile, p, part, cols)
			then.inPlace(k, p, part)
		}
	}
	*tile = kernel.TileF32{}
	tiles.Put(tile)
}

// inPlace applies the activation to rows of p, as many at once as lie together.
func (t *epilogue) inPlace(k *kernel.Table, p *kernel.ProductF32, rows kernel.Range) {
	for i := rows.Lo; i < rows.Hi; {
		first, end := rowAt(p.CRows, p.LDC, i), i+1
		for end < rows.Hi && rowAt(p.CRows, p.LDC, end) == first+(end-i)*p.N {
			end++
		}
		run := p.C[first:][:(end-i)*p.N]
		t.act.apply(k, run, run)
		i = end
	}
}

// epilogueScratch lends blocks whose rows lie together.
var epilogueScratch = sync.Pool{New: func() any { return new([]float32) }}

// blockApart computes a block of p where its rows lie together, and moves it to
// where they lie apart.
func (t *epilogue) blockApart(k *kernel.Table, tile *kernel.TileF32, p *kernel.ProductF32, rows, cols kernel.Range) {
	count, width := rows.Hi-rows.Lo, cols.Hi-cols.Lo
	buf := epilogueScratch.Get().(*[]float32)
	if len(*buf) < count*width {
		var mem slab
		*buf = mem.floats(count * width)
	}
	block := (*buf)[:count*width]
	part := blockOf(p, rows, cols)
	part.C, part.CRows, part.LDC = block, nil, width
	k.GemmF32.Block(tile, &part, kernel.Range{Lo: 0, Hi: count}, kernel.Range{Lo: 0, Hi: width})
	if t.act.apply != nil {
		t.act.apply(k, block, block)
	}
	t.move(k, p, block, rows, cols)
	epilogueScratch.Put(buf)
}

// blockOf is the product of the given rows and columns of p, the first of which
// is a multiple of the panels' width, with a C of its own.
func blockOf(p *kernel.ProductF32, rows, cols kernel.Range) kernel.ProductF32 {
	b := *p
	b.M, b.N = rows.Hi-rows.Lo, cols.Hi-cols.Lo
	if p.ARows != nil {
		b.ARows = p.ARows[rows.Lo:]
	} else {
		b.A = p.A[rows.Lo*p.LDA:]
	}
	b.B = p.B[cols.Lo*p.Depth():]
	if p.Bias != nil {
		b.Bias = p.Bias[cols.Lo:]
	}
	if p.Res != nil {
		b.Res = p.Res[cols.Lo:]
		if p.RRows != nil {
			b.RRows = p.RRows[rows.Lo:]
		} else {
			b.Res = b.Res[rows.Lo*p.LDR:]
		}
	}
	return b
}

// move puts a block in its place in p, with the residual, as many rows at once
// as lie equally far apart.
func (t *epilogue) move(k *kernel.Table, p *kernel.ProductF32, block []float32, rows, cols kernel.Range) {
	width := cols.Hi - cols.Lo
	for i := rows.Lo; i < rows.Hi; {
		to, end := rowAt(p.CRows, p.LDC, i), i+1
		for end < rows.Hi && rowAt(p.CRows, p.LDC, end) == to+(end-i)*p.LDC &&
			(t.add == nil || rowAt(t.addRows, t.addLD, end) == rowAt(t.addRows, t.addLD, i)+(end-i)*t.addLD) {
			end++
		}
		dst, src := p.C[to+cols.Lo:], block[(i-rows.Lo)*width:]
		if t.add == nil {
			k.CopyRows(dst, p.LDC, src, width, end-i, width)
		} else {
			k.AddRows(dst, p.LDC, src, width, t.add[rowAt(t.addRows, t.addLD, i)+cols.Lo:], t.addLD, end-i, width)
		}
		i = end
	}
}

// rowAt is where row i of a matrix lies, whose rows a table lists or are ld
// apart.
func rowAt(table []int32, ld, i int) int {
	if table != nil {
		return int(table[i])
	}
	return i * ld
}

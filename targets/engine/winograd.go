package engine

import (
	"math"
	"sync"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// winograd computes a 3x3 convolution of stride 1 in tiles of 4x4 outputs by
// F(4x4, 3x3), with a quarter of the multiplications. See package kernel.
type winograd struct {
	cin, cout int
	packed    []float32 // 36 packed matrices [cin, cout]
	first     firstPack // of packed
}

// What a convolution costs in tiles, in multiply-accumulates of a product,
// besides those of its own.
const (
	// winogradMinChannels and winogradMinWeights are from how many channels and
	// weights on the products are worth a call.
	winogradMinChannels = 16
	winogradMinWeights  = 512
	// transformCost is that of the transforms, for each channel of a tile.
	transformCost = 200
	// weightCost is that of reading a transformed weight. There are four times
	// as many of them as of a direct convolution.
	weightCost = 10
)

// winogradSlack is how much farther than its window's extent the last tile of
// a row or column reads.
const winogradSlack = kernel.WinogradOut - 1

// tiledBy reports whether a window and its channels suit the tiles.
func tiledBy(w *window, groups, cin, cout int) bool {
	one := [2]int{1, 1}
	return w.kernel == [2]int{3, 3} && w.stride == one && w.dilation == one && groups == 1 &&
		min(cin, cout) >= winogradMinChannels && cin*cout >= winogradMinWeights
}

// newWinograd takes weights [cout, cin, 3, 3], which are packed when they are
// first used.
func newWinograd(k *kernel.Table, weights *tensor.Tensor) *winograd {
	s := weights.Shape()
	w := &winograd{cin: s[1], cout: s[0]}
	w.first.pack = func(mem *packer) {
		w.packed = mem.floats(kernel.WinogradElems * w.packedLen(k))
		mem.add(weights, ceilDiv(w.cout, k.GemmF32.NR), func(lo, hi int) {
			w.packPanels(k, tensor.Data[float32](weights), lo, hi)
		})
	}
	return w
}

func (w *winograd) packedLen(k *kernel.Table) int { return k.GemmF32.PackedLen(w.cin, w.cout) }

// matrices returns the packed matrices.
func (w *winograd) matrices(e *op.Eval) []float32 {
	w.first.do(e)
	return w.packed
}

// packPanels transforms the filters of the panels lo to hi-1 of each matrix.
func (w *winograd) packPanels(k *kernel.Table, src []float32, lo, hi int) {
	const taps = 9
	nr, each := k.GemmF32.NR, w.packedLen(k)
	plain := make([]float32, w.cin*taps*nr) // [cin, taps, nr]
	turned := make([]float32, kernel.WinogradElems*nr)
	for first := lo * nr; first < min(hi*nr, w.cout); first += nr {
		k.PackF32(plain, src[first*w.cin*taps:], w.cin*taps, min(nr, w.cout-first), w.cin*taps, true)
		for i := range w.cin {
			filters := plain[i*taps*nr:][:taps*nr]
			for j := range nr {
				var g [taps]float32
				for t := range g {
					g[t] = filters[t*nr+j]
				}
				for e, v := range kernel.WinogradWeights(g) {
					turned[e*nr+j] = v
				}
			}
			for e := range kernel.WinogradElems {
				copy(w.packed[e*each+first*w.cin+i*nr:][:nr], turned[e*nr:])
			}
		}
	}
}

// pays reports whether the tiles are faster for a result of the given size.
func (w *winograd) pays(y *pixels) bool {
	if min(y.h, y.w) < kernel.WinogradOut {
		return false
	}
	tiles, weights := y.n*tilesAlong(y.h)*tilesAlong(y.w), w.cin*w.cout
	tiled := kernel.WinogradElems*weights*(tiles+weightCost) + tiles*(w.cin+w.cout)*transformCost
	return tiled < y.n*y.h*y.w*9*weights
}

func tilesAlong(size int) int { return (size + kernel.WinogradOut - 1) / kernel.WinogradOut }

// groupSize returns how many tiles are computed together: as many as fit the
// L2 cache between the transforms, more where the weights do not.
func (w *winograd) groupSize(mr, tiles int) int {
	const cached, large = 96 << 10, 512 << 10 // elements
	group := cached / (kernel.WinogradElems * (w.cin + w.cout))
	if kernel.WinogradElems*w.cin*w.cout > large {
		group = 8 * mr
	}
	group = roundUp(max(1, min(max(group, 2*mr), 8*mr, (tiles+1)/2)), mr)
	// Groups of equal size, and an even number of them, keep two threads busy.
	groups := ceilDiv(tiles, group)
	if groups > 1 {
		groups += groups % 2
	}
	return ceilDiv(tiles, max(1, groups))
}

// winogradScratch lends transformed tiles and their sums.
var winogradScratch = sync.Pool{New: func() any { return new([]float32) }}

// run computes y = act(conv(x) + bias + res), or has res added behind the
// activation; the image (top, left) stands before x's first pixel as padding.
// bias and res may be nil. Threads share the
// groups of tiles, or the channels of the result if there is one group.
func (w *winograd) run(e *op.Eval, x, y, res *image[float32], added residual, bias []float32, act *activation, top, left int) {
	gemm := &e.Kernels.GemmF32
	g := tileGroup{
		w: w, e: e, x: x, y: y, res: res, added: added, bias: bias, act: act, top: top, left: left,
		weights: w.matrices(e), across: tilesAlong(y.w), down: tilesAlong(y.h),
	}
	tiles := y.n * g.across * g.down
	size := w.groupSize(gemm.MR, tiles)
	if size < tiles {
		e.Parallel(ceilDiv(tiles, size), 1, func(lo, hi int) {
			g.withScratch(size, func(buf []float32) {
				for i := lo; i < hi; i++ {
					g.compute(buf, i*size, min((i+1)*size, tiles), kernel.Range{Lo: 0, Hi: w.cout})
				}
			})
		})
		return
	}
	perPanel := kernel.WinogradElems * tiles * w.cin * gemm.NR
	e.Parallel(ceilDiv(w.cout, gemm.NR), ceilDiv(macsPerPiece, max(1, perPanel)), func(lo, hi int) {
		g.withScratch(tiles, func(buf []float32) {
			g.compute(buf, 0, tiles, kernel.Range{Lo: lo * gemm.NR, Hi: min(hi*gemm.NR, w.cout)})
		})
	})
}

// withScratch calls f with room for the transforms of so many tiles.
func (g *tileGroup) withScratch(tiles int, f func(buf []float32)) {
	buf := winogradScratch.Get().(*[]float32)
	if need := kernel.WinogradElems * tiles * (g.w.cin + g.w.cout); len(*buf) < need {
		var mem slab
		*buf = mem.floats(need)
	}
	f(*buf)
	winogradScratch.Put(buf)
}

// tileGroup computes groups of the tiles of one call.
type tileGroup struct {
	w            *winograd
	e            *op.Eval
	x, y, res    *image[float32]
	added        residual
	weights      []float32
	bias         []float32
	act          *activation
	top, left    int
	across, down int
}

// compute computes the given channels of the tiles lo to hi-1.
func (g *tileGroup) compute(buf []float32, lo, hi int, channels kernel.Range) {
	k, w, count := g.e.Kernels, g.w, hi-lo
	in := buf[:kernel.WinogradElems*count*w.cin]
	sums := buf[len(in):][:kernel.WinogradElems*count*w.cout]
	for i := range count {
		n, ty, tx := g.place(lo + i)
		k.WinogradInput(&kernel.WinogradInput{
			In:  g.x.data[g.x.at(n, ty*kernel.WinogradOut-g.top)+(tx*kernel.WinogradOut-g.left)*w.cin:],
			Out: in[i*w.cin:], Step: count * w.cin, C: w.cin, RowStep: g.x.rowStep(), PixelStep: w.cin,
		})
	}
	tile := tiles.Get().(*kernel.TileF32)
	each := w.packedLen(k)
	for el := range kernel.WinogradElems {
		p := kernel.ProductF32{A: in[el*count*w.cin:], B: g.weights[el*each:], C: sums[el*count*w.cout:]}
		p.M, p.N, p.K, p.LDA, p.LDC = count, w.cout, w.cin, w.cin, w.cout
		k.GemmF32.Block(tile, &p, kernel.Range{Lo: 0, Hi: count}, channels)
	}
	*tile = kernel.TileF32{}
	tiles.Put(tile)
	for i := range count {
		g.finish(sums[i*w.cout:], count*w.cout, lo+i, channels)
	}
}

// place returns the image, row and column of a tile.
func (g *tileGroup) place(i int) (n, ty, tx int) {
	return i / (g.across * g.down), i / g.across % g.down, i % g.across
}

// finish transforms the sums of the given channels of a tile back to pixels.
func (g *tileGroup) finish(sums []float32, step, i int, channels kernel.Range) {
	n, ty, tx := g.place(i)
	y0, x0 := ty*kernel.WinogradOut, tx*kernel.WinogradOut
	c, first, some := g.w.cout, channels.Lo, channels.Hi-channels.Lo
	out := kernel.WinogradOutput{
		In: sums[first:], Step: step, C: some,
		Out: g.y.data[g.y.at(n, y0)+x0*g.y.step()+first:], RowStep: g.y.rowStep(), PixelStep: g.y.step(),
		H: min(kernel.WinogradOut, g.y.h-y0), W: min(kernel.WinogradOut, g.y.w-x0),
		Lo: float32(math.Inf(-1)), Hi: float32(math.Inf(1)),
	}
	if g.bias != nil {
		out.Bias = g.bias[first:]
	}
	if g.act.lo != 0 || g.act.hi != 0 {
		out.Lo, out.Hi = g.act.lo, g.act.hi
	}
	var res []float32
	if g.res != nil {
		res = g.res.data[g.res.at(n, y0)+x0*c+first:]
	}
	if res != nil && g.added == beforeActivation {
		out.Res, out.ResRowStep, out.ResPixelStep = res, g.res.rowStep(), c
		res = nil
	}
	if res != nil || g.act.apply != nil {
		g.activated(&out, res)
		return
	}
	g.e.Kernels.WinogradOutput(&out)
}

// activated computes the pixels of out, where they lie together, applies the
// activation to them and moves them to their place, with the pixels of res if it
// is not nil.
func (g *tileGroup) activated(out *kernel.WinogradOutput, res []float32) {
	const pixels = kernel.WinogradOut * kernel.WinogradOut
	buf := epilogueScratch.Get().(*[]float32)
	if len(*buf) < pixels*out.C {
		var mem slab
		*buf = mem.floats(pixels * out.C)
	}
	block, k, at := (*buf)[:out.H*out.W*out.C], g.e.Kernels, *out
	at.Out, at.RowStep, at.PixelStep = block, out.W*out.C, out.C
	k.WinogradOutput(&at)
	if g.act.apply != nil {
		g.act.apply(k, block, block)
	}
	for r := range out.H {
		dst, src := out.Out[r*out.RowStep:], block[r*at.RowStep:]
		if res == nil {
			k.CopyRows(dst, out.PixelStep, src, out.C, out.W, out.C)
		} else {
			k.AddRows(dst, out.PixelStep, src, out.C, res[r*g.res.rowStep():], g.w.cout, out.W, out.C)
		}
	}
	epilogueScratch.Put(buf)
}

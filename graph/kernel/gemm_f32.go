package kernel

import (
	"cmp"
	"fmt"
	"math"
)

// GemmF32 is one tile kernel of C = A*B in float32 and the layout of B that it
// reads. MR and NR are the rows and columns of C held in registers.
//
// B is packed in panels of NR columns: panel p holds the columns
// [p*NR, p*NR+NR) as [depth][NR], zeros beyond column N.
type GemmF32 struct {
	Name   string
	MR, NR int
	Tile   func(*TileF32)
	// Rows is how many rows a call of Tile may have, a multiple of MR up to
	// MaxRowsF32; 0 stands for MR.
	Rows int
	// Depth is how many rows of B a call takes at most, and BlockElems how
	// many elements of B stay in a near cache while rows of A pass over them; 0 stands
	// for depthF32 and blockF32. The order of a long sum depends on Depth.
	Depth, BlockElems int
	// Row is Tile for M = 1 and an N that is a multiple of RowPanels*NR, nil if
	// Tile is as fast.
	Row func(*TileF32)
}

// RowPanels is how many panels of B a kernel of a single row reads side by side.
const RowPanels = 4

// MaxRowsF32 bounds the rows of one call of a float32 tile kernel.
const MaxRowsF32 = 48

// TileF32 is the argument of one call of a tile kernel: M rows of C times N
// columns, which may span many panels.
//
//	v = sum over t, k of A[ARow[i]+Taps[t]+k] * B[panel(j)][t*K+k][j%NR]
//	v = v + C[CRow[i]+j]   if Accumulate
//	v = v + Bias[j]        if Bias != nil
//	v = v + Res[RRow[i]+j] if Res != nil
//	C[CRow[i]+j] = min(max(v, Lo), Hi)
//
// Products are added in the order of t and k, with one rounding each where the
// target has a fused multiply-add. A NaN stays a NaN through the clamp.
type TileF32 struct {
	A, B, C   []float32
	Bias, Res []float32
	Taps      []int32
	// The rows' places. Kernels may write one behind the last.
	ARow, CRow, RRow [MaxRowsF32 + 1]int
	M, N, K          int
	// PanelStride is the distance between panels of B in elements.
	PanelStride int
	Lo, Hi      float32
	Accumulate  bool
	// Far says that C is unlikely to be in a near cache.
	Far bool
}

// ProductF32 is a whole product C = clamp(A*B + Bias + Res, Lo, Hi), to be
// computed in blocks by [GemmF32.Block]. The zero values of Bias and Res mean
// that there is none. The zero value of the pair Lo, Hi means no clamp.
type ProductF32 struct {
	Geometry
	A []float32
	// B is packed by [Table.PackF32] with Depth() rows and N columns.
	B []float32
	C []float32
	// Bias holds N values, one per column.
	Bias []float32
	// Res is added to C element by element; it is addressed by LDR or RRows
	// as C is by LDC and CRows.
	Res    []float32
	LDR    int
	RRows  []int32
	Lo, Hi float32
}

// Blocking of a product, where a target has no numbers of its own.
const (
	depthF32 = 512
	blockF32 = depthF32 * 256
	// callF32 bounds the multiply-accumulates of a call that has more than one
	// tile of rows, and so the time for which the garbage collector waits for a
	// worker between calls, to some tens of microseconds.
	callF32 = 3 << 19
	// farF32 is from how many elements on C is unlikely to be in the L2 cache.
	farF32 = 128 << 10
	// fewRows is below how many rows a tile takes no less time than with so many,
	// since every addition waits for the one before it.
	fewRows = 4
)

func (g *GemmF32) depth() int { return cmp.Or(g.Depth, depthF32) }

// PackedLen is the length of a packed B of k rows and n columns.
func (g *GemmF32) PackedLen(k, n int) int { return roundUp(n, g.NR) * k }

// Check reports the first slice of p that is too short for its sizes. Block
// does not check again.
func (g *GemmF32) Check(p *ProductF32) error {
	if err := p.check(len(p.A), len(p.C)); err != nil {
		return err
	}
	if want := g.PackedLen(p.Depth(), p.N); len(p.B) < want {
		return fmt.Errorf("product has a packed B of %d elements, want %d", len(p.B), want)
	}
	if p.Bias != nil && len(p.Bias) < p.N {
		return fmt.Errorf("product has %d biases, want %d", len(p.Bias), p.N)
	}
	if p.Res == nil {
		return nil
	}
	res := Geometry{M: p.M, N: p.N, CRows: p.RRows, LDC: p.LDR}
	if err := res.check(0, len(p.Res)); err != nil {
		return fmt.Errorf("residual: %w", err)
	}
	return nil
}

// Block computes the given rows and columns of p; cols.Lo must be a multiple
// of NR. The results do not depend on how a product is divided into blocks.
// tile is scratch that the caller keeps, one per thread.
func (g *GemmF32) Block(tile *TileF32, p *ProductF32, rows, cols Range) {
	if rows.len() <= 0 {
		return
	}
	depth := p.Depth()
	tile.PanelStride = depth * g.NR
	tile.Far = p.M*p.N > farF32
	unit := g.NR
	if rows.len() == 1 && g.Row != nil {
		unit *= RowPanels
	}
	perCall := max(unit, cmp.Or(g.BlockElems, blockF32)/max(1, min(depth, g.depth()))/unit*unit)
	for j := cols.Lo; j < cols.Hi; j += perCall {
		tile.N = min(perCall, cols.Hi-j)
		tile.C = p.C[j:]
		g.columns(tile, p, rows, j)
	}
}

// columns computes the columns [j, j+tile.N) of the given rows, one block of
// the depth after the other.
func (g *GemmF32) columns(tile *TileF32, p *ProductF32, rows Range, j int) {
	taps := p.taps()
	panel := p.B[j*p.Depth():]
	if p.K > g.depth() {
		each := roundUp(ceilDiv(p.K, ceilDiv(p.K, g.depth())), 4)
		for t := range taps {
			for k := 0; k < p.K; k += each {
				tile.K = min(each, p.K-k)
				tile.Taps = taps[t : t+1]
				tile.A = p.A[k:]
				tile.B = panel[(t*p.K+k)*g.NR:]
				first := t == 0 && k == 0
				last := t == len(taps)-1 && k+tile.K == p.K
				g.rows(tile, p, rows, j, first, last)
			}
		}
		return
	}
	tile.K, tile.A = p.K, p.A
	if p.K == 0 || len(taps) == 0 {
		tile.Taps, tile.B = nil, panel
		g.rows(tile, p, rows, j, true, true)
		return
	}
	group := ceilDiv(len(taps), ceilDiv(len(taps), g.depth()/p.K))
	for t := 0; t < len(taps); t += group {
		end := min(t+group, len(taps))
		tile.Taps = taps[t:end]
		tile.B = panel[t*p.K*g.NR:]
		g.rows(tile, p, rows, j, t == 0, end == len(taps))
	}
}

// rows runs the tile kernel down the given rows. Only the last block of the
// depth has an epilogue; all but the first add to what is in C.
func (g *GemmF32) rows(tile *TileF32, p *ProductF32, rows Range, j int, first, last bool) {
	tile.Accumulate = !first
	tile.Bias, tile.Res = nil, nil
	tile.Lo, tile.Hi = float32(math.Inf(-1)), float32(math.Inf(1))
	if last {
		if p.Bias != nil {
			tile.Bias = p.Bias[j:]
		}
		if p.Res != nil {
			tile.Res = p.Res[j:]
		}
		if p.Lo != 0 || p.Hi != 0 {
			tile.Lo, tile.Hi = p.Lo, p.Hi
		}
	}
	if rows.len() == 1 && g.Row != nil {
		g.row(tile, p, rows.Lo)
		return
	}
	most := g.rowsPerCall(tile)
	for i := rows.Lo; i < rows.Hi; i += tile.M {
		tile.M = g.height(rows.Hi-i, most)
		tile.place(p, i)
		g.Tile(tile)
	}
}

// rowsPerCall is how many rows a call computes, a multiple of MR.
func (g *GemmF32) rowsPerCall(tile *TileF32) int {
	macs := g.MR * tile.N * tile.K * len(tile.Taps)
	return min(max(callF32/max(1, macs), 1)*g.MR, max(g.Rows, g.MR))
}

// height is how many of n rows the next call computes, at most a number that is
// a multiple of MR: whole tiles, but the last two share their rows if the last
// would have few.
func (g *GemmF32) height(n, most int) int {
	whole := n / g.MR * g.MR
	if rest := n - whole; 0 < rest && rest < fewRows {
		whole -= g.MR
	}
	switch {
	case whole > 0:
		return min(whole, most)
	case n > g.MR:
		return roundUp(ceilDiv(n, 2), 2)
	}
	return n
}

// row computes a single row: as many groups of panels as there are by g.Row.
func (g *GemmF32) row(tile *TileF32, p *ProductF32, i int) {
	n := tile.N
	tile.M, tile.N = 1, n/(RowPanels*g.NR)*(RowPanels*g.NR)
	tile.place(p, i)
	if tile.N > 0 {
		g.Row(tile)
	}
	if whole := tile.N; whole < n {
		c := tile.C
		tile.N, tile.B, tile.C = n-whole, tile.B[whole/g.NR*tile.PanelStride:], c[whole:]
		if tile.Bias != nil {
			tile.Bias = tile.Bias[whole:]
		}
		if tile.Res != nil {
			tile.Res = tile.Res[whole:]
		}
		g.Tile(tile)
		tile.C = c
	}
	tile.N = n
}

// place sets the places of the tile's rows, the first of which is row i of p.
func (t *TileF32) place(p *ProductF32, i int) {
	offsets(t.ARow[:t.M], p.ARows, p.LDA, i)
	offsets(t.CRow[:t.M], p.CRows, p.LDC, i)
	if t.Res != nil {
		offsets(t.RRow[:t.M], p.RRows, p.LDR, i)
	}
}

// offsets sets dst to the places of rows from row i on, which a table lists or
// which are ld apart.
func offsets(dst []int, table []int32, ld, i int) {
	if table == nil {
		for r := range dst {
			dst[r] = (i + r) * ld
		}
		return
	}
	for r, at := range table[i:][:len(dst)] {
		dst[r] = int(at)
	}
}

// PackF32 packs B of k rows and n columns for t.GemmF32 into dst, which holds
// t.GemmF32.PackedLen(k, n) elements. b is row-major with rows ldb apart; with
// trans it holds the transpose, n rows of k.
func (t *Table) PackF32(dst, b []float32, k, n, ldb int, trans bool) {
	nr := t.GemmF32.NR
	if !trans {
		packRows(dst, b, nr, k, n, ldb)
		return
	}
	for j := 0; j < n; j += nr {
		packPanelTrans(t, dst[j*k:(j+nr)*k], b[j*ldb:], k, min(nr, n-j), ldb)
	}
}

// packRows packs a few rows at a time, so that both b and the panels are read
// and written in runs.
func packRows(dst, b []float32, nr, k, n, ldb int) {
	const few = 16
	for lo := 0; lo < k; lo += few {
		hi := min(lo+few, k)
		for j := 0; j < n; j += nr {
			width := min(nr, n-j)
			for r := lo; r < hi; r++ {
				row := dst[j*k+r*nr:][:nr]
				copy(row, b[r*ldb+j:][:width])
				clear(row[width:])
			}
		}
	}
}

func packPanelTrans(t *Table, panel, b []float32, k, width, ldb int) {
	nr := t.GemmF32.NR
	if width < nr {
		clear(panel)
	}
	t.Transpose(panel, nr, b, ldb, width, k)
}

// gemmF32Tile is the portable tile kernel, the oracle of all others.
func gemmF32Tile(t *TileF32, nr int) {
	for i := range t.M {
		for j := range t.N {
			column := j/nr*t.PanelStride + j%nr
			v := float32(0)
			for tap, offset := range t.Taps {
				row := t.A[t.ARow[i]+int(offset):]
				for k := range t.K {
					v = fma32(row[k], t.B[column+(tap*t.K+k)*nr], v)
				}
			}
			finishF32(t, i, j, v)
		}
	}
}

func finishF32(t *TileF32, i, j int, v float32) {
	at := t.CRow[i] + j
	if t.Accumulate {
		v += t.C[at]
	}
	if t.Bias != nil {
		v += t.Bias[j]
	}
	if t.Res != nil {
		v += t.Res[t.RRow[i]+j]
	}
	t.C[at] = clamp(v, t.Lo, t.Hi)
}

// fma32 is a*b + c. The product of two float32 is exact in float64, so only
// the sum is rounded, twice.
func fma32(a, b, c float32) float32 { return float32(float64(a)*float64(b) + float64(c)) }

// clamp limits v to [lo, hi] and keeps NaN.
func clamp(v, lo, hi float32) float32 {
	if v < lo {
		v = lo
	}
	if v > hi {
		v = hi
	}
	return v
}

package simd

import (
	"math"
	"unsafe"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// The assembly kernels run to their end without a point where the garbage
// collector could stop them, so long rows are divided into runs of about ten
// microseconds. Taking slices of equal length here is also what keeps the
// assembly within its operands.
const run = 1 << 14

func unary(f func(dst, src []float32)) func(dst, src []float32) {
	return func(dst, src []float32) {
		src = src[:len(dst)]
		for ; len(dst) > run; dst, src = dst[run:], src[run:] {
			f(dst[:run], src)
		}
		f(dst, src)
	}
}

func unary1(f func(dst, src []float32, p float32)) func(dst, src []float32, p float32) {
	return func(dst, src []float32, p float32) {
		src = src[:len(dst)]
		for ; len(dst) > run; dst, src = dst[run:], src[run:] {
			f(dst[:run], src, p)
		}
		f(dst, src, p)
	}
}

func unary2(f func(dst, src []float32, p, q float32)) func(dst, src []float32, p, q float32) {
	return func(dst, src []float32, p, q float32) {
		src = src[:len(dst)]
		for ; len(dst) > run; dst, src = dst[run:], src[run:] {
			f(dst[:run], src, p, q)
		}
		f(dst, src, p, q)
	}
}

func binary(f func(dst, a, b []float32)) func(dst, a, b []float32) {
	return func(dst, a, b []float32) {
		a, b = a[:len(dst)], b[:len(dst)]
		for ; len(dst) > run; dst, a, b = dst[run:], a[run:], b[run:] {
			f(dst[:run], a, b)
		}
		f(dst, a, b)
	}
}

// copyRows and addRows take kernels over rows that lie apart.
func copyRows(f func(dst []float32, dstStep int, a []float32, aStep, rows, n int)) func(dst []float32, dstStep int, a []float32, aStep, rows, n int) {
	return func(dst []float32, dstStep int, a []float32, aStep, rows, n int) {
		for ; rows > 0 && n > 0; rows -= rowsPerCall(n) {
			some := min(rows, rowsPerCall(n))
			last := some - 1
			_, _ = dst[last*dstStep:][:n], a[last*aStep:][:n]
			f(dst, dstStep, a, aStep, some, n)
			if some < rows {
				dst, a = dst[some*dstStep:], a[some*aStep:]
			}
		}
	}
}

func addRows(f func(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep, rows, n int)) func(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep, rows, n int) {
	return func(dst []float32, dstStep int, a []float32, aStep int, b []float32, bStep, rows, n int) {
		for ; rows > 0 && n > 0; rows -= rowsPerCall(n) {
			some := min(rows, rowsPerCall(n))
			last := some - 1
			_, _, _ = dst[last*dstStep:][:n], a[last*aStep:][:n], b[last*bStep:][:n]
			f(dst, dstStep, a, aStep, b, bStep, some, n)
			if some < rows {
				dst, a, b = dst[some*dstStep:], a[some*aStep:], b[some*bStep:]
			}
		}
	}
}

// rowsPerCall is how many rows of n elements make a run.
func rowsPerCall(n int) int { return max(1, run/n) }

// fold reduces each run and joins the results.
func fold(f func(src []float32) float32, join func(a, b float32) float32) func(src []float32) float32 {
	return func(src []float32) float32 {
		if len(src) <= run {
			return f(src)
		}
		r := f(src[:run])
		for src = src[run:]; len(src) > run; src = src[run:] {
			r = join(r, f(src[:run]))
		}
		return join(r, f(src))
	}
}

func plus(a, b float32) float32    { return a + b }
func greater(a, b float32) float32 { return max(a, b) }
func lesser(a, b float32) float32  { return min(a, b) }

// rows are the parts of which the kernels over whole rows are made.
type rows struct {
	sum             func(src []float32) float32
	max             func(src []float32) float32
	squares         func(src []float32, mean float32) float32
	softmaxExp      func(dst, src []float32, max float32) float32
	scale           func(dst, src []float32, c float32)
	normalize       func(dst, src []float32, mean, inv float32)
	normalizeScaled func(dst, src, gamma []float32, mean, inv float32)
	normalizeAffine func(dst, src, gamma, beta []float32, mean, inv float32)
}

func (r rows) sumSquares(src []float32, mean float32) float32 {
	return fold(func(s []float32) float32 { return r.squares(s, mean) }, plus)(src)
}

func (r rows) softmax(dst, src []float32) {
	src = src[:len(dst)]
	greatest, total := r.max(src), float32(0)
	for i := 0; i < len(dst); i += run {
		end := min(i+run, len(dst))
		total += r.softmaxExp(dst[i:end], src[i:end], greatest)
	}
	r.scale(dst, dst, 1/total)
}

func (r rows) layerNorm(dst, src, gamma, beta []float32, eps float32) {
	src = src[:len(dst)]
	n := float32(len(dst))
	mean := r.sum(src) / n
	r.finish(dst, src, gamma, beta, mean, inverse(r.sumSquares(src, mean)/n+eps))
}

func (r rows) rmsNorm(dst, src, gamma []float32, eps float32) {
	src = src[:len(dst)]
	r.finish(dst, src, gamma, nil, 0, inverse(r.sumSquares(src, 0)/float32(len(dst))+eps))
}

func inverse(variance float32) float32 { return float32(1 / math.Sqrt(float64(variance))) }

func (r rows) finish(dst, src, gamma, beta []float32, mean, inv float32) {
	for i := 0; i < len(dst); i += run {
		end := min(i+run, len(dst))
		d, s := dst[i:end], src[i:end]
		switch {
		case gamma == nil:
			r.normalize(d, s, mean, inv)
		case beta == nil:
			r.normalizeScaled(d, s, gamma[i:end], mean, inv)
		default:
			r.normalizeAffine(d, s, gamma[i:end], beta[i:end], mean, inv)
		}
		if gamma == nil && beta != nil {
			for j, b := range beta[i:end] {
				d[j] += b
			}
		}
	}
}

// gemv divides the rows of a matrix into calls of bounded work.
func gemv[W float32 | uint16](f func(dst []float32, w []W, x []float32, ldw int)) func(dst []float32, w []W, x []float32, ldw int) {
	return func(dst []float32, w []W, x []float32, ldw int) {
		if len(dst) == 0 {
			return
		}
		_ = w[:(len(dst)-1)*ldw+len(x)]
		height := max(4, 16*run/max(1, len(x))&^3)
		for ; len(dst) > height; dst, w = dst[height:], w[height*ldw:] {
			f(dst[:height], w, x, ldw)
		}
		f(dst, w, x, ldw)
	}
}

// workPerCall bounds the multiply-accumulates of one call of a window kernel.
const workPerCall = 1 << 19

func pixelsPerCall(w *kernel.Window) int {
	return max(8, workPerCall/max(1, w.C*len(w.Taps))&^7)
}

// depthwiseF32 takes a kernel for any taps and one for 3x3 taps at a stride
// of 1.
func depthwiseF32(any, three func(*kernel.DepthwiseF32)) func(*kernel.DepthwiseF32) {
	return func(d *kernel.DepthwiseF32) {
		f := any
		if threeByThree(&d.Window) {
			f = three
		}
		n, whole := pixelsPerCall(&d.Window), *d
		for x := 0; x < whole.W; x += n {
			d.W = min(n, whole.W-x)
			d.In, d.Out = whole.In[x*d.InStep:], whole.Out[x*d.OutStep:]
			if d.Res != nil {
				d.Res = whole.Res[x*d.ResStep:]
			}
			f(d)
		}
		*d = whole
	}
}

// threeByThree reports whether the taps are three rows of three pixels that are
// as far apart as the outputs.
func threeByThree(w *kernel.Window) bool {
	if len(w.Taps) != 9 {
		return false
	}
	for i, tap := range w.Taps {
		if int(tap.In) != int(w.Taps[i/3*3].In)+i%3*w.InStep {
			return false
		}
	}
	return true
}

// depthwiseU8S8 takes kernels for channels that are whole vectors of lanes; the
// row that the kernel replaces does what is left.
func depthwiseU8S8(lanes int, f, rest func(*kernel.DepthwiseU8S8)) func(*kernel.DepthwiseU8S8) {
	return func(d *kernel.DepthwiseU8S8) {
		n, whole := pixelsPerCall(&d.Window), *d
		d.C = whole.C / lanes * lanes
		for x := 0; x < whole.W && d.C > 0; x += n {
			d.W = min(n, whole.W-x)
			d.In, d.Out = whole.In[x*d.InStep:], whole.Out[x*d.OutStep:]
			f(d)
		}
		if left := whole.C - d.C; left > 0 && whole.W > 0 {
			done := d.C
			*d = whole
			d.C = left
			d.In, d.Weights, d.Out, d.Scale = d.In[done:], d.Weights[done:], d.Out[done:], d.Scale[done:]
			if d.Bias != nil {
				d.Bias = d.Bias[done:]
			}
			rest(d)
		}
		*d = whole
	}
}

// upToTaps chooses a kernel by the number of taps.
func upToTaps(most int, f, rest func(*kernel.DepthwiseU8S8)) func(*kernel.DepthwiseU8S8) {
	return func(d *kernel.DepthwiseU8S8) {
		if len(d.Taps) <= most {
			f(d)
		} else {
			rest(d)
		}
	}
}

func pool(f func(*kernel.Pool)) func(*kernel.Pool) {
	return func(p *kernel.Pool) {
		n, whole := pixelsPerCall(&p.Window), *p
		for x := 0; x < whole.W; x += n {
			p.W = min(n, whole.W-x)
			p.In, p.Out = whole.In[x*p.InStep:], whole.Out[x*p.OutStep:]
			f(p)
		}
		*p = whole
	}
}

// converter makes a row of a kernel that takes whole vectors of lanes elements:
// the portable row, which gives the same bits, does what is left.
func converter[D, S any](lanes int, vectors, rest func(dst []D, src []S)) func(dst []D, src []S) {
	return func(dst []D, src []S) {
		src = src[:len(dst)]
		whole := len(dst) / lanes * lanes
		for i := 0; i < whole; i += run {
			vectors(dst[i:min(i+run, whole)], src[i:])
		}
		rest(dst[whole:], src[whole:])
	}
}

// transposer makes a transposition of strips 8 columns wide into one of any
// matrix.
func transposer(strip func(dst *float32, ldd int, src *float32, lds, rows int), rest func(dst []float32, ldd int, src []float32, lds, rows, cols int)) func(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	const side, most = 8, 512
	return func(dst []float32, ldd int, src []float32, lds, rows, cols int) {
		if rows <= 0 || cols <= 0 {
			return
		}
		_, _ = dst[(cols-1)*ldd+rows-1], src[(rows-1)*lds+cols-1]
		wholeRows, wholeCols := rows&^(side-1), cols&^(side-1)
		for r := 0; r < wholeRows; r += most {
			for c := 0; c < wholeCols; c += side {
				strip(&dst[c*ldd+r], ldd, &src[r*lds+c], lds, min(most, wholeRows-r))
			}
		}
		if wholeCols < cols {
			rest(dst[wholeCols*ldd:], ldd, src[wholeCols:], lds, rows, cols-wholeCols)
		}
		if wholeRows < rows && wholeCols > 0 {
			rest(dst[wholeRows:], ldd, src[wholeRows*lds:], lds, rows-wholeRows, wholeCols)
		}
	}
}

// quantizers makes the two rows of the quantizing kernel, whose parameters are
// the bounds of the quantized type relative to the zero point.
func quantizers(t *kernel.Table, lanes int, f func(dst []uint8, src []float32, scale, lo, hi float32, zero int32)) {
	restU8, restS8 := t.QuantizeU8, t.QuantizeS8
	bounded := func(dst []uint8, src []float32, scale float32, zero, lo, hi int32) int {
		whole := len(dst) / lanes * lanes
		for i := 0; i < whole; i += run {
			f(dst[i:min(i+run, whole)], src[i:], scale, float32(lo-zero), float32(hi-zero), zero)
		}
		return whole
	}
	t.QuantizeU8 = func(dst []uint8, src []float32, scale float32, zero uint8) {
		src = src[:len(dst)]
		n := bounded(dst, src, scale, int32(zero), 0, math.MaxUint8)
		restU8(dst[n:], src[n:], scale, zero)
	}
	t.QuantizeS8 = func(dst []int8, src []float32, scale float32, zero int8) {
		src = src[:len(dst)]
		n := bounded(kernel.Bytes(dst), src, scale, int32(zero), math.MinInt8, math.MaxInt8)
		restS8(dst[n:], src[n:], scale, zero)
	}
}

func dequantizer[S int8 | uint8](lanes int, f func(dst []float32, src []S, scale float32, zero int32), rest func(dst []float32, src []S, scale float32, zero S)) func(dst []float32, src []S, scale float32, zero S) {
	return func(dst []float32, src []S, scale float32, zero S) {
		src = src[:len(dst)]
		whole := len(dst) / lanes * lanes
		for i := 0; i < whole; i += run {
			f(dst[i:min(i+run, whole)], src[i:], scale, int32(zero))
		}
		rest(dst[whole:], src[whole:], scale, zero)
	}
}

// sparseStep is a multiple of the pixels that each kernel takes at once.
const sparseStep = 96

// sparse divides a product into calls of bounded work, by pixels rather than by
// rows: all rows that read some pixels find them in the cache.
func sparse(height int, f func(s *kernel.SparseF32, lo, hi int)) func(*kernel.SparseF32, kernel.Range) {
	return func(s *kernel.SparseF32, rows kernel.Range) {
		whole := *s
		each := max(1, height*int(s.Start[rows.Hi]-s.Start[rows.Lo]))
		n := max(sparseStep, 2*workPerCall/each/sparseStep*sparseStep)
		for p := 0; p < whole.Pixels; p += n {
			s.Pixels = min(n, whole.Pixels-p)
			s.X, s.Out = whole.X[p:], whole.Out[p:]
			sparseRows(s, rows, 2*workPerCall/(s.Pixels*height), f)
		}
		*s = whole
	}
}

// sparseRows divides rows, or blocks of rows, into calls of about so many entries.
func sparseRows(s *kernel.SparseF32, rows kernel.Range, most int, f func(s *kernel.SparseF32, lo, hi int)) {
	for lo := rows.Lo; lo < rows.Hi; {
		hi := lo + 1
		for hi < rows.Hi && int(s.Start[hi+1]-s.Start[lo]) < most {
			hi++
		}
		f(s, lo, hi)
		lo = hi
	}
}

// gemvQuantized takes kernels for blocks that are a multiple of unit weights;
// the row that the kernel replaces serves the other blocks.
func gemvQuantized(unit int, f, rest func(dst, x []float32, w *kernel.Quantized, row int)) func(dst, x []float32, w *kernel.Quantized, row int) {
	return func(dst, x []float32, w *kernel.Quantized, row int) {
		if w.Block%unit != 0 {
			rest(dst, x, w, row)
			return
		}
		x = x[:w.K]
		height := max(4, 16*run/max(1, w.K)&^3)
		for ; len(dst) > height; dst, row = dst[height:], row+height {
			f(dst[:height], x, w, row)
		}
		f(dst, x, w, row)
	}
}

// dequantQ4 dequantizes a row block by block.
func dequantQ4(f func(dst []float32, q []uint8, zero, scale float32)) func(dst []float32, w *kernel.Quantized, row int) {
	return func(dst []float32, w *kernel.Quantized, row int) {
		blocks := w.K / w.Block
		for b := range blocks {
			at, zero := row*blocks+b, float32(8)
			if w.Zero != nil {
				zero = w.Zero[at]
			}
			f(dst[b*w.Block:(b+1)*w.Block], w.Q[at*w.Block/2:], zero, w.Scale[at])
		}
	}
}

// dequantQ8 dequantizes a row block by block with the row for int8 tensors.
func dequantQ8(t *kernel.Table) func(dst []float32, w *kernel.Quantized, row int) {
	return func(dst []float32, w *kernel.Quantized, row int) {
		blocks := w.K / w.Block
		for b := range blocks {
			at := row*blocks + b
			d := dst[b*w.Block : (b+1)*w.Block]
			t.DequantizeS8(d, int8s(w.Q[at*w.Block:][:w.Block]), w.Scale[at], 0)
			if w.Zero != nil {
				t.AddScalar(d, d, -w.Zero[at]*w.Scale[at])
			}
		}
	}
}

func int8s(s []uint8) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
}

// lookup takes a kernel for whole vectors of lanes bytes; the row that the
// kernel replaces does what is left.
func lookup(lanes int, f, rest func(dst, src []uint8, table *[256]uint8)) func(dst, src []uint8, table *[256]uint8) {
	return func(dst, src []uint8, table *[256]uint8) {
		src = src[:len(dst)]
		whole := len(dst) / lanes * lanes
		for i := 0; i < whole; i += run {
			f(dst[i:min(i+run, whole)], src[i:], table)
		}
		rest(dst[whole:], src[whole:], table)
	}
}

// zipBytes is lookup for kernels of two operands.
func zipBytes(lanes int, f, rest func(dst, a, b []uint8)) func(dst, a, b []uint8) {
	return func(dst, a, b []uint8) {
		a, b = a[:len(dst)], b[:len(dst)]
		whole := len(dst) / lanes * lanes
		for i := 0; i < whole; i += run {
			f(dst[i:min(i+run, whole)], a[i:], b[i:])
		}
		rest(dst[whole:], a[whole:], b[whole:])
	}
}

// depthwisePlanes takes the kernels for strides of 1 and 2.
func depthwisePlanes(one, two func(*kernel.DepthwisePlanes)) func(*kernel.DepthwisePlanes) {
	return func(d *kernel.DepthwisePlanes) {
		f := one
		if d.Stride == 2 {
			f = two
		}
		if d.C == 0 || d.OH == 0 || d.OW == 0 || d.H == 0 {
			return
		}
		whole := *d
		n := max(1, workPerCall/(9*d.OH*d.OW))
		for c := 0; c < whole.C; c += n {
			d.C = min(n, whole.C-c)
			last := d.C - 1
			d.In = whole.In[c*d.LDI:][:last*d.LDI+(d.H-1)*d.LDR+d.W]
			d.Out = whole.Out[c*d.LDO:][:last*d.LDO+d.OH*d.OW]
			d.Weights = whole.Weights[9*c:][:9*d.C]
			if d.Bias != nil {
				d.Bias = whole.Bias[c:][:d.C]
			}
			f(d)
		}
		*d = whole
	}
}

// sparsePixelsI8 is the pixels that the sparse kernels over bytes take at once.
const sparsePixelsI8 = 16

// sparseI8 takes a kernel for whole multiples of sparsePixelsI8; the row that it
// replaces does what is left. Blocks are divided into calls of bounded work.
func sparseI8(height int, f func(s *kernel.SparseI8, lo, hi int), rest func(*kernel.SparseI8, kernel.Range)) func(*kernel.SparseI8, kernel.Range) {
	return func(s *kernel.SparseI8, blocks kernel.Range) {
		whole := *s
		s.Pixels = whole.Pixels / sparsePixelsI8 * sparsePixelsI8
		most := workPerCall / (height * max(1, s.Pixels))
		for lo := blocks.Lo; lo < blocks.Hi && s.Pixels > 0; {
			hi := lo + 1
			for hi < blocks.Hi && int(s.Start[hi+1]-s.Start[lo]) < most {
				hi++
			}
			f(s, lo, hi)
			lo = hi
		}
		if done := s.Pixels; done < whole.Pixels {
			s.Pixels = whole.Pixels - done
			s.X, s.Out = s.X[done:], s.Out[done:]
			rest(s, blocks)
		}
		*s = whole
	}
}

// gatherU8 and scatterU8 take kernels for blocks of bytes; the rows that they
// replace do what is left.
func gatherU8(rows, columns int, f func(dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint32), rest func(dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint8)) func(dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint8) {
	return func(dst []uint8, ldd int, src []uint8, at []int32, n int, flip uint8) {
		whole, wide := len(at)/rows*rows, n/columns*columns
		if whole > 0 && wide > 0 {
			f(dst, ldd, src, at[:whole], wide, uint32(flip)*0x01010101)
		}
		if wide < n && whole > 0 {
			rest(dst[wide*ldd:], ldd, src[wide:], at[:whole], n-wide, flip)
		}
		if whole < len(at) && n > 0 {
			rest(dst[whole:], ldd, src, at[whole:], n, flip)
		}
	}
}

func scatterU8(rows, columns int, f, rest func(dst []uint8, at []int32, src []uint8, lds, n int)) func(dst []uint8, at []int32, src []uint8, lds, n int) {
	return func(dst []uint8, at []int32, src []uint8, lds, n int) {
		whole, wide := len(at)/rows*rows, n/columns*columns
		if whole > 0 && wide > 0 {
			f(dst, at[:whole], src, lds, wide)
		}
		if wide < n && whole > 0 {
			rest(dst[wide:], at[:whole], src[wide*lds:], lds, n-wide)
		}
		if whole < len(at) && n > 0 {
			rest(dst, at[whole:], src[whole:], lds, n)
		}
	}
}

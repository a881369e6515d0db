package op

import "slices"

// grid lays an image out so that each tap of a window reads it at one constant
// shift, whatever the strides: output pixel q reads, for tap t, element
// q + shifts[t]. For this the padded plane is divided into phases, one for
// each remainder of a position by the strides, in which neighbours are read by
// neighbouring output pixels; all phases have the same extents, and q counts
// output pixels in rows of these. The columns at the end of a row that are no
// output pixel hold nothing of worth.
type grid struct {
	*window
	extents []int // of a phase
	phases  int
	shifts  []int // by tap
	columns int   // one more than the greatest q
	images  []run // where rows of the image lie: Out in the grid, In in the plane
	outputs []run // where rows of output pixels lie: Out in the grid, In among the pixels
}

func newGrid(w *window) *grid {
	rank := len(w.Kernel)
	g := &grid{window: w, extents: make([]int, rank)}
	for i := range rank {
		g.extents[i] = w.Out[i] + (w.Kernel[i]-1)*w.Dilation[i]/w.Stride[i]
	}
	phaseOf := map[int]int{}
	at, phase, shift := make([]int, rank), make([]int, rank), make([]int, rank)
	var used [][]int
	for t := range w.taps() {
		unravel(at, t, w.Kernel)
		for i, k := range at {
			phase[i], shift[i] = k*w.Dilation[i]%w.Stride[i], k*w.Dilation[i]/w.Stride[i]
		}
		key := ravel(phase, w.Stride)
		if _, ok := phaseOf[key]; !ok {
			phaseOf[key] = len(used)
			used = append(used, slices.Clone(phase))
		}
		g.shifts = append(g.shifts, phaseOf[key]*g.phaseLen()+ravel(shift, g.extents))
	}
	g.phases = len(used)
	g.placeOutputs()
	for i, phase := range used {
		g.placePhase(i*g.phaseLen(), phase)
	}
	return g
}

// ravel is the row-major index of a position.
func ravel(at, extents []int) int {
	i := 0
	for a, n := range extents {
		i = i*n + at[a]
	}
	return i
}

func (g *grid) phaseLen() int { return volume(g.extents) }

// len is the number of elements of a plane on the grid.
func (g *grid) len() int { return g.phases * g.phaseLen() }

// placeOutputs lists the rows of output pixels.
func (g *grid) placeOutputs() {
	last := len(g.Out) - 1
	at := make([]int, len(g.Out))
	for r := range volume(g.Out[:last]) {
		unravel(at[:last], r, g.Out[:last])
		from := ravel(at, g.extents)
		g.outputs = append(g.outputs, run{Out: from, In: r * g.Out[last], N: g.Out[last]})
		g.columns = from + g.Out[last]
	}
}

// placePhase lists where the phase that starts at element first of the grid
// has rows of the image.
func (g *grid) placePhase(first int, phase []int) {
	last := len(phase) - 1
	lo, hi := make([]int, last+1), make([]int, last+1)
	rows := 1
	for i, p := range phase {
		lo[i] = max(0, ceilDiv(g.Begin[i]-p, g.Stride[i]))
		hi[i] = min(g.extents[i], floorDiv(g.In[i]-1+g.Begin[i]-p, g.Stride[i])+1)
		if lo[i] >= hi[i] {
			return
		}
		if i < last {
			rows *= hi[i] - lo[i]
		}
	}
	counts := make([]int, last)
	for i := range counts {
		counts[i] = hi[i] - lo[i]
	}
	at := slices.Clone(lo)
	for r := range rows {
		unravel(at[:last], r, counts)
		in := 0
		for i := range at {
			if i < last {
				at[i] += lo[i]
			}
			in = in*g.In[i] + at[i]*g.Stride[i] + phase[i] - g.Begin[i]
		}
		g.images = append(g.images, run{Out: first + ravel(at, g.extents), In: in, N: hi[last] - lo[last]})
	}
}

// putOnGrid lays one plane of an image out on the grid; what is outside of it is
// zero.
func putOnGrid[T number](g *grid, dst, plane []T) {
	clear(dst)
	step := g.step()
	for _, r := range g.images {
		to := dst[r.Out : r.Out+r.N]
		if step == 1 {
			copy(to, plane[r.In:r.In+r.N])
			continue
		}
		from := plane[r.In:]
		for i := range to {
			to[i] = from[i*step]
		}
	}
}

// takeFromGrid is the inverse of putOnGrid. Pixels that no tap reads are zero.
func takeFromGrid[T number](g *grid, plane, src []T) {
	step := g.step()
	if !g.covers() {
		clear(plane)
	}
	for _, r := range g.images {
		from := src[r.Out : r.Out+r.N]
		if step == 1 {
			copy(plane[r.In:r.In+r.N], from)
			continue
		}
		to := plane[r.In:]
		for i, v := range from {
			to[i*step] = v
		}
	}
}

// covers reports whether every pixel of the image is somewhere on the grid.
func (g *grid) covers() bool {
	n := 0
	for _, r := range g.images {
		n += r.N
	}
	return n == g.plane()
}

// putPixels lays output pixels out on the grid, zero between the rows.
func putPixels[T number](g *grid, dst, pixels []T) {
	clear(dst)
	for _, r := range g.outputs {
		copy(dst[r.Out:r.Out+r.N], pixels[r.In:r.In+r.N])
	}
}

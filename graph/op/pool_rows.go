package op

import "slices"

// separable reports whether the pool can be computed rows first: see rowsFirst.
func (p *pooling) separable() bool {
	return len(p.In) == 2 && p.Begin[0] >= 0 && p.Begin[1] >= 0 && p.taps() > 1
}

// wholePlane reports whether there is one window, which is the whole plane.
func (p *pooling) wholePlane() bool {
	return p.pixels() == 1 && slices.Equal(p.Kernel, p.In) && max(p.Begin[0], p.Begin[1], p.End[0], p.End[1]) == 0
}

// rowsFirst reduces the windows of float32 planes by an operation that is the
// same in any order, whole rows at a time: first the rows of the input that a row
// of windows covers,
//
//	r[x] = x[top,x] op x[top+1,x] op …
//
// and then r with itself, moved by the columns of the window,
//
//	s[x] = r[x] op r[x+1] op …
//
// of which every window takes the element at its first column. Padding and
// windows without elements have the given value.
func (p *pooling) rowsFirst(e *Eval, y, x []float32, combine func(dst, a, b []float32), padding float32) {
	pixels, plane := p.pixels(), p.plane()
	wide := (p.Out[1]-1)*p.Stride[1] + 1 // from the first window's column to the last one's
	width := max(p.Begin[1]+p.In[1], wide-1+p.extent(1))
	e.Parallel(p.planes, max(1, 1<<17/max(1, pixels*p.taps())), func(lo, hi int) {
		row, sums := make([]float32, width), make([]float32, wide)
		fillWith(row, padding)
		for u := lo; u < hi; u++ {
			for o := range p.Out[0] {
				p.joinRows(row[p.Begin[1]:][:p.In[1]], x[u*plane:(u+1)*plane], o, combine, padding)
				copy(sums, row)
				for t := 1; t < p.Kernel[1]; t++ {
					combine(sums, sums, row[t*p.Dilation[1]:][:wide])
				}
				out := y[u*pixels+o*p.Out[1]:][:p.Out[1]]
				for i := range out {
					out[i] = sums[i*p.Stride[1]]
				}
			}
		}
	})
}

// joinRows combines the rows of a plane that row o of the windows covers.
func (p *pooling) joinRows(dst, plane []float32, o int, combine func(dst, a, b []float32), padding float32) {
	first := true
	for t := range p.Kernel[0] {
		at := o*p.Stride[0] + t*p.Dilation[0] - p.Begin[0]
		if at < 0 || at >= p.In[0] {
			continue
		}
		row := plane[at*p.In[1]:][:p.In[1]]
		if first {
			copy(dst, row)
		} else {
			combine(dst, dst, row)
		}
		first = false
	}
	if first {
		fillWith(dst, padding)
	}
}

package op

// convolveBatch convolves each image of a batch on a grid (see there): the
// columns of the product are the grid's, each tap a copy of the image at its
// shift. Where images are many, each is one task.
func convolveBatch[T number](e *Eval, c *convolution, x, weight, bias, y []T) {
	g := newGrid(c.window)
	e.Parallel(c.Batch*c.Group, max(1, 1<<17/max(1, c.depth()*c.pixels())), func(lo, hi int) {
		w := newBatchWorker[T](e, c, g)
		in, out := c.perGroup()
		plane, pixels := c.plane(), c.pixels()
		for i := lo; i < hi; i++ {
			n, group := i/c.Group, i%c.Group
			w.image(x[(n*c.Channels+group*in)*plane:][:in*plane], weight[group*out*c.depth():][:out*c.depth()])
			for m := range out {
				f := group*out + m
				w.take(y[(n*c.Filters+f)*pixels:][:pixels], m)
				if b := valueOr(bias, f); b != 0 {
					addTo(y[(n*c.Filters+f)*pixels:][:pixels], b)
				}
			}
		}
	})
}

// batchWorker convolves one image at a time with buffers of its own.
type batchWorker[T number] struct {
	*convolution
	e             *Eval
	grid          *grid
	width, cols   int
	placed        []T // channels of the image on the grid
	packed        []T
	product       []T // [filter][column]
	columnsPadded int
}

func newBatchWorker[T number](e *Eval, c *convolution, g *grid) *batchWorker[T] {
	in, out := c.perGroup()
	width := panelWidth[T](e.kernels())
	w := &batchWorker[T]{convolution: c, e: e, grid: g, width: width}
	w.cols = tileColumns(width, c.depth(), g.columns)
	w.columnsPadded = ceilDiv(g.columns, width) * width
	w.placed = make([]T, in*g.len()+width)
	w.packed = make([]T, packedLen(width, c.depth(), w.cols))
	w.product = make([]T, out*w.columnsPadded)
	return w
}

// image sets product to the convolution of the channels of one group.
func (w *batchWorker[T]) image(x, weight []T) {
	in, out := w.perGroup()
	plane, length, depth, taps := w.plane(), w.grid.len(), w.depth(), w.taps()
	for c := range in {
		putOnGrid(w.grid, w.placed[c*length:][:length], x[c*plane:][:plane])
	}
	p := panelProduct[T]{M: out, K: depth, A: weight, LDA: depth, B: w.packed, LDC: w.columnsPadded}
	for from := 0; from < w.grid.columns; from += w.cols {
		p.N = min(w.cols, w.grid.columns-from)
		for j := 0; j < p.N; j += w.width {
			panel := w.packed[j*depth:][:depth*w.width]
			for c := range in {
				src := w.placed[c*length+from+j:]
				for t, s := range w.grid.shifts {
					copy(panel[(c*taps+t)*w.width:][:w.width], src[s:])
				}
			}
		}
		p.C = w.product[from:]
		p.compute(w.e.kernels(), 0, out)
	}
}

// take copies the output pixels of filter m from the grid.
func (w *batchWorker[T]) take(pixels []T, m int) {
	src := w.product[m*w.columnsPadded:]
	for _, r := range w.grid.outputs {
		copy(pixels[r.In:r.In+r.N], src[r.Out:r.Out+r.N])
	}
}

package op

// convGradWeight sets dw[m,c,t] to the sum over images n and output pixels q
// of dy[n,m,q] * x[n,c,q+shift(t)], with x on a grid (see there): a product of
// as many rows as there are channels and taps, whose depth are the pixels of
// some images at a time.
//
// Images are divided into parts by their number alone, each part gives a sum
// of its own, and these are added in order: the result does not depend on how
// many threads there are.
func convGradWeight[T real](e *Eval, c *convolution, dy, x, dw []T) {
	if c.Batch == 0 || c.pixels() == 0 || len(dw) == 0 {
		clear(dw)
		return
	}
	g := newGrid(c.window)
	parts := gradParts(c, len(dw))
	sums := [][]T{dw}
	for range parts - 1 {
		sum := borrow[T](len(dw))
		defer giveBack(sum)
		sums = append(sums, *sum)
	}
	per := ceilDiv(c.Batch, parts)
	e.Parallel(c.Group*parts, 1, func(lo, hi int) {
		w := newWeightGrad(e, c, g, dy, x, min(per, c.Batch))
		defer w.release()
		for i := lo; i < hi; i++ {
			part, group := i/c.Group, i%c.Group
			w.group(sums[part], group, part*per, min((part+1)*per, c.Batch))
		}
	})
	for _, s := range sums[1:] {
		for i, v := range s {
			dw[i] += v
		}
	}
}

// gradParts is in how many parts of the batch weight gradients are summed:
// enough for a few threads, but none for itself where the weight is larger
// than the images that make up its gradient.
func gradParts(c *convolution, weights int) int {
	const most = 8
	return max(1, min(most, c.Batch, 1<<22/max(1, weights)))
}

// weightGrad computes the weight gradient of a group over some images. Its
// buffers are [channel][phase][image][pixel] for x, and [filter][image][pixel]
// for dy, which is zero between the rows of output pixels.
type weightGrad[T real] struct {
	*convolution
	e           *Eval
	grid        *grid
	dy, x       []T
	block       int // images at a time
	image, grad []T
	scratch     []T // a plane on the grid
	packed      []T
	sum         []T // [channel][tap][filter]
	rows        []int32
	borrowed    []*[]T
}

// buffer borrows n elements until release.
func (w *weightGrad[T]) buffer(n int) []T {
	b := borrow[T](n)
	w.borrowed = append(w.borrowed, b)
	return *b
}

func (w *weightGrad[T]) release() {
	for _, b := range w.borrowed {
		giveBack(b)
	}
}

func newWeightGrad[T real](e *Eval, c *convolution, g *grid, dy, x []T, images int) *weightGrad[T] {
	const elements = 1 << 15
	in, out := c.perGroup()
	w := &weightGrad[T]{convolution: c, e: e, grid: g, dy: dy, x: x}
	w.block = min(images, max(1, elements/max(1, g.len()*max(in, out))))
	w.image = w.buffer(in * g.len() * w.block)
	w.grad = w.buffer(out * g.phaseLen() * w.block)
	w.packed = w.buffer(packedLen(panelWidth[T](e.kernels()), g.phaseLen()*w.block, out))
	w.sum = w.buffer(in * c.taps() * out)
	w.scratch = w.buffer(g.len())
	w.rows = make([]int32, in*c.taps())
	return w
}

// group sets the gradient by the weights of a group, over images [from, to).
func (w *weightGrad[T]) group(dw []T, group, from, to int) {
	_, out := w.perGroup()
	depth := w.depth()
	clear(w.sum)
	for ; from < to; from += w.block {
		w.images(group, from, min(from+w.block, to))
	}
	dst := dw[group*out*depth:][:out*depth]
	copy(dst, matrix[T]{w.sum, 1, out}.rows(w.e.kernels(), out, depth).Data)
}

// images adds to sum what images [from, to) contribute.
func (w *weightGrad[T]) images(group, from, to int) {
	in, out := w.perGroup()
	n, k := to-from, w.e.kernels()
	w.place(group, from, n)
	length := (n-1)*w.grid.phaseLen() + w.grid.columns
	if out == 1 {
		w.dots(n, length)
		return
	}
	packTransposed(k, w.packed, w.grad, length, out, n*w.grid.phaseLen())
	p := panelProduct[T]{M: in * w.taps(), N: out, K: length, A: w.image, Rows: w.rows, B: w.packed, C: w.sum, LDC: out, Add: true}
	p.compute(k, 0, p.M)
}

// place lays n images, and the gradients by their results, out on the grid.
func (w *weightGrad[T]) place(group, from, n int) {
	in, out := w.perGroup()
	phase, plane, pixels := w.grid.phaseLen(), w.plane(), w.pixels()
	scratch := w.scratch
	for c := range in {
		for i := range n {
			src := w.x[((from+i)*w.Channels+group*in+c)*plane:][:plane]
			if w.grid.phases == 1 {
				putOnGrid(w.grid, w.image[(c*n+i)*phase:][:phase], src)
				continue
			}
			putOnGrid(w.grid, scratch, src)
			for f := range w.grid.phases {
				copy(w.image[((c*w.grid.phases+f)*n+i)*phase:][:phase], scratch[f*phase:])
			}
		}
		for t, s := range w.grid.shifts {
			w.rows[c*w.taps()+t] = int32((c*w.grid.phases+s/phase)*n*phase + s%phase)
		}
	}
	for m := range out {
		for i := range n {
			src := w.dy[((from+i)*w.Filters+group*out+m)*pixels:][:pixels]
			putPixels(w.grid, w.grad[(m*n+i)*phase:][:phase], src)
		}
	}
}

// dots is the product for a single filter.
func (w *weightGrad[T]) dots(n, length int) {
	grad := w.grad[:length]
	for r, at := range w.rows {
		w.sum[r] += rowDot(w.e.kernels(), w.image[at:][:length], grad)
	}
}

// convGradInput sets dx[n,c,r] to the sum over filters m and taps t of
// w[m,c,t] * dy[n,m,r-shift(t)], with dx on a grid (see there): for each phase
// of the grid a product with as many columns as it has pixels, and the filters
// and those taps that read the phase for its depth.
func convGradInput[T real](e *Eval, c *convolution, dy, weight, dx []T) {
	if c.pixels() == 0 {
		clear(dx)
		return
	}
	if back := transposedOf(c); c.unitStride() && back.padded() && c.Channels != c.Group {
		convolve(e, back, dy, reversedWeights(c, weight), nil, dx)
		return
	}
	g := newGrid(c.window)
	in, _ := c.perGroup()
	u := newInputGrad(e, c, g, weight)
	e.Parallel(c.Batch*c.Group, max(1, 1<<17/max(1, c.depth()*c.pixels())), func(lo, hi int) {
		w := u.worker()
		plane := c.plane()
		for i := lo; i < hi; i++ {
			n, group := i/c.Group, i%c.Group
			w.image(dx[(n*c.Channels+group*in)*plane:][:in*plane], dy, n, group)
		}
	})
}

// inputGrad computes the gradient by images. Weights are [group][phase]
// [channel][filter][tap of the phase].
type inputGrad[T real] struct {
	*convolution
	e       *Eval
	grid    *grid
	taps    [][]int // that read a phase
	weights [][][]T
	lead    int // zeros in front of the gradient of one filter: the greatest shift
	stride  int // from one filter's gradient to the next

	grad, packed, result []T
}

func newInputGrad[T real](e *Eval, c *convolution, g *grid, weight []T) *inputGrad[T] {
	u := &inputGrad[T]{convolution: c, e: e, grid: g, taps: make([][]int, g.phases)}
	for t, s := range g.shifts {
		f := s / g.phaseLen()
		u.taps[f] = append(u.taps[f], t)
		u.lead = max(u.lead, s%g.phaseLen())
	}
	u.stride = u.lead + g.phaseLen() + panelWidth[T](e.kernels())
	in, out := c.perGroup()
	all := c.window.taps()
	for group := range c.Group {
		var phases [][]T
		for _, taps := range u.taps {
			a := make([]T, 0, in*out*len(taps))
			for ch := range in {
				for m := range out {
					for _, t := range taps {
						a = append(a, weight[((group*out+m)*in+ch)*all+t])
					}
				}
			}
			phases = append(phases, a)
		}
		u.weights = append(u.weights, phases)
	}
	return u
}

// worker returns a copy of u with buffers of its own.
func (u *inputGrad[T]) worker() *inputGrad[T] {
	w := *u
	in, out := u.perGroup()
	w.grad = make([]T, out*u.stride)
	w.result = make([]T, in*u.grid.len())
	width, room := panelWidth[T](u.e.kernels()), 0
	for _, taps := range u.taps {
		depth := out * len(taps)
		room = max(room, packedLen(width, depth, tileColumns(width, depth, u.grid.phaseLen())))
	}
	w.packed = make([]T, room)
	return &w
}

// image computes the gradient by a group of channels of one image.
func (u *inputGrad[T]) image(dx, dy []T, n, group int) {
	in, out := u.perGroup()
	pixels, plane := u.pixels(), u.plane()
	for m := range out {
		src := dy[(n*u.Filters+group*out+m)*pixels:][:pixels]
		row := u.grad[m*u.stride:][:u.stride]
		clear(row[:u.lead])
		clear(row[u.lead+u.grid.phaseLen():])
		putPixels(u.grid, row[u.lead:][:u.grid.phaseLen()], src)
	}
	for f := range u.grid.phases {
		if in == 1 && out == 1 {
			u.depthwise(f, group)
		} else {
			u.phase(f, group)
		}
	}
	for c := range in {
		takeFromGrid(u.grid, dx[c*plane:][:plane], u.result[c*u.grid.len():][:u.grid.len()])
	}
}

// phase computes one phase of the grid, some columns at a time.
func (u *inputGrad[T]) phase(f, group int) {
	in, out := u.perGroup()
	k := u.e.kernels()
	width, length, taps := panelWidth[T](k), u.grid.phaseLen(), u.taps[f]
	depth := out * len(taps)
	cols := tileColumns(width, depth, length)
	p := panelProduct[T]{M: in, K: depth, A: u.weights[group][f], LDA: depth, B: u.packed, LDC: u.grid.len()}
	for from := 0; from < length; from += cols {
		p.N = min(cols, length-from)
		for j := 0; j < p.N; j += width {
			panel := u.packed[j*depth:][:depth*width]
			for m := range out {
				for i, t := range taps {
					at := m*u.stride + u.lead + from + j - u.grid.shifts[t]%length
					copy(panel[(m*len(taps)+i)*width:][:width], u.grad[at:])
				}
			}
		}
		p.C = u.result[f*length+from:]
		p.compute(k, 0, in)
	}
}

// depthwise computes one phase of a group of one channel and one filter.
func (u *inputGrad[T]) depthwise(f, group int) {
	length := u.grid.phaseLen()
	dst := u.result[f*length:][:length]
	clear(dst)
	for i, t := range u.taps[f] {
		at := u.lead - u.grid.shifts[t]%length
		axpy(u.e.kernels(), dst, u.grad[at:][:length], u.weights[group][f][i])
	}
}

package op

import "github.com/onnxpack/onnxpack/graph"

// Ties between the axes of convolutions, pooling, normalizations and
// resampling: what has a channel axis at 1 and space behind it.

const (
	overSpace  = "a window runs over it"
	normalized = "its elements are normalized together"
)

// channelsOnly ties batches and channels of input 0 to those of every result;
// the axes behind them are fixed.
func channelsOnly(a *Axes) {
	for axis := range a.Dims(0) {
		if axis > 1 {
			a.Fix(In(0, axis), overSpace)
			continue
		}
		for i := range a.Out {
			if a.Wants(i) {
				a.Equal(In(0, axis), Out(i, axis))
			}
		}
	}
	for i := range a.Out {
		for axis := range a.OutDims(i) {
			if axis > 1 {
				a.Fix(Out(i, axis), overSpace)
			}
		}
	}
}

func maxPoolAxes(a *Axes) {
	if a.Wants(1) {
		a.FixAll("places of maxima are counted over all channels")
		return
	}
	channelsOnly(a)
}

// convAxes returns the rule of a convolution with its weight [O, C/groups, …]
// and bias at the given inputs, and what else has an element for each output
// channel.
func convAxes(weight, bias int, perOutput ...int) func(*Axes) {
	return func(a *Axes) {
		w := a.Dims(weight)
		if len(w) < 3 || len(a.Dims(0)) != len(w) {
			a.FixAll("the shape of the weight is not known")
			return
		}
		a.Equal(In(0, 0), Out(0, 0))
		a.Equal(In(weight, 0), Out(0, 1))
		for _, slot := range append(perOutput, bias) {
			a.perChannel(slot, Out(0, 1))
		}
		a.fixWindow(weight)
		groups := int(a.Node.Int("group", 1))
		if groups == 1 {
			a.Equal(In(weight, 1), In(0, 1))
			return
		}
		g := a.Space("group", groups)
		a.grouped(g, groups, In(0, 1), In(weight, 1), w[1])
		a.grouped(g, groups, In(weight, 0), Side{}, w[0].FloorDiv(graph.Known(groups)))
	}
}

// perChannel ties the only axis of input slot, if it has one of more than one
// element, to a side.
func (a *Axes) perChannel(slot int, s Side) {
	if d := a.Dims(slot); len(d) == 1 && !d[0].Same(graph.Known(1)) {
		a.Equal(In(slot, 0), s)
	}
}

// grouped ties the channels of all groups to the space of groups, and to the
// axis that holds the channels of one group; the zero Side stands for no such
// axis, so that a space takes its place.
func (a *Axes) grouped(g Side, groups int, all, one Side, each graph.Dim) {
	n, ok := each.Number()
	switch {
	case !ok || n == 0:
		a.Fix(all, "the number of channels in a group is not known")
	case n == 1:
		a.Equal(g, all)
	default:
		if one == (Side{}) {
			one = a.Space("", n)
		}
		a.Within(g, all, 1, n, 0)
		a.Within(one, all, groups, 1, 0)
	}
}

// fixWindow fixes the axes of space of the input, the weight and the result.
func (a *Axes) fixWindow(weight int) {
	for axis := 2; axis < len(a.Dims(weight)); axis++ {
		a.Fix(In(0, axis), overSpace)
		a.Fix(In(weight, axis), "it is the window")
		a.Fix(Out(0, axis), overSpace)
	}
}

// convTransposeAxes is convAxes for a weight [C, O/groups, …].
func convTransposeAxes(a *Axes) {
	w := a.Dims(1)
	if len(w) < 3 || len(a.Dims(0)) != len(w) {
		a.FixAll("the shape of the weight is not known")
		return
	}
	a.Equal(In(0, 0), Out(0, 0))
	a.Equal(In(1, 0), In(0, 1))
	a.perChannel(2, Out(0, 1))
	a.fixWindow(1)
	groups := int(a.Node.Int("group", 1))
	if groups == 1 {
		a.Equal(In(1, 1), Out(0, 1))
		return
	}
	g := a.Space("group", groups)
	a.grouped(g, groups, In(1, 0), Side{}, w[0].FloorDiv(graph.Known(groups)))
	a.grouped(g, groups, Out(0, 1), In(1, 1), w[1])
}

// nhwcConvAxes is convAxes with the channels of image and result last.
func nhwcConvAxes(a *Axes) {
	w, n := a.Dims(1), len(a.Dims(0))
	if len(w) != n || n < 3 || a.Node.Int("group", 1) != 1 {
		a.FixAll("it has groups, or its shape is not known")
		return
	}
	last := n - 1
	a.Equal(In(0, 0), Out(0, 0))
	a.Equal(In(1, 0), Out(0, last))
	a.Equal(In(0, last), In(1, last))
	a.perChannel(2, Out(0, last))
	for axis := 1; axis < last; axis++ {
		a.Fix(In(0, axis), overSpace)
		a.Fix(In(1, axis), "it is the window")
		a.Fix(Out(0, axis), overSpace)
	}
}

// batchNormAxes ties all axes of the image, and every parameter to its
// channels.
func batchNormAxes(a *Axes) {
	a.EqualAxes(0, 0)
	channel := 1
	if len(a.Dims(0)) < 2 {
		channel = 0
	}
	for slot := 1; slot < 5; slot++ {
		a.perChannel(slot, Out(0, channel))
	}
	for i := 1; i < len(a.Out); i++ {
		if a.Wants(i) {
			a.Equal(Out(i, 0), Out(0, channel))
		}
	}
}

func instanceNormAxes(a *Axes) {
	channelsOnly(a)
	a.perChannel(1, Out(0, 1))
	a.perChannel(2, Out(0, 1))
}

// groupNormAxes cuts whole groups.
func groupNormAxes(a *Axes) {
	x := a.Dims(0)
	groups := int(a.Node.Int("num_groups", 0))
	if len(x) < 2 || !x[1].IsKnown() || groups < 1 || x[1].Size%groups != 0 {
		a.FixAll("the number of channels is not known")
		return
	}
	channelsOnly(a)
	g := a.Space("num_groups", groups)
	a.Within(g, In(0, 1), 1, x[1].Size/groups, 0)
	per := In(0, 1)
	if a.Version < 21 {
		per = g
	}
	a.perChannel(1, per)
	a.perChannel(2, per)
}

// rowNormAxes is the rule of a normalization of rows that run from an axis to
// the last: they stay whole, or mean and variance are those of what is left.
// params are the inputs that hold an element for each place in a row, summands
// those that are added to input 0 before.
func rowNormAxes(first func(a *Axes, rank int) []int, params []int, summands ...int) func(*Axes) {
	return func(a *Axes) {
		rank := a.rankIn(0)
		from := first(a, rank)
		if rank < 1 || from == nil {
			a.FixAll("the shape is not known")
			return
		}
		for i := range a.Out {
			if a.rankOut(i) == rank {
				a.tieRows(i, from[0])
			}
		}
		for _, slot := range summands {
			if a.rankIn(slot) == rank {
				a.tieBroadcast(slot, rank, 0, 0)
			}
		}
		for _, slot := range params {
			r := a.rankIn(slot)
			if r > 0 && r <= rank {
				a.tieBroadcast(slot, r, rank-r, 0)
			}
		}
		for axis := from[0]; axis < rank; axis++ {
			a.Average(In(0, axis), normalized)
		}
	}
}

// tieRows ties the axes of input 0 to those of a result of the same rank, as
// far as it has more than a mean for a row that starts at the given axis.
func (a *Axes) tieRows(out, from int) {
	for axis := range a.Dims(0) {
		if axis < from || a.OutDims(out)[axis].Same(a.Dims(0)[axis]) {
			a.Equal(In(0, axis), Out(out, axis))
		}
	}
}

func channelAxis(_ *Axes, rank int) []int { return axisOf(1, rank) }

func noAxis(*Axes, int) []int { return []int{} }

func lastAxis(_ *Axes, rank int) []int { return axisOf(-1, rank) }

// embedNormAxes is the rule of EmbedLayerNormalization: embeddings of words,
// positions and segments are summed and normalized.
func embedNormAxes(a *Axes) {
	if a.rankIn(2) != 2 || a.rankOut(0) != 3 {
		a.FixAll("the shape is not known")
		return
	}
	width := Out(0, 2)
	for axis := range 2 {
		a.Fix(In(0, axis), "positions and segments are counted along it")
		a.Fix(Out(0, axis), "positions and segments are counted along it")
	}
	for slot := 2; slot < 5; slot++ {
		if a.rankIn(slot) == 2 {
			a.Equal(In(slot, 1), width)
			a.Fix(In(slot, 0), "it is chosen from by index")
		}
	}
	a.perChannel(5, width)
	a.perChannel(6, width)
	if a.rankOut(2) == 3 {
		a.Equal(Out(2, 2), width)
	}
	a.Average(width, normalized)
}

func meanVarianceOver(a *Axes, rank int) []int {
	over, err := meanVarianceAxes(&a.Call, rank)
	if err != nil {
		return nil
	}
	return over
}

// resizeAxes ties the axes that keep their size.
func resizeAxes(a *Axes) {
	x, y := a.Dims(0), a.OutDims(0)
	if len(x) != len(y) {
		a.FixAll("the shape is not known")
		return
	}
	for axis := range x {
		if x[axis].Same(y[axis]) {
			a.Equal(In(0, axis), Out(0, axis))
			continue
		}
		a.Fix(In(0, axis), "it is resampled")
		a.Fix(Out(0, axis), "it is resampled")
	}
}

// sampleAxes ties the channels of an image that is sampled at other places.
func sampleAxes(a *Axes) {
	if len(a.Dims(0)) < 3 {
		a.FixAll("the shape is not known")
		return
	}
	a.Equal(In(0, 1), Out(0, 1))
}

func cropAxes(a *Axes) {
	for axis := range a.Dims(0) {
		if axis < 2 {
			a.Equal(In(0, axis), Out(0, axis))
			continue
		}
		a.Fix(In(0, axis), "it is cropped")
		a.Fix(Out(0, axis), "it is cropped")
	}
}

func imageScalerAxes(a *Axes) {
	a.EqualAxes(0, 0, 1)
	a.Fix(In(0, 1), "its biases are an attribute")
	a.Fix(Out(0, 1), "its biases are an attribute")
}

// preluAxes is elementwise, but for the slopes of early versions, which are
// of channels.
func preluAxes(a *Axes) {
	if a.Version < 7 && len(a.Dims(1)) == 1 && len(a.Dims(0)) > 1 {
		a.EqualAxes(0, 0)
		a.perChannel(1, Out(0, 1))
		return
	}
	axesElementwise(a)
}

// quantizeAxes ties the axes of what is quantized, or was, with its scales
// and zero points.
func quantizeAxes(a *Axes) {
	a.EqualAxes(0, 0)
	x := a.Dims(0)
	at := axisOf(a.Node.Int("axis", 1), len(x))
	for slot := 1; slot <= 2; slot++ {
		switch s := a.Dims(slot); {
		case len(s) == 1 && at != nil && s[0].Same(x[at[0]]):
			a.Equal(In(slot, 0), Out(0, at[0]))
		case len(s) > 1:
			a.quantizeBlocks(slot, at)
		}
	}
}

// quantizeBlocks ties scales in blocks along an axis, which is fixed.
func (a *Axes) quantizeBlocks(slot int, at []int) {
	for axis := range a.Dims(slot) {
		if at != nil && axis == at[0] {
			a.Fix(Out(0, axis), "its scales are of blocks")
			continue
		}
		a.Equal(In(slot, axis), Out(0, axis))
	}
}

package kernel

// Winograd's F(4x4, 3x3) computes 4x4 outputs of a 3x3 convolution of stride 1
// from 6x6 inputs d and the weights g with 36 products instead of 144:
//
//	Y = At [ (G g Gt) .* (Bt d B) ] A
//
// Summed over input channels the products are 36 matrix products, one for each
// element e of the 6x6 tile: [tiles, Cin] by [Cin, Cout]. (Lavin and Gray,
// Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308.)
const (
	// WinogradIn and WinogradOut are the sides of the input and output tiles.
	WinogradIn, WinogradOut = 6, 4
	// WinogradElems is the number of elements of a transformed tile.
	WinogradElems = WinogradIn * WinogradIn
)

// WinogradInput transforms the 6x6 pixels of one tile, channel by channel:
// Out[e*Step+c] for e = 6*row+column is element e of Bt d B, where d is
// In[row*RowStep+column*PixelStep+c].
type WinogradInput struct {
	In, Out                  []float32
	RowStep, PixelStep, Step int
	C                        int
}

// WinogradOutput transforms the sums of one tile back, channel by channel, from
// In[e*Step+c] to the upper left H x W of its 4x4 pixels:
//
//	v = (At m A)[y,x] + Bias[c]
//	v = v + Res[y*ResRowStep+x*ResPixelStep+c] if Res != nil
//	Out[y*RowStep+x*PixelStep+c] = min(max(v, Lo), Hi)
//
// Bias may be nil.
type WinogradOutput struct {
	In, Out, Bias, Res       []float32
	RowStep, PixelStep, Step int
	ResRowStep, ResPixelStep int
	C, H, W                  int
	Lo, Hi                   float32
}

// WinogradWeights transforms one 3x3 filter g, row-major, to the 36 elements
// of G g Gt.
func WinogradWeights(g [9]float32) (u [WinogradElems]float32) {
	var half [WinogradIn][3]float64 // G g
	for c := range 3 {
		half[0][c], half[1][c], half[2][c], half[3][c], half[4][c], half[5][c] =
			weightTransform(float64(g[c]), float64(g[3+c]), float64(g[6+c]))
	}
	for r := range half {
		a, b, c, d, e, f := weightTransform(half[r][0], half[r][1], half[r][2])
		row := u[WinogradIn*r:][:WinogradIn]
		row[0], row[1], row[2] = float32(a), float32(b), float32(c)
		row[3], row[4], row[5] = float32(d), float32(e), float32(f)
	}
	return u
}

// weightTransform is G times a column of 3.
func weightTransform(a, b, c float64) (_, _, _, _, _, _ float64) {
	ends, far := a+c, a+4*c
	return a * (1. / 4), (ends + b) * (-1. / 6), (ends - b) * (-1. / 6),
		(far + 2*b) * (1. / 24), (far - 2*b) * (1. / 24), c
}

// inputTransform is Bt times a column of 6.
func inputTransform(d [6]float32) [6]float32 {
	return [6]float32{
		4*d[0] - 5*d[2] + d[4],
		(d[4] - 4*d[2]) + (d[3] - 4*d[1]),
		(d[4] - 4*d[2]) - (d[3] - 4*d[1]),
		(d[4] - d[2]) + 2*(d[3]-d[1]),
		(d[4] - d[2]) - 2*(d[3]-d[1]),
		4*d[1] - 5*d[3] + d[5],
	}
}

// outputTransform is At times a column of 6.
func outputTransform(m [6]float32) [4]float32 {
	return [4]float32{
		m[0] + (m[1] + m[2]) + (m[3] + m[4]),
		(m[1] - m[2]) + 2*(m[3]-m[4]),
		(m[1] + m[2]) + 4*(m[3]+m[4]),
		(m[1] - m[2]) + 8*(m[3]-m[4]) + m[5],
	}
}

func winogradInput(w *WinogradInput) {
	for c := range w.C {
		var half [6][6]float32
		for column := range 6 {
			var d [6]float32
			for row := range d {
				d[row] = w.In[row*w.RowStep+column*w.PixelStep+c]
			}
			for row, v := range inputTransform(d) {
				half[row][column] = v
			}
		}
		for row := range 6 {
			for column, v := range inputTransform(half[row]) {
				w.Out[(6*row+column)*w.Step+c] = v
			}
		}
	}
}

func winogradOutput(w *WinogradOutput) {
	for c := range w.C {
		var half [4][6]float32
		for column := range 6 {
			var m [6]float32
			for row := range m {
				m[row] = w.In[(6*row+column)*w.Step+c]
			}
			for row, v := range outputTransform(m) {
				half[row][column] = v
			}
		}
		for y := range w.H {
			pixels := outputTransform(half[y])
			for x := range w.W {
				w.finish(y, x, c, pixels[x])
			}
		}
	}
}

func (w *WinogradOutput) finish(y, x, c int, v float32) {
	if w.Bias != nil {
		v += w.Bias[c]
	}
	if w.Res != nil {
		v += w.Res[y*w.ResRowStep+x*w.ResPixelStep+c]
	}
	w.Out[y*w.RowStep+x*w.PixelStep+c] = clamp(v, w.Lo, w.Hi)
}

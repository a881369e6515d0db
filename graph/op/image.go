package op

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // the formats that decodeImage reads
	_ "image/png"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// imageDefs holds image operators.
var imageDefs = []*Def{
	{
		Name: "Resize", Since: 10,
		Axes:  resizeAxes,
		Infer: inferResize,
		Eval:  evalResize,
		Quant: &Quant{Class: QuantPass, Weight: -1, Bias: -1},
		Cost:  perElement(4),
	},
	{
		Name: "Upsample", Since: 1, Until: 9,
		Axes:  resizeAxes,
		Infer: inferResize,
		Eval:  evalResize,
		Quant: &Quant{Class: QuantPass, Weight: -1, Bias: -1},
		Cost:  perElement(4),
	},
	{
		Name: "GridSample", Since: 16,
		Axes:  sampleAxes,
		Infer: inferGridSample,
		Eval:  evalReal(0, evalGridSample[float32], evalGridSample[float64]),
		Cost:  perElement(16),
	},
	{
		Name: "AffineGrid", Since: 20,
		Infer: inferAffineGrid,
		Eval:  evalReal(0, evalAffineGrid[float32], evalAffineGrid[float64]),
		Cost:  perElement(6),
	},
	{
		Name: "ImageDecoder", Since: 20,
		Infer: inferImageDecoder,
		Eval:  evalImageDecoder,
		Cost:  (*Infer).traffic,
	},
	{
		Name: "NonMaxSuppression", Since: 10,
		Infer: inferNonMaxSuppression,
		Eval:  evalNonMaxSuppression,
		Cost:  (*Infer).traffic,
	},
	{
		Name: "Crop", Since: 1,
		Axes:  cropAxes, // experimental
		Infer: inferCrop,
		Eval:  evalCrop,
		Cost:  (*Infer).traffic,
	},
	{
		Name: "ImageScaler", Since: 1,
		Axes:  imageScalerAxes, // experimental
		Infer: inferSame,
		Eval:  evalReal(0, evalImageScaler[float32], evalImageScaler[float64]),
		Cost:  perElement(2),
	},
}

func inferImageDecoder(c *Infer) error {
	channels := 3
	if c.Node.Str("pixel_format", "RGB") == "Grayscale" {
		channels = 1
	}
	c.SetOut(0, tensor.Uint8, graph.Dims{graph.Unknown(), graph.Unknown(), graph.Known(channels)})
	return nil
}

// maxPixels bounds the images that ImageDecoder takes.
const maxPixels = 1 << 28

// evalImageDecoder computes ImageDecoder: the bytes of an image file become
// [height, width, channels].
func evalImageDecoder(e *Eval) error {
	data := e.Tensor(0).Bytes()
	img, err := decodeImage(data)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	put, channels, err := pixelFormat(e.Node.Str("pixel_format", "RGB"))
	if err != nil {
		return err
	}
	b := img.Bounds()
	y := e.New(tensor.Uint8, tensor.Shape{b.Dy(), b.Dx(), channels})
	out := tensor.Data[uint8](y)
	for row := range b.Dy() {
		for col := range b.Dx() {
			put(out[:channels], color.NRGBAModel.Convert(img.At(b.Min.X+col, b.Min.Y+row)).(color.NRGBA))
			out = out[channels:]
		}
	}
	e.SetOut(0, y)
	return nil
}

// decodeImage reads a BMP, JPEG, PNG, TIFF, WebP or PNM file.
func decodeImage(data []byte) (image.Image, error) {
	if isPNM(data) {
		return decodePNM(data, maxPixels)
	}
	head, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not an image of a known format: %w", err)
	}
	if head.Width > maxPixels/max(1, head.Height) {
		return nil, fmt.Errorf("image of %dx%d pixels, want at most %d", head.Width, head.Height, maxPixels)
	}
	img, format, err := image.Decode(bytes.NewReader(data))
	if m, ok := img.(*image.YCbCr); ok && format == "jpeg" {
		return jpegColors(m), err
	}
	return img, err
}

// pixelFormat returns how a pixel is stored, and in how many bytes.
func pixelFormat(name string) (put func(dst []uint8, c color.NRGBA), channels int, err error) {
	switch name {
	case "RGB":
		return func(dst []uint8, c color.NRGBA) { dst[0], dst[1], dst[2] = c.R, c.G, c.B }, 3, nil
	case "BGR":
		return func(dst []uint8, c color.NRGBA) { dst[0], dst[1], dst[2] = c.B, c.G, c.R }, 3, nil
	case "Grayscale":
		return func(dst []uint8, c color.NRGBA) { dst[0] = luma(c) }, 1, nil
	}
	return nil, 0, fmt.Errorf("attribute pixel_format is %q, want RGB, BGR or Grayscale", name)
}

// luma is the brightness of a color under ITU-R BT.601.
func luma(c color.NRGBA) uint8 {
	return uint8((19595*uint32(c.R) + 38470*uint32(c.G) + 7471*uint32(c.B) + 1<<15) >> 16)
}

func inferNonMaxSuppression(c *Infer) error {
	c.SetOut(0, tensor.Int64, graph.Dims{graph.Unknown(), graph.Known(3)})
	return nil
}

// rectangle has its corners in order.
type rectangle struct{ y1, x1, y2, x2 float32 }

func newBox(v []float32, centered bool) rectangle {
	if centered {
		w, h := v[2]/2, v[3]/2
		return rectangle{v[1] - h, v[0] - w, v[1] + h, v[0] + w}
	}
	return rectangle{min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])}
}

func (b rectangle) area() float32 { return (b.y2 - b.y1) * (b.x2 - b.x1) }

// overlaps reports whether intersection over union exceeds a threshold.
func (b rectangle) overlaps(c rectangle, threshold float32) bool {
	h := min(b.y2, c.y2) - max(b.y1, c.y1)
	w := min(b.x2, c.x2) - max(b.x1, c.x1)
	if h <= 0 || w <= 0 || b.area() <= 0 || c.area() <= 0 {
		return false
	}
	both := h * w
	return both/(b.area()+c.area()-both) > threshold
}

// suppression holds the arguments of a NonMaxSuppression.
type suppression struct {
	most      int // boxes to keep for each class
	iou       float32
	score     float32
	scored    bool // score is given
	boxes     []rectangle
	numBoxes  int
	batch     int
	classes   int
	scores    []float32
	selection []int64
}

func newSuppression(e *Eval) (*suppression, error) {
	bs, ss := e.Tensor(0).Shape(), e.Tensor(1).Shape()
	if len(bs) != 3 || bs[2] != 4 {
		return nil, e.Errorf(0, "want boxes [batch,n,4]")
	}
	if len(ss) != 3 || ss[0] != bs[0] || ss[2] != bs[1] {
		return nil, e.Errorf(1, "want scores [%d,classes,%d]", bs[0], bs[1])
	}
	s := &suppression{batch: bs[0], numBoxes: bs[1], classes: ss[1], scores: tensor.Float32s(e.Tensor(1))}
	var err error
	if s.most, err = e.int(2, 0); err != nil {
		return nil, err
	}
	for i, p := range []*float32{&s.iou, &s.score} {
		if t := e.Tensor(3 + i); t != nil && t.Len() > 0 {
			*p = tensor.Float32s(t)[0]
			s.scored = s.scored || i == 1
		}
	}
	data, centered := tensor.Float32s(e.Tensor(0)), e.Node.Int("center_point_box", 0) == 1
	for i := 0; i < len(data); i += 4 {
		s.boxes = append(s.boxes, newBox(data[i:i+4], centered))
	}
	return s, nil
}

// class selects the boxes of one class of one image: best first, those left
// out that overlap with one already selected.
func (s *suppression) class(batch, class int) {
	scores := s.scores[(batch*s.classes+class)*s.numBoxes:][:s.numBoxes]
	boxes := s.boxes[batch*s.numBoxes:][:s.numBoxes]
	var order []int
	for i, v := range scores {
		if !s.scored || v > s.score {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return a - b
	})
	var kept []int
	for _, i := range order {
		if len(kept) >= s.most {
			return
		}
		if slices.ContainsFunc(kept, func(k int) bool { return boxes[i].overlaps(boxes[k], s.iou) }) {
			continue
		}
		kept = append(kept, i)
		s.selection = append(s.selection, int64(batch), int64(class), int64(i))
	}
}

// evalNonMaxSuppression gives rows of batch index, class index, box index.
func evalNonMaxSuppression(e *Eval) error {
	s, err := newSuppression(e)
	if err != nil {
		return err
	}
	for b := range s.batch {
		for c := range s.classes {
			s.class(b, c)
		}
	}
	e.SetOut(0, tensor.Of(tensor.Shape{len(s.selection) / 3, 3}, append([]int64{}, s.selection...)))
	return nil
}

// cropBox returns the rows and columns that a Crop of an image h by w keeps:
// what is left without the borders left, top, right and bottom, or an extent
// scale from the left top corner on.
func cropBox(c *Call, h, w int) (top, left, height, width int, err error) {
	border := c.Node.Ints("border")
	if len(border) != 4 {
		return 0, 0, 0, 0, fmt.Errorf("attribute border has %d numbers, want 4", len(border))
	}
	left, top = int(border[0]), int(border[1])
	height, width = h-top-int(border[3]), w-left-int(border[2])
	if s := c.Node.Ints("scale"); len(s) == 2 {
		height, width = int(s[0]), int(s[1])
	}
	if top < 0 || left < 0 || height < 0 || width < 0 || top+height > h || left+width > w {
		return 0, 0, 0, 0, fmt.Errorf("a crop of %dx%d from %d,%d on leaves the image of %dx%d", height, width, top, left, h, w)
	}
	return top, left, height, width, nil
}

func inferCrop(c *Infer) error {
	x := c.Shape(0)
	if len(x) != 4 || !x[2].IsKnown() || !x[3].IsKnown() {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	_, _, h, w, err := cropBox(&c.Call, x[2].Size, x[3].Size)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), graph.Dims{x[0], x[1], graph.Known(h), graph.Known(w)})
	return nil
}

func evalCrop(e *Eval) error {
	x := e.Tensor(0)
	s := x.Shape()
	if len(s) != 4 {
		return e.Errorf(0, "image has %d axes, want 4", len(s))
	}
	top, left, h, w, err := cropBox(&e.Call, s[2], s[3])
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y := e.New(x.DType(), tensor.Shape{s[0], s[1], h, w})
	size := x.DType().Bits() / 8
	dst, src := y.Bytes(), x.Bytes()
	for p := range s[0] * s[1] {
		for r := range h {
			from := ((p*s[2]+top+r)*s[3] + left) * size
			copy(dst[(p*h+r)*w*size:][:w*size], src[from:])
		}
	}
	e.SetOut(0, y)
	return nil
}

// evalImageScaler computes x*scale + bias of the channel.
func evalImageScaler[T real](e *Eval) error {
	m, err := newImage(e)
	if err != nil {
		return err
	}
	bias := e.Node.Floats("bias")
	if len(bias) != m.Channels {
		return fmt.Errorf("attribute bias has %d numbers, want %d, one for each channel", len(bias), m.Channels)
	}
	scale := T(e.Node.Float("scale", 1))
	x := realsOf[T](e, 0)
	y := newResult[T](e, e.Tensor(0).DType(), e.Tensor(0).Shape())
	m.each(e, func(c, from, to int) {
		copy(y.Data[from:to], x[from:to])
		scaleShift(e.kernels(), y.Data[from:to], scale, T(bias[c]))
	})
	return setReal(e, 0, y)
}

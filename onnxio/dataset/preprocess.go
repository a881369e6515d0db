package dataset

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"
	"strings"

	"golang.org/x/image/draw"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// A preset is the preparation that a family of published models expects.
type preset struct {
	name      string
	doc       string
	scale     float64
	mean, std []float64
	order     string
	imagenet  bool // short side to 256, centre crop of 224, or in proportion
}

var presets = []preset{
	{"imagenet-torchvision", "short side 256, centre crop, ImageNet mean and deviation", 1,
		[]float64{123.675, 116.28, 103.53}, []float64{58.395, 57.12, 57.375}, "rgb", true},
	{"imagenet-keras", "short side 256, centre crop, to -1..1", 1,
		[]float64{127.5}, []float64{127.5}, "rgb", true},
	{"imagenet-caffe", "short side 256, centre crop, BGR, mean taken off", 1,
		[]float64{104, 117, 123}, []float64{1}, "bgr", true},
	{"cifar10-torchvision", "ImageNet mean and deviation on 32 pixels", 1,
		[]float64{123.675, 116.28, 103.53}, []float64{58.395, 57.12, 57.375}, "rgb", false},
	{"mnist-torchvision", "0..1, MNIST mean and deviation", 1.0 / 255,
		[]float64{0.1307}, []float64{0.3081}, "rgb", false},
	{"unit", "0..1", 1.0 / 255, []float64{0}, []float64{1}, "rgb", false},
	{"raw", "pixels as they are, 0..255", 1, []float64{0}, []float64{1}, "rgb", false},
}

// Presets lists the names of the image presets, each with what it does.
func Presets() [][2]string {
	var list [][2]string
	for _, p := range presets {
		list = append(list, [2]string{p.name, p.doc})
	}
	return list
}

func findPreset(name string) (preset, error) {
	var known []string
	for _, p := range presets {
		if p.name == name {
			return p, nil
		}
		known = append(known, p.name)
	}
	return preset{}, fmt.Errorf("there is no preset %q, want one of %s", name, strings.Join(known, ", "))
}

// prep turns pictures into the tensor that one input of a model expects:
// (pixel*scale - mean)/std per channel, pixels being 0..255.
type prep struct {
	input  string
	dtype  tensor.DType
	nchw   bool
	batch  bool // the tensor has a leading axis of 1
	chans  int
	h, w   int
	resize int // short side before the crop, 0 for no resizing beyond h and w
	bgr    bool
	scale  float64
	mean   []float64
	std    []float64
	offset int // added to labels
}

// newPrep reads the preparation keys of s for pictures that are h by w with
// the given channels where the model leaves its input's size open.
func newPrep(s *spec, inputs []*graph.Value, chans, h, w int) (*prep, error) {
	in, err := target(s, inputs)
	if err != nil {
		return nil, err
	}
	pre, err := findPreset(s.str("preset", "raw"))
	if err != nil {
		return nil, err
	}
	p := &prep{input: in.Name(), chans: chans, h: h, w: w}
	if err := p.fit(s, in); err != nil {
		return nil, err
	}
	if err := p.readSize(s, pre); err != nil {
		return nil, err
	}
	order, err := s.choice("order", pre.order, "rgb", "bgr")
	if err != nil {
		return nil, err
	}
	p.bgr = order == "bgr"
	scale, err := s.floats("scale", []float64{pre.scale})
	if err != nil {
		return nil, err
	}
	p.scale = scale[0]
	if p.mean, err = p.perChannel(s, "mean", pre.mean); err != nil {
		return nil, err
	}
	if p.std, err = p.perChannel(s, "std", pre.std); err != nil {
		return nil, err
	}
	p.offset, err = s.integer("offset", 0)
	return p, err
}

// fit takes layout, channels and size from the model's input.
func (p *prep) fit(s *spec, in *graph.Value) error {
	if in.Type == nil || in.Type.Kind != graph.KindTensor {
		return fmt.Errorf("input %q is %v, want a tensor", in.Name(), in.Type)
	}
	p.dtype = in.Type.Elem
	if !p.dtype.IsFloat() && !p.dtype.IsInteger() {
		return fmt.Errorf("input %q holds %v, want numbers", in.Name(), p.dtype)
	}
	dims := in.Type.Shape
	p.batch = dims == nil || len(dims) == 4
	if dims == nil {
		dims = graph.Dims{graph.Unknown(), graph.Unknown(), graph.Unknown(), graph.Unknown()}
	}
	if p.batch {
		dims = dims[1:]
	}
	if len(dims) != 3 {
		return fmt.Errorf("input %q is %v, want a picture of 4 axes (or 3 without a batch)", in.Name(), in.Type)
	}
	def := "NCHW"
	if c := dims[2]; c.IsKnown() && (c.Size == 1 || c.Size == 3) && !isChannel(dims[0]) {
		def = "NHWC"
	}
	layout, err := s.choice("layout", def, "NCHW", "NHWC")
	if err != nil {
		return err
	}
	p.nchw = layout == "NCHW"
	c, h, w := dims[0], dims[1], dims[2]
	if !p.nchw {
		h, w, c = dims[0], dims[1], dims[2]
	}
	if c.IsKnown() {
		p.chans = c.Size
	}
	if p.chans != 1 && p.chans != 3 {
		return fmt.Errorf("input %q takes %d channels in layout %s, want 1 or 3", in.Name(), p.chans, layout)
	}
	if h.IsKnown() {
		p.h = h.Size
	}
	if w.IsKnown() {
		p.w = w.Size
	}
	return nil
}

func isChannel(d graph.Dim) bool { return d.IsKnown() && (d.Size == 1 || d.Size == 3) }

// readSize settles the crop (h, w) and the short side before it.
func (p *prep) readSize(s *spec, pre preset) error {
	size, err := s.integer("size", 0)
	if err != nil {
		return err
	}
	crop, err := s.integer("crop", size)
	if err != nil {
		return err
	}
	if crop > 0 {
		p.h, p.w = crop, crop
	}
	if p.h == 0 && pre.imagenet {
		p.h, p.w = 224, 224
	}
	def := 0
	if pre.imagenet {
		short := min(p.h, p.w)
		if def = 256; short < 224 || short > 256 {
			def = (short*256 + 112) / 224
		}
	}
	if p.resize, err = s.integer("resize", def); err != nil {
		return err
	}
	if p.resize < 0 || crop < 0 || size < 0 || p.h > 1<<14 || p.w > 1<<14 {
		return fmt.Errorf("size, crop and resize are pixels, want 1..%d", 1<<14)
	}
	return nil
}

func (p *prep) perChannel(s *spec, key string, def []float64) ([]float64, error) {
	_, given := s.keys[key]
	xs, err := s.floats(key, def)
	if err != nil {
		return nil, err
	}
	if !given && len(xs) != p.chans {
		var sum float64 // a preset of three channels on a grey input
		for _, x := range xs {
			sum += x
		}
		xs = []float64{sum / float64(len(xs))}
	}
	if len(xs) == 1 {
		for len(xs) < p.chans {
			xs = append(xs, xs[0])
		}
	}
	if len(xs) != p.chans {
		return nil, fmt.Errorf("key %q has %d numbers, want 1 or %d", key, len(xs), p.chans)
	}
	return xs, nil
}

// pixels is an image as channel-interleaved bytes, 1 or 3 channels.
type pixels struct {
	chans, h, w int
	pix         []byte
}

// tensor makes the model's input of a picture.
func (p *prep) tensor(px pixels) (*tensor.Tensor, error) {
	h, w := p.h, p.w
	if h == 0 {
		h = px.h
	}
	if w == 0 {
		w = px.w
	}
	if px.h != h || px.w != w || p.resize != 0 {
		px = p.resample(px, h, w)
	}
	if px.chans != p.chans {
		px = px.convert(p.chans)
	}
	out := make([]float32, p.chans*h*w)
	for c := range p.chans {
		from := c
		if p.bgr {
			from = p.chans - 1 - c
		}
		var value [256]float32
		for i := range value {
			value[i] = float32((float64(i)*p.scale - p.mean[c]) / p.std[c])
		}
		for i := range h * w {
			x := value[px.pix[i*p.chans+from]]
			if p.nchw {
				out[c*h*w+i] = x
			} else {
				out[i*p.chans+c] = x
			}
		}
	}
	shape := tensor.Shape{p.chans, h, w}
	if !p.nchw {
		shape = tensor.Shape{h, w, p.chans}
	}
	if p.batch {
		shape = append(tensor.Shape{1}, shape...)
	}
	return convert(tensor.Of(shape, out), p.dtype)
}

// convert returns t's numbers as elements of another type, rounded to the
// nearest even where the type is an integer.
func convert(t *tensor.Tensor, d tensor.DType) (*tensor.Tensor, error) {
	if d.IsInteger() && t.DType().IsFloat() {
		xs := slices.Clone(tensor.Float64s(t))
		for i, x := range xs {
			xs[i] = math.RoundToEven(x)
		}
		t = tensor.Of(t.Shape(), xs)
	}
	return tensor.Convert(t, d, true, tensor.RoundUp)
}

// resample scales the short side to p.resize (or so that the crop just fits)
// with an antialiased bilinear filter, and cuts h by w from the centre.
func (p *prep) resample(px pixels, h, w int) pixels {
	nh, nw := px.h, px.w
	switch {
	case p.resize != 0 && px.h <= px.w:
		nh, nw = p.resize, max(1, (px.w*p.resize+px.h/2)/px.h)
	case p.resize != 0:
		nh, nw = max(1, (px.h*p.resize+px.w/2)/px.w), p.resize
	}
	if nh < h || nw < w || p.resize == 0 {
		f := math.Max(float64(h)/float64(px.h), float64(w)/float64(px.w))
		nh, nw = max(h, int(math.Round(float64(px.h)*f))), max(w, int(math.Round(float64(px.w)*f)))
	}
	src := px.rgba()
	if nh != px.h || nw != px.w {
		dst := image.NewRGBA(image.Rect(0, 0, nw, nh))
		draw.BiLinear.Scale(dst, dst.Bounds(), src, src.Bounds(), draw.Src, nil)
		src = dst
	}
	top, left := (nh-h)/2, (nw-w)/2
	out := pixels{chans: px.chans, h: h, w: w, pix: make([]byte, px.chans*h*w)}
	for y := range h {
		row := src.Pix[(top+y)*src.Stride+left*4:]
		for x := range w {
			copy(out.pix[(y*w+x)*px.chans:][:px.chans], row[x*4:])
		}
	}
	return out
}

func (px pixels) rgba() *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, px.w, px.h))
	for i := range px.h * px.w {
		q := m.Pix[i*4 : i*4+4]
		q[3] = 255
		if px.chans == 1 {
			q[0], q[1], q[2] = px.pix[i], px.pix[i], px.pix[i]
		} else {
			copy(q, px.pix[i*3:i*3+3])
		}
	}
	return m
}

// convert returns the picture with 1 channel (luma, ITU-R BT.601) or 3.
func (px pixels) convert(chans int) pixels {
	out := pixels{chans: chans, h: px.h, w: px.w, pix: make([]byte, chans*px.h*px.w)}
	for i := range px.h * px.w {
		if chans == 3 {
			v := px.pix[i]
			out.pix[i*3], out.pix[i*3+1], out.pix[i*3+2] = v, v, v
		} else {
			q := px.pix[i*3:]
			out.pix[i] = color.GrayModel.Convert(color.RGBA{q[0], q[1], q[2], 255}).(color.Gray).Y
		}
	}
	return out
}

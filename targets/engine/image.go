package engine

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// halo is a border of padding pixels that lies around an image in memory, so
// that a convolution reads its padding like any other pixel.
type halo struct{ top, left, bottom, right int }

// union returns the border that has room for both.
func (h halo) union(o halo) halo {
	return halo{max(h.top, o.top), max(h.left, o.left), max(h.bottom, o.bottom), max(h.right, o.right)}
}

// pixels is the layout of a tensor [N, top+H+bottom, left+W+right, C]: a batch
// of images with the channels of a pixel together, and their halo. The image may
// be some channels of a larger one: gap is how many others lie between its
// pixels.
type pixels struct {
	n, h, w, c int
	halo
	gap int
}

// image is a batch of images in memory.
type image[T tensor.Elem] struct {
	pixels
	data []T
}

// imageOf views t, an image with the given halo.
func imageOf[T tensor.Elem](t *tensor.Tensor, b halo) (image[T], error) {
	if t == nil {
		return image[T]{}, fmt.Errorf("no image is given")
	}
	s := t.Shape()
	if len(s) != 4 {
		return image[T]{}, fmt.Errorf("%v has %d axes, want 4", t, len(s))
	}
	p := pixels{n: s[0], h: s[1] - b.top - b.bottom, w: s[2] - b.left - b.right, c: s[3], halo: b}
	im := image[T]{p, tensor.Data[T](t)}
	if im.h < 0 || im.w < 0 {
		return im, fmt.Errorf("%v has no room for its border", t)
	}
	return im, nil
}

// newImage returns an image whose halo is filled with the given value and
// whose pixels are unspecified.
func newImage[T tensor.Elem](e *op.Eval, d tensor.DType, n, h, w, c int, b halo, border T) (image[T], *tensor.Tensor) {
	shape := [4]int{n, b.top + h + b.bottom, b.left + w + b.right, c}
	if b == (halo{}) {
		t := e.New(d, shape[:])
		return image[T]{pixels{n: n, h: h, w: w, c: c, halo: b}, tensor.Data[T](t)}, t
	}
	t, drawn := e.NewFramed(op.Frame{DType: d, Shape: shape, Top: b.top, Left: b.left, Bottom: b.bottom, Right: b.right, Value: border})
	im := image[T]{pixels{n: n, h: h, w: w, c: c, halo: b}, tensor.Data[T](t)}
	if !drawn {
		im.fillHalo(border)
	}
	return im, t
}

// step is the distance between pixels, rowStep that between rows, plane that
// between images.
func (im *pixels) step() int    { return im.c + im.gap }
func (im *pixels) rowStep() int { return (im.left + im.w + im.right) * im.step() }
func (im *pixels) plane() int   { return (im.top + im.h + im.bottom) * im.rowStep() }

// at returns the offset of pixel (y, 0) of image n.
func (im *pixels) at(n, y int) int {
	return n*im.plane() + (im.top+y)*im.rowStep() + im.left*im.step()
}

// row returns the pixels of a row, and what lies between them.
func (im *image[T]) row(n, y int) []T {
	at := im.at(n, y)
	return im.data[at : at+max(0, im.w*im.step()-im.gap)]
}

func (im *image[T]) fillHalo(v T) {
	for n := range im.n {
		at := n * im.plane()
		for y := range im.h {
			row := im.at(n, y)
			fill(im.data[at:row], v)
			at = row + im.w*im.c
		}
		fill(im.data[at:(n+1)*im.plane()], v)
	}
}

// fill sets every element to v, most of them by copies of those before.
func fill[T any](s []T, v T) {
	const first = 16
	for i := range s[:min(first, len(s))] {
		s[i] = v
	}
	for n := first; n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

// sameSize reports whether two images have equal pixels and channels.
func sameSize(a, b *pixels) bool { return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c }

// String states the logical size of an image for messages.
func (im *pixels) String() string {
	return fmt.Sprintf("image of %d x %d x %d x %d (N, C, H, W)", im.n, im.c, im.h, im.w)
}

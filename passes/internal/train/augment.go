package train

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// Augment varies samples at random, anew in every epoch. Images are float
// inputs of four axes, [1,C,H,W] or [1,H,W,C]; tokens are integers of two.
type Augment struct {
	Flip  bool    // mirror left and right, one time in two
	Shift int     // move by up to so many pixels each way, zeros coming in
	Crop  float64 // least share of each side that is cut out and stretched to the whole, 0 or 1 for none
	Turn  float64 // rotate by up to so many degrees each way, zeros coming in

	Mask      float64 // share of tokens that are replaced
	MaskToken int64   // by this one
}

func (a Augment) active() bool {
	return a.Flip || a.Shift > 0 || a.Turn > 0 || a.Crop > 0 && a.Crop < 1 || a.Mask > 0
}

func (a Augment) validate() error {
	switch {
	case a.Shift < 0:
		return fmt.Errorf("option \"shift\": got %d, want at least 0", a.Shift)
	case a.Crop < 0 || a.Crop > 1:
		return fmt.Errorf("option \"crop\": got %v, want a share from 0 to 1", a.Crop)
	case a.Turn < 0 || a.Turn > 180:
		return fmt.Errorf("option \"turn\": got %v, want degrees from 0 to 180", a.Turn)
	case a.Mask < 0 || a.Mask >= 1:
		return fmt.Errorf("option \"mask\": got %v, want at least 0 and less than 1", a.Mask)
	}
	return nil
}

// apply returns a varied copy of a sample.
func (a Augment) apply(s dataset.Sample, r *rand.Rand) dataset.Sample {
	s.Feeds = a.Vary(s.Feeds, r)
	return s
}

// Vary returns a varied copy of what a sample feeds.
func (a Augment) Vary(feeds map[string]tensor.Value, r *rand.Rand) map[string]tensor.Value {
	feeds = maps.Clone(feeds)
	for _, name := range slices.Sorted(maps.Keys(feeds)) {
		t, ok := feeds[name].(*tensor.Tensor)
		switch {
		case ok && t.Rank() == 4 && t.DType() == tensor.Float32:
			feeds[name] = a.image(t, r)
		case ok && t.Rank() == 2 && a.Mask > 0 && (t.DType() == tensor.Int64 || t.DType() == tensor.Int32):
			feeds[name] = a.tokens(t, r)
		}
	}
	return feeds
}

// Mirrored returns an image, a float32 tensor [1,C,H,W] or [1,H,W,C], with left
// and right exchanged, and reports whether t is one.
func Mirrored(t *tensor.Tensor) (*tensor.Tensor, bool) {
	if t.Rank() != 4 || t.DType() != tensor.Float32 {
		return t, false
	}
	g := newGrid(t.Shape())
	xs := identity(g.w)
	slices.Reverse(xs)
	out := tensor.New(tensor.Float32, t.Shape())
	g.sample(tensor.Data[float32](out), tensor.Data[float32](t), identity(g.h), xs)
	return out, true
}

// image samples t at a rectangle that is cut out, stretched to the whole, moved and
// mirrored, and turns what this gives.
func (a Augment) image(t *tensor.Tensor, r *rand.Rand) *tensor.Tensor {
	g := newGrid(t.Shape())
	xs, ys := identity(g.w), identity(g.h)
	if a.Crop > 0 && a.Crop < 1 {
		side := a.Crop + (1-a.Crop)*r.Float64()
		stretch(ys, side, r)
		stretch(xs, side, r)
	}
	if a.Shift > 0 {
		dy, dx := r.IntN(2*a.Shift+1)-a.Shift, r.IntN(2*a.Shift+1)-a.Shift
		move(ys, dy)
		move(xs, dx)
	}
	if a.Flip && r.IntN(2) == 1 {
		slices.Reverse(xs)
	}
	out := tensor.New(tensor.Float32, t.Shape())
	g.sample(tensor.Data[float32](out), tensor.Data[float32](t), ys, xs)
	if a.Turn > 0 {
		turned := tensor.New(tensor.Float32, t.Shape())
		g.turn(tensor.Data[float32](turned), tensor.Data[float32](out), a.Turn*(2*r.Float64()-1)*math.Pi/180)
		return turned
	}
	return out
}

// identity returns the places 0..n-1.
func identity(n int) []float64 {
	at := make([]float64, n)
	for i := range at {
		at[i] = float64(i)
	}
	return at
}

// stretch makes the places those of a part of the axis, between pixels mostly.
func stretch(at []float64, side float64, r *rand.Rand) {
	n := float64(len(at))
	from := r.Float64() * n * (1 - side)
	for i := range at {
		at[i] = min(max(from+(float64(i)+0.5)*side-0.5, 0), n-1)
	}
}

// move shifts the places by d; those outside become -1.
func move(at []float64, d int) {
	old := append([]float64(nil), at...)
	for i := range at {
		at[i] = -1
		if j := i + d; j >= 0 && j < len(old) {
			at[i] = old[j]
		}
	}
}

// grid is an image's layout: element (c,y,x) lies at c*sc + y*sy + x*sx.
type grid struct{ c, h, w, sc, sy, sx int }

// newGrid sees an image as channels first unless only its last axis is as
// short as channels are.
func newGrid(s tensor.Shape) grid {
	if s[3] <= 4 && s[1] > 4 {
		return grid{c: s[3], h: s[1], w: s[2], sc: 1, sy: s[2] * s[3], sx: s[3]}
	}
	return grid{c: s[1], h: s[2], w: s[3], sc: s[2] * s[3], sy: s[3], sx: 1}
}

// sample sets dst (y,x) to src (ys[y],xs[x]), 0 where a place is -1. Between
// pixels it is the mean of the nearest, which count the more the closer they are.
func (g grid) sample(dst, src []float32, ys, xs []float64) {
	for y, fy := range ys {
		if fy < 0 {
			continue
		}
		top, down := int(fy), float32(fy-math.Floor(fy))
		bottom := min(top+1, g.h-1)
		for x, fx := range xs {
			if fx < 0 {
				continue
			}
			left, along := int(fx), float32(fx-math.Floor(fx))
			right := min(left+1, g.w-1)
			for c := range g.c {
				at := func(y, x int) float32 { return src[c*g.sc+y*g.sy+x*g.sx] }
				v := at(top, left)
				if down > 0 || along > 0 {
					upper := v + along*(at(top, right)-v)
					lower := at(bottom, left)
					lower += along * (at(bottom, right) - lower)
					v = upper + down*(lower-upper)
				}
				dst[c*g.sc+y*g.sy+x*g.sx] = v
			}
		}
	}
}

// turn adds to dst, which is zero, the image src rotated by an angle about its
// centre. Each pixel comes from a place among four, which count the more the
// closer they are; beyond the edge all is 0.
func (g grid) turn(dst, src []float32, angle float64) {
	sin, cos := math.Sincos(angle)
	midY, midX := float64(g.h-1)/2, float64(g.w-1)/2
	for y := range g.h {
		for x := range g.w {
			dy, dx := float64(y)-midY, float64(x)-midX
			fromY, fromX := cos*dy-sin*dx+midY, sin*dy+cos*dx+midX
			top, left := math.Floor(fromY), math.Floor(fromX)
			for k := range 4 {
				sy, sx := int(top)+k/2, int(left)+k%2
				if sy < 0 || sy >= g.h || sx < 0 || sx >= g.w {
					continue
				}
				w := float32((1 - math.Abs(fromY-float64(sy))) * (1 - math.Abs(fromX-float64(sx))))
				for c := range g.c {
					dst[c*g.sc+y*g.sy+x*g.sx] += w * src[c*g.sc+sy*g.sy+sx*g.sx]
				}
			}
		}
	}
}

func (a Augment) tokens(t *tensor.Tensor, r *rand.Rand) *tensor.Tensor {
	x := append([]int64(nil), tensor.Int64s(t)...)
	for i := range x {
		if r.Float64() < a.Mask {
			x[i] = a.MaskToken
		}
	}
	return tensor.FromInt64s(t.DType(), t.Shape(), x)
}

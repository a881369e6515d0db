package train

import (
	"math"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// ramp is an image [1,2,h,w] whose element (c,y,x) is 100 c + 10 y + x + 1.
func ramp(h, w int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, tensor.Shape{1, 2, h, w})
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(100*(i/(h*w)) + 10*(i/w%h) + i%w + 1)
	}
	return t
}

// seen returns the different images that an augmentation makes of one in 200
// tries.
func seen(a Augment, x *tensor.Tensor) [][]float32 {
	var all [][]float32
	for k := range 200 {
		s := a.apply(dataset.Sample{Feeds: map[string]tensor.Value{"x": x}}, stream(1, forAugment, k, 0))
		y := tensor.Float32s(s.Feeds["x"].(*tensor.Tensor))
		if !slices.ContainsFunc(all, func(z []float32) bool { return slices.Equal(y, z) }) {
			all = append(all, y)
		}
	}
	return all
}

// TestAugment counts what can come out of each way to vary an image, and looks
// at one.
func TestAugment(t *testing.T) {
	x := ramp(3, 3)
	for _, c := range []struct {
		name  string
		a     Augment
		kinds int
		one   []float32 // of the first channel
	}{
		{"flip", Augment{Flip: true}, 2, []float32{3, 2, 1, 13, 12, 11, 23, 22, 21}},
		{"shift", Augment{Shift: 1}, 9, []float32{0, 0, 0, 2, 3, 0, 12, 13, 0}},
	} {
		all := seen(c.a, x)
		if len(all) != c.kinds {
			t.Errorf("%s: %d different images, want %d", c.name, len(all), c.kinds)
		}
		if !slices.ContainsFunc(all, func(y []float32) bool { return slices.Equal(y[:9], c.one) }) {
			t.Errorf("%s: none of %d images is %v", c.name, len(all), c.one)
		}
		for _, y := range all {
			for i, v := range y[:9] {
				if v != 0 && y[9+i] != v+100 {
					t.Fatalf("%s: channels go apart: %v", c.name, y)
				}
			}
		}
	}
}

// TestCrop: a cut out part of an image whose numbers rise evenly rises evenly, from
// one of its pixels to another.
func TestCrop(t *testing.T) {
	x := ramp(5, 5)
	all := seen(Augment{Crop: 0.5}, x)
	if len(all) < 190 {
		t.Errorf("%d different images of 200", len(all))
	}
	same := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-4 } // of numbers up to 145
	for _, y := range all {
		for i, v := range y[:25] {
			down, right := y[i/5*5]-y[0], y[i%5]-y[0]
			if !same(v, y[0]+down+right) || !same(y[25+i], v+100) || v < 1 || v > 45 || down < 0 || right < 0 {
				t.Fatalf("cut out: %v", y)
			}
		}
	}
	y := make([]float32, 50)
	newGrid(x.Shape()).sample(y, tensor.Float32s(x), []float64{0.5, 1, 2, 3, 4}, []float64{0, 0.25, -1, 3, 4})
	for i, want := range []float32{6, 6.25, 0, 9, 10, 11, 11.25, 0, 14, 15} {
		if !near(y[i], want) {
			t.Fatalf("between pixels: %v", y[:10])
		}
	}
}

// TestTurn turns by quarters, which move whole pixels, and by no angle; small
// angles keep the middle and most of what there is.
func TestTurn(t *testing.T) {
	x := ramp(3, 3)
	g := newGrid(x.Shape())
	for _, c := range []struct {
		quarters int
		want     []float32 // of the first channel
	}{
		{0, []float32{1, 2, 3, 11, 12, 13, 21, 22, 23}},
		{1, []float32{21, 11, 1, 22, 12, 2, 23, 13, 3}},
		{2, []float32{23, 22, 21, 13, 12, 11, 3, 2, 1}},
	} {
		y := make([]float32, 18)
		g.turn(y, tensor.Float32s(x), float64(c.quarters)*math.Pi/2)
		for i, want := range c.want {
			if !near(y[i], want) || !near(y[9+i], want+100) {
				t.Fatalf("%d quarters give %v, want %v", c.quarters, y[:9], c.want)
			}
		}
	}
	flat := tensor.New(tensor.Float32, tensor.Shape{1, 1, 9, 9})
	for i := range tensor.Data[float32](flat) {
		tensor.Data[float32](flat)[i] = 1
	}
	for _, y := range seen(Augment{Turn: 20}, flat) {
		if !near(y[40], 1) || !near(y[22], 1) {
			t.Errorf("inside a turned image of ones there are %v and %v", y[40], y[22])
		}
		if y[0] > 1 {
			t.Errorf("the corner of a turned image of ones is %v", y[0])
		}
	}
}

// TestAugmentLayouts: an image with its channels last moves as one with its
// channels first.
func TestAugmentLayouts(t *testing.T) {
	first := ramp(6, 6)
	x := tensor.Float32s(first)
	last := tensor.New(tensor.Float32, tensor.Shape{1, 6, 6, 2})
	turn := func(x, y []float32) {
		for i := range 36 {
			y[2*i], y[2*i+1] = x[i], x[36+i]
		}
	}
	turn(x, tensor.Data[float32](last))
	a := Augment{Flip: true, Shift: 2, Crop: 0.5, Turn: 30}
	for k := range 20 {
		y := tensor.Float32s(a.image(first, stream(1, forAugment, k)))
		want := make([]float32, 72)
		turn(y, want)
		if got := tensor.Float32s(a.image(last, stream(1, forAugment, k))); !slices.Equal(got, want) {
			t.Fatalf("channels last give %v, want %v", got, want)
		}
	}
}

// TestMaskTokens replaces about the share that is asked for, and nothing else.
func TestMaskTokens(t *testing.T) {
	ids := make([]int64, 1000)
	for i := range ids {
		ids[i] = int64(i + 10)
	}
	x := tensor.FromInt64s(tensor.Int64, tensor.Shape{1, 1000}, ids)
	a := Augment{Mask: 0.15, MaskToken: 3}
	s := a.apply(dataset.Sample{Feeds: map[string]tensor.Value{"ids": x}}, stream(1, forAugment, 0, 0))
	masked := 0
	for i, id := range tensor.Int64s(s.Feeds["ids"].(*tensor.Tensor)) {
		switch id {
		case 3:
			masked++
		case ids[i]:
		default:
			t.Fatalf("token %d became %d", ids[i], id)
		}
	}
	if masked < 110 || masked > 190 {
		t.Errorf("%d of 1000 tokens are masked, want about 150", masked)
	}
	if tensor.Int64s(x)[0] != 10 {
		t.Error("the sample itself was changed")
	}
}

// TestMixup: inputs and targets are mixed in one share with one partner.
func TestMixup(t *testing.T) {
	o := Defaults()
	o.Mixup = 0.4
	data := rings(6, 1)
	b, err := load(data, span(0, 6), &o, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !b.Varied {
		t.Error("a mixed batch does not say that it is varied")
	}
	y, err := b.Targets(3, 0.3)
	if err != nil {
		t.Fatal(err)
	}
	share := float32(b.mixed.share)
	mix := func(a, b float32) float32 { return share*a + (1-share)*b }
	smooth := func(label, class int) float32 {
		if label == class {
			return 0.8
		}
		return 0.1
	}
	for i, p := range b.mixed.partner {
		one, other := sampleAt(t, data, i), sampleAt(t, data, p)
		for k := range 2 {
			want := mix(pointOf(one)[k], pointOf(other)[k])
			if got := tensor.Float32s(b.Feeds["x"].(*tensor.Tensor))[2*i+k]; !near(got, want) {
				t.Errorf("sample %d is %v at %d, want %v", i, got, k, want)
			}
		}
		for c := range 3 {
			want := mix(smooth(one.Label, c), smooth(other.Label, c))
			if got := tensor.Float32s(y)[3*i+c]; !near(got, want) {
				t.Errorf("target %d of class %d is %v, want %v", i, c, got, want)
			}
		}
	}
}

func sampleAt(t *testing.T, s Source, i int) dataset.Sample {
	t.Helper()
	x, err := s.At(i)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func pointOf(s dataset.Sample) []float32 { return tensor.Float32s(s.Feeds["x"].(*tensor.Tensor)) }

func near(a, b float32) bool { return a-b < 1e-5 && b-a < 1e-5 }

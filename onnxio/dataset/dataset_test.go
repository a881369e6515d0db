package dataset

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// input returns the inputs of a model that takes one tensor.
func input(name string, d tensor.DType, dims ...graph.Dim) []*graph.Value {
	g := graph.New("g")
	g.AddInput(name, graph.TensorOf(d, dims))
	return g.Inputs()
}

func picture(chans, size int) []*graph.Value {
	return input("x", tensor.Float32, graph.Symbol("N"), graph.Known(chans), graph.Known(size), graph.Known(size))
}

func open(t *testing.T, spec string, in []*graph.Value) *Data {
	t.Helper()
	d, err := Open(spec, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func at(t *testing.T, d *Data, i int) Sample {
	t.Helper()
	s, err := d.At(i)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func floats(t *testing.T, s Sample, name string) []float32 {
	t.Helper()
	x, ok := s.Feeds[name].(*tensor.Tensor)
	if !ok {
		t.Fatalf("feed %q is %v", name, s.Feeds[name])
	}
	return tensor.Float32s(x)
}

func writePNG(t *testing.T, path string, m image.Image) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
}

func flat(w, h int, c color.Color) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, c)
		}
	}
	return m
}

func TestImagesByFolder(t *testing.T) {
	dir := t.TempDir()
	writePNG(t, filepath.Join(dir, "cat", "a.png"), flat(4, 4, color.RGBA{10, 20, 30, 255}))
	writePNG(t, filepath.Join(dir, "dog", "b.png"), flat(8, 6, color.RGBA{40, 50, 60, 255}))
	d := open(t, "images:"+dir+"?mean=1,2,3&std=2&order=bgr&offset=1", picture(3, 4))
	if d.Len() != 2 || !d.Labelled() {
		t.Fatalf("%d samples, labelled %v", d.Len(), d.Labelled())
	}
	s := at(t, d, 0)
	x := floats(t, s, "x")
	if s.Label != 1 || x[0] != (30-1)/2.0 || x[16] != (20-2)/2.0 || x[32] != (10-3)/2.0 {
		t.Errorf("label %d, channels %v %v %v", s.Label, x[0], x[16], x[32])
	}
	if s := at(t, d, 1); s.Label != 2 || floats(t, s, "x")[0] != (60-1)/2.0 {
		t.Errorf("the larger picture is %v, label %d", floats(t, s, "x")[:2], s.Label)
	}
}

func TestImagesLayout(t *testing.T) {
	dir := t.TempDir()
	writePNG(t, filepath.Join(dir, "a.png"), flat(2, 2, color.RGBA{10, 20, 30, 255}))
	d := open(t, "images:"+dir, input("x", tensor.Uint8, graph.Known(1), graph.Known(2), graph.Known(2), graph.Known(3)))
	x := at(t, d, 0).Feeds["x"].(*tensor.Tensor)
	if got := tensor.Data[uint8](x)[:3]; !bytes.Equal(got, []byte{10, 20, 30}) || !x.Shape().Equal(tensor.Shape{1, 2, 2, 3}) {
		t.Errorf("%v is %v", x, got)
	}
	if d.Labelled() {
		t.Error("pictures without folders have labels")
	}
}

func TestCIFAR(t *testing.T) {
	rec := make([]byte, 2*cifarRecord)
	rec[0], rec[1], rec[cifarRecord] = 7, 200, 3
	path := filepath.Join(t.TempDir(), "c.bin")
	if err := os.WriteFile(path, rec, 0o644); err != nil {
		t.Fatal(err)
	}
	d := open(t, "cifar10:"+path+"?range=0:1", picture(3, 32))
	if s := at(t, d, 0); d.Len() != 1 || s.Label != 7 || floats(t, s, "x")[0] != 200 {
		t.Errorf("%d samples, first %d %v", d.Len(), s.Label, floats(t, s, "x")[0])
	}
}

func TestIDX(t *testing.T) {
	dir := t.TempDir()
	images := binary.BigEndian.AppendUint32(nil, idxImages)
	for _, n := range []uint32{2, 2, 2} {
		images = binary.BigEndian.AppendUint32(images, n)
	}
	images = append(images, 0, 1, 2, 3, 4, 5, 6, 255)
	labels := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, idxLabels), 2), 8, 9)
	ip, lp := filepath.Join(dir, "i"), filepath.Join(dir, "l")
	os.WriteFile(ip, images, 0o644)
	os.WriteFile(lp, labels, 0o644)
	d := open(t, "idx:"+ip+"+"+lp+"?scale=0.5", picture(1, 2))
	s := at(t, d, 1)
	if x := floats(t, s, "x"); s.Label != 9 || x[0] != 2 || x[3] != 127.5 {
		t.Errorf("label %d, pixels %v", s.Label, x)
	}
	os.WriteFile(ip, images[:18], 0o644)
	if _, err := Open("idx:"+ip, picture(1, 2)); err == nil || !strings.Contains(err.Error(), "ends before") {
		t.Errorf("a truncated file gives %v", err)
	}
}

func TestNpyRoundTrip(t *testing.T) {
	for _, x := range []*tensor.Tensor{
		tensor.Of(tensor.Shape{2, 3}, []float32{1, 2, 3, 4, 5, float32(math.Inf(1))}),
		tensor.Of(tensor.Shape{}, []int64{-7}),
		tensor.Of(tensor.Shape{0, 4}, []uint16{}),
		tensor.Of(tensor.Shape{1}, []bool{true}),
		tensor.FromFloat32s(tensor.Float16, tensor.Shape{2}, []float32{0.5, -2}),
		tensor.FromFloat32s(tensor.BFloat16, tensor.Shape{2}, []float32{0.5, -2}),
		tensor.OfStrings(tensor.Shape{2}, []string{"a", "Größe"}),
	} {
		var b bytes.Buffer
		if err := WriteNpy(&b, x); err != nil {
			t.Fatal(err)
		}
		y, err := ReadNpy(&b)
		if err != nil {
			t.Fatalf("%v: %v", x, err)
		}
		if !x.Equal(y) {
			t.Errorf("%v comes back as %v", x, y)
		}
	}
}

func TestNpyFortranBigEndian(t *testing.T) {
	head := "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(head)), 0)
	b = append(b, head...)
	for _, v := range []int16{1, 4, 2, 5, 3, 6} {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	x, err := ReadNpy(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if want := tensor.Of(tensor.Shape{2, 3}, []int16{1, 2, 3, 4, 5, 6}); !x.Equal(want) {
		t.Errorf("%v %v", x, tensor.Int64s(x))
	}
}

func TestNPZ(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.npz")
	f, _ := os.Create(path)
	z := zip.NewWriter(f)
	for name, x := range map[string]*tensor.Tensor{
		"x": tensor.Of(tensor.Shape{3, 2}, []float64{1, 2, 3, 4, 5, 6}),
		"y": tensor.Vector[int64](4, 5, 6),
	} {
		w, _ := z.Create(name + ".npy") // compressed
		if err := WriteNpy(w, x); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	f.Close()
	d := open(t, "npz:"+path, input("x", tensor.Float32, graph.Symbol("N"), graph.Known(2)))
	s := at(t, d, 1)
	if x := floats(t, s, "x"); d.Len() != 3 || s.Label != 5 || x[0] != 3 || x[1] != 4 {
		t.Errorf("%d samples; second %d %v", d.Len(), s.Label, x)
	}
	// A model that fixes its batch takes the array whole.
	d = open(t, "npz:"+path, input("x", tensor.Float32, graph.Known(3), graph.Known(2)))
	if d.Len() != 1 || d.Labelled() && at(t, d, 0).Label != -1 {
		t.Errorf("a fixed batch gives %d samples", d.Len())
	}
}

func TestCSV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.csv")
	os.WriteFile(path, []byte("a,b,kind\n1,2,rose\n3,4,iris\n"), 0o644)
	d := open(t, "csv:"+path+"?label=kind", input("x", tensor.Float32, graph.Symbol("N"), graph.Known(2)))
	s := at(t, d, 0)
	if x := floats(t, s, "x"); d.Len() != 2 || s.Label != 1 || x[1] != 2 {
		t.Errorf("%d rows; first %d %v", d.Len(), s.Label, x)
	}
}

func TestRandomRepeats(t *testing.T) {
	in := picture(3, 5)
	a, b := open(t, "random:3?seed=5", in), open(t, "random:3?seed=5", in)
	x, y := at(t, a, 2).Feeds["x"].(*tensor.Tensor), at(t, b, 2).Feeds["x"].(*tensor.Tensor)
	if !x.Equal(y) || x.Equal(at(t, a, 1).Feeds["x"].(*tensor.Tensor)) {
		t.Error("random samples do not follow from seed and position")
	}
}

func TestRandomSizes(t *testing.T) {
	in := input("x", tensor.Float32, graph.Unknown(), graph.Symbol("len"))
	d := open(t, "random:1?x.0=2&len=7", in)
	if x := at(t, d, 0).Feeds["x"].(*tensor.Tensor); !x.Shape().Equal(tensor.Shape{2, 7}) {
		t.Errorf("%v, want [2,7]", x)
	}
}

func TestSplitSpreads(t *testing.T) {
	d := open(t, "random:10", picture(1, 1))
	a, b := d.Split(3)
	if a.Len() != 3 || b.Len() != 7 {
		t.Fatalf("parts of %d and %d", a.Len(), b.Len())
	}
	seen := map[int]bool{}
	for _, i := range append(a.index, b.index...) {
		seen[i] = true
	}
	if len(seen) != 10 || a.index[2]-a.index[0] < 5 {
		t.Errorf("parts %v and %v", a.index, b.index)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range d.All(ctx) {
		if err == nil {
			t.Error("a cancelled range goes on")
		}
	}
}

func TestSpecErrors(t *testing.T) {
	in := picture(3, 4)
	for spec, want := range map[string]string{
		"photos":                   "want kind:path",
		"photo:x":                  `no kind "photo", want one of images`,
		"random:":                  "nothing after",
		"random:2?sed=1":           `no key "sed", want one of`,
		"random:2?range=5:9":       "range \"5:9\"",
		"random:0":                 "not a number of samples",
		"images:/no/such/folder":   "no such file",
		"npy:/no/such.npy":         "no such file",
		"images:.?preset=imagenat": `no preset "imagenat", want one of imagenet-torchvision`,
		"random:2?seed":            "not key=value",
	} {
		if _, err := Open(spec, in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", spec, err, want)
		}
	}
}

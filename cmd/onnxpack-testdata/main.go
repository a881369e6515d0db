// Command onnxpack-testdata makes the models and data that the project tests
// and measures itself with. Everything follows from one seed, so a second run
// writes the same bytes.
//
//	onnxpack-testdata digits testdata/digits
//	onnxpack-testdata resnet18|bert|empty FILE
//	onnxpack-testdata products DIR
//
// digits are pictures of digits with their labels, and a small convolutional
// classifier for them with real weights. resnet18 and bert have the shapes of
// well-known networks and random weights: they are for measuring speed. empty
// hands its input on: what a run costs beside the work. products are models of
// one matrix product each.
package main

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/onnxio"
)

const (
	seed       = 20260801
	trainCount = 6000
	testCount  = 500
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: onnxpack-testdata digits|products DIR | resnet18|bert|empty FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "onnxpack-testdata:", err)
		os.Exit(1)
	}
}

func run(what, path string) error {
	switch what {
	case "digits":
		return makeDigits(path)
	case "products":
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		return makeProducts(path)
	case "resnet18":
		return save(path, resNet18(rand.New(rand.NewPCG(seed, 4))))
	case "bert":
		return save(path, bert(rand.New(rand.NewPCG(seed, 5))))
	case "empty":
		m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 17]> empty (float[1] x) => (float[1] y) { y = Identity(x) }`)
		if err != nil {
			return err
		}
		return save(path, m)
	}
	return fmt.Errorf("there is no %q to make, want digits, products, resnet18, bert or empty", what)
}

func save(path string, m *graph.Model) error {
	return onnxio.Save(context.Background(), path, m, onnxio.SaveOptions{})
}

func makeDigits(dir string) error {
	train := drawAll(rand.New(rand.NewPCG(seed, 1)), trainCount)
	test := drawAll(rand.New(rand.NewPCG(seed, 2)), testCount)
	c := fit(rand.New(rand.NewPCG(seed, 3)), train)
	right := 0
	for _, g := range test {
		if c.classify(g) == g.class {
			right++
		}
	}
	fmt.Printf("%d of %d test pictures right\n", right, len(test))
	if err := writePictures(dir, test); err != nil {
		return err
	}
	return save(filepath.Join(dir, "model.onnx"), c.model())
}

func writePictures(dir string, glyphs []glyph) error {
	if err := os.MkdirAll(filepath.Join(dir, "images"), 0o755); err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString("file\tclass_index\n")
	for i, g := range glyphs {
		name := fmt.Sprintf("images/%04d.png", i)
		if err := writePicture(filepath.Join(dir, name), g); err != nil {
			return err
		}
		fmt.Fprintf(&table, "%s\t%d\n", name, g.class)
	}
	return os.WriteFile(filepath.Join(dir, "labels.tsv"), []byte(table.String()), 0o644)
}

func writePicture(path string, g glyph) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m := &image.Gray{Pix: g.pix[:], Stride: side, Rect: image.Rect(0, 0, side, side)}
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(f, m); err != nil {
		return err
	}
	return f.Close()
}

package dataset

import (
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // decoders
	_ "image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
)

// images is a folder of pictures, labelled by a table or by their folders.
type images struct {
	*prep
	root   string
	files  []string
	labels []int // nil if there are none
}

func openImages(s *spec, inputs []*graph.Value) (source, error) {
	p, err := newPrep(s, inputs, 3, 0, 0)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(s.path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", s.path)
	}
	im := &images{prep: p, root: s.path}
	table := s.str("labels", filepath.Join(s.path, "labels.tsv"))
	switch _, err := os.Stat(table); {
	case err == nil:
		err = im.readTable(table)
		return im, err
	case s.keys["labels"] != "":
		return nil, err
	}
	return im, im.walk()
}

// readTable reads files and classes from a table with a header: column file,
// and class_index.
func (im *images) readTable(path string) error {
	rows, err := readTSV(path)
	if err != nil {
		return err
	}
	fileCol := slices.Index(rows[0], "file")
	classCol := slices.Index(rows[0], "class_index")
	if fileCol < 0 || classCol < 0 {
		return fmt.Errorf("%s: the header is %q, want columns file and class_index", path, rows[0])
	}
	for i, row := range rows[1:] {
		class, err := strconv.Atoi(row[classCol])
		if err != nil || class < 0 {
			return fmt.Errorf("%s: row %d: class_index is %q, want a number from 0", path, i+2, row[classCol])
		}
		im.files = append(im.files, filepath.FromSlash(row[fileCol]))
		im.labels = append(im.labels, class)
	}
	return nil
}

// readTSV reads a table of tab-separated values, with at least a header.
func readTSV(path string) ([][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s is empty, want a header", path)
	}
	return rows, nil
}

// walk lists the pictures under the root. If they lie one folder down, each
// folder is a class, numbered in alphabetical order, or by their names where
// all of these are numbers.
func (im *images) walk() error {
	var classes []string
	err := filepath.WalkDir(im.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isPicture(path) {
			return err
		}
		rel, err := filepath.Rel(im.root, path)
		if err != nil {
			return err
		}
		im.files = append(im.files, rel)
		classes = append(classes, filepath.Dir(rel))
		return nil
	})
	if err != nil {
		return err
	}
	if len(im.files) == 0 {
		return fmt.Errorf("there is no .jpg or .png under %s", im.root)
	}
	if !slices.Contains(classes, ".") {
		im.labels = classNumbers(classes)
	}
	return nil
}

func isPicture(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	return false
}

// classNumbers numbers class names: by their own numbers if all are, else in
// alphabetical order from 0.
func classNumbers(classes []string) []int {
	labels := make([]int, len(classes))
	numbers := true
	for i, c := range classes {
		n, err := strconv.Atoi(c)
		if err != nil || n < 0 {
			numbers = false
			break
		}
		labels[i] = n
	}
	if numbers {
		return labels
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(classes)))
	for i, c := range classes {
		labels[i], _ = slices.BinarySearch(sorted, c)
	}
	return labels
}

func (im *images) len() int       { return len(im.files) }
func (im *images) labelled() bool { return im.labels != nil }
func (im *images) Close() error   { return nil }

func (im *images) at(i int) (Sample, error) {
	px, err := readPicture(filepath.Join(im.root, im.files[i]))
	if err != nil {
		return Sample{}, err
	}
	label := -1
	if im.labels != nil {
		label = im.labels[i]
	}
	return im.sample(px, label)
}

// maxPixels bounds a picture before it is decoded.
const maxPixels = 1 << 28

func readPicture(path string) (pixels, error) {
	f, err := os.Open(path)
	if err != nil {
		return pixels{}, err
	}
	defer f.Close()
	cfg, _, err := image.DecodeConfig(f)
	if err != nil {
		return pixels{}, fmt.Errorf("%s: %w", path, err)
	}
	if cfg.Width <= 0 || cfg.Height <= 0 || cfg.Width > maxPixels/cfg.Height {
		return pixels{}, fmt.Errorf("%s: picture of %d by %d, want at most %d pixels", path, cfg.Width, cfg.Height, maxPixels)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return pixels{}, err
	}
	m, _, err := image.Decode(f)
	if err != nil {
		return pixels{}, fmt.Errorf("%s: %w", path, err)
	}
	return pixelsOf(m), nil
}

func pixelsOf(m image.Image) pixels {
	b := m.Bounds()
	if g, ok := m.(*image.Gray); ok {
		px := pixels{chans: 1, h: b.Dy(), w: b.Dx(), pix: make([]byte, b.Dy()*b.Dx())}
		for y := range px.h {
			copy(px.pix[y*px.w:(y+1)*px.w], g.Pix[y*g.Stride:])
		}
		return px
	}
	px := pixels{chans: 3, h: b.Dy(), w: b.Dx(), pix: make([]byte, 3*b.Dy()*b.Dx())}
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl, _ := m.At(x, y).RGBA()
			px.pix[i], px.pix[i+1], px.pix[i+2] = byte(r>>8), byte(g>>8), byte(bl>>8)
			i += 3
		}
	}
	return px
}

// sample makes a sample of a picture and its class.
func (p *prep) sample(px pixels, label int) (Sample, error) {
	t, err := p.tensor(px)
	if err != nil {
		return Sample{}, err
	}
	if label >= 0 {
		if label += p.offset; label < 0 {
			return Sample{}, errors.New("offset makes the label negative")
		}
	}
	return feed(p.input, t, label), nil
}

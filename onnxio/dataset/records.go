package dataset

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func feed(input string, t *tensor.Tensor, label int) Sample {
	return Sample{Feeds: map[string]tensor.Value{input: t}, Label: label}
}

// cifar is a file of CIFAR-10's binary form: records of a class byte and
// 3x32x32 pixels.
type cifar struct {
	*prep
	file *os.File
	n    int
}

const (
	cifarSide   = 32
	cifarRecord = 1 + 3*cifarSide*cifarSide
)

func openCIFAR(s *spec, inputs []*graph.Value) (source, error) {
	p, err := newPrep(s, inputs, 3, cifarSide, cifarSide)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size()%cifarRecord != 0) {
		err = fmt.Errorf("%s has %d bytes, want records of %d", s.path, info.Size(), cifarRecord)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &cifar{p, f, int(info.Size() / cifarRecord)}, nil
}

func (c *cifar) len() int       { return c.n }
func (c *cifar) labelled() bool { return true }
func (c *cifar) Close() error   { return c.file.Close() }

func (c *cifar) at(i int) (Sample, error) {
	var rec [cifarRecord]byte
	if _, err := c.file.ReadAt(rec[:], int64(i)*cifarRecord); err != nil {
		return Sample{}, err
	}
	const plane = cifarSide * cifarSide
	px := pixels{chans: 3, h: cifarSide, w: cifarSide, pix: make([]byte, 3*plane)}
	for k := range plane {
		for ch := range 3 {
			px.pix[3*k+ch] = rec[1+ch*plane+k]
		}
	}
	return c.sample(px, int(rec[0]))
}

// readerAt is a file to read at any place, perhaps a spooled one.
type readerAt interface {
	io.ReaderAt
	io.Closer
}

// idx is a pair of files in MNIST's form, each perhaps gzipped.
type idx struct {
	*prep
	images, labels readerAt
	n, h, w        int
}

const (
	idxImages = 0x00000803 // unsigned bytes, three axes
	idxLabels = 0x00000801 // unsigned bytes, one axis
)

func openIDX(s *spec, inputs []*graph.Value) (source, error) {
	imagePath, labelPath, hasLabels := strings.Cut(s.path, "+")
	d := &idx{}
	fail := func(err error) (source, error) {
		d.Close()
		return nil, err
	}
	var err error
	var dims []int
	if d.images, dims, err = openIDXFile(imagePath, idxImages); err != nil {
		return fail(err)
	}
	d.n, d.h, d.w = dims[0], dims[1], dims[2]
	if hasLabels {
		if d.labels, dims, err = openIDXFile(labelPath, idxLabels); err != nil {
			return fail(err)
		}
		if dims[0] != d.n {
			return fail(fmt.Errorf("%s has %d labels for the %d images of %s", labelPath, dims[0], d.n, imagePath))
		}
	}
	if d.prep, err = newPrep(s, inputs, 1, d.h, d.w); err != nil {
		return fail(err)
	}
	return d, nil
}

func openIDXFile(path string, magic uint32) (readerAt, []int, error) {
	f, err := openMaybeGzip(path)
	if err != nil {
		return nil, nil, err
	}
	dims, err := idxHeader(f, magic)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, dims, nil
}

func idxHeader(r io.ReaderAt, magic uint32) ([]int, error) {
	rank := int(magic & 0xff)
	head := make([]byte, 4+4*rank)
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("no idx header: %w", err)
	}
	if got := binary.BigEndian.Uint32(head); got != magic {
		return nil, fmt.Errorf("starts with %#08x, want %#08x (idx of bytes with %d axes)", got, magic, rank)
	}
	dims := make([]int, rank)
	size := int64(1)
	for i := range dims {
		dims[i] = int(binary.BigEndian.Uint32(head[4+4*i:]))
		if size *= int64(dims[i]); size > 1<<40 {
			return nil, fmt.Errorf("dimensions %v are too large", dims)
		}
	}
	if size > 0 {
		var last [1]byte
		if _, err := r.ReadAt(last[:], int64(len(head))+size-1); err != nil {
			return nil, fmt.Errorf("ends before the %d bytes that dimensions %v ask for", size, dims)
		}
	}
	return dims, nil
}

// openMaybeGzip opens a file, unpacked into a temporary one if it is gzipped.
func openMaybeGzip(path string) (readerAt, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	if magic != [2]byte{0x1f, 0x8b} {
		return f, nil
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out, err := spool(z)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func (d *idx) len() int       { return d.n }
func (d *idx) labelled() bool { return d.labels != nil }

func (d *idx) Close() error {
	var errs []error
	for _, f := range []readerAt{d.images, d.labels} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func (d *idx) at(i int) (Sample, error) {
	px := pixels{chans: 1, h: d.h, w: d.w, pix: make([]byte, d.h*d.w)}
	if _, err := d.images.ReadAt(px.pix, 16+int64(i)*int64(len(px.pix))); err != nil {
		return Sample{}, err
	}
	label := -1
	if d.labels != nil {
		var b [1]byte
		if _, err := d.labels.ReadAt(b[:], 8+int64(i)); err != nil {
			return Sample{}, err
		}
		label = int(b[0])
	}
	return d.sample(px, label)
}

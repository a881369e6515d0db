// Package dataset reads samples from the places where people keep them: image
// folders, CIFAR and MNIST files, NumPy arrays, ONNX test data, CSV tables, or
// a random generator shaped by the model's inputs.
//
// It is on floor 3 and refuses to know models beyond the names and types of
// their inputs. Samples are decoded when they are asked for, so memory does
// not grow with the data.
//
// A specification is text in URL form, kind:path?key=value&key=value:
//
//	images:photos?preset=imagenet-torchvision&range=0:400
//	idx:images.gz+labels.gz?scale=0.00392156862745098
//	npz:feeds.npz
package dataset

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Sample is one example: what to feed, and what is known of the answer.
type Sample struct {
	Number int                     // of the sample in what was opened, whatever was picked of it since
	Feeds  map[string]tensor.Value // by input name; tensors have a batch axis of 1 where the model has one
	Label  int                     // class, -1 if there is none
	Want   map[string]tensor.Value // expected outputs by position "0", "1", … (pb: only)
}

// Data is a list of samples.
type Data struct {
	src   source
	index []int // which samples of src, in order; nil for all
	spec  string
}

// source is what a kind of data implements.
type source interface {
	len() int
	at(i int) (Sample, error)
	labelled() bool
	io.Closer
}

// Open reads a specification for a model with the given inputs. The error
// names the part of the specification that is wrong and what was expected.
func Open(spec string, inputs []*graph.Value) (*Data, error) {
	s, err := parseSpec(spec)
	if err != nil {
		return nil, err
	}
	open, ok := kinds[s.kind]
	if !ok {
		return nil, fmt.Errorf("data %q: there is no kind %q, want one of %s", spec, s.kind, strings.Join(kindNames(), ", "))
	}
	src, err := open(s, inputs)
	if err != nil {
		return nil, fmt.Errorf("data %q: %w", spec, err)
	}
	d := &Data{src: src, spec: spec}
	if err := s.unread(); err != nil {
		d.Close()
		return nil, fmt.Errorf("data %q: %w", spec, err)
	}
	if d, err = d.applyRange(s.rangeText); err != nil {
		src.Close()
		return nil, fmt.Errorf("data %q: %w", spec, err)
	}
	if d.Len() == 0 {
		src.Close()
		return nil, fmt.Errorf("data %q: there are no samples", spec)
	}
	return d, nil
}

// kinds maps the kinds of data to the functions that open them.
var kinds = map[string]func(*spec, []*graph.Value) (source, error){
	"images":  openImages,
	"cifar10": openCIFAR,
	"idx":     openIDX,
	"npz":     openNPZ,
	"npy":     openNPY,
	"pb":      openPB,
	"csv":     openCSV,
	"random":  openRandom,
}

func kindNames() []string {
	return []string{"images", "cifar10", "idx", "npz", "npy", "pb", "csv", "random"}
}

func (d *Data) applyRange(text string) (*Data, error) {
	if text == "" {
		return d, nil
	}
	lo, hi, err := parseRange(text, d.Len())
	if err != nil {
		return nil, err
	}
	return d.Range(lo, hi), nil
}

// String returns the specification.
func (d *Data) String() string { return d.spec }

// Len returns the number of samples.
func (d *Data) Len() int {
	if d.index != nil {
		return len(d.index)
	}
	return d.src.len()
}

// Labelled reports whether samples come with a class.
func (d *Data) Labelled() bool { return d.src.labelled() }

// At decodes sample i.
func (d *Data) At(i int) (Sample, error) {
	if d.index != nil {
		i = d.index[i]
	}
	s, err := d.src.at(i)
	if err != nil {
		return Sample{}, fmt.Errorf("data %q: sample %d: %w", d.spec, i, err)
	}
	s.Number = i
	return s, nil
}

// All ranges over the samples in order. It ends after the first error, which
// may be that of the context.
func (d *Data) All(ctx context.Context) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		for i := range d.Len() {
			if err := ctx.Err(); err != nil {
				yield(Sample{}, err)
				return
			}
			s, err := d.At(i)
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// Select returns the samples at the given positions of d, in their order. It
// shares d's files.
func (d *Data) Select(at []int) *Data {
	index := make([]int, len(at))
	for i, j := range at {
		if d.index != nil {
			j = d.index[j]
		}
		index[i] = j
	}
	return &Data{src: d.src, index: index, spec: d.spec}
}

// Range returns samples lo to hi-1.
func (d *Data) Range(lo, hi int) *Data {
	at := make([]int, 0, hi-lo)
	for i := lo; i < hi; i++ {
		at = append(at, i)
	}
	return d.Select(at)
}

// Split returns n samples spread evenly over d, and the others: one from each
// of n stretches of d, at a place in it that follows from its number. Data
// often lies sorted by class, so that the first n would not be like the rest,
// or with the classes in turn, so that every k-th would be of one class. If d
// has at most n samples, both parts are d.
func (d *Data) Split(n int) (picked, rest *Data) {
	if n <= 0 || d.Len() <= n {
		return d, d
	}
	rng := rand.New(rand.NewPCG(uint64(n), uint64(d.Len())))
	var in, out []int
	for k := range n {
		lo, hi := k*d.Len()/n, (k+1)*d.Len()/n
		pick := lo + rng.IntN(hi-lo)
		for i := lo; i < hi; i++ {
			if i == pick {
				in = append(in, i)
			} else {
				out = append(out, i)
			}
		}
	}
	return d.Select(in), d.Select(out)
}

// Close closes the files under d and every part of it.
func (d *Data) Close() error { return d.src.Close() }

// target returns the input that a single-valued kind of data feeds: the one
// named by the key input, or else the only one that must be given.
func target(s *spec, inputs []*graph.Value) (*graph.Value, error) {
	var feeds []*graph.Value
	for _, v := range inputs {
		if v.Init == nil {
			feeds = append(feeds, v)
		}
	}
	name := s.str("input", "")
	if name == "" {
		if len(feeds) == 1 {
			return feeds[0], nil
		}
		return nil, fmt.Errorf("the model has %d inputs (%s): say which one with input=NAME", len(feeds), names(feeds))
	}
	for _, v := range inputs {
		if v.Name() == name {
			return v, nil
		}
	}
	return nil, fmt.Errorf("the model has no input %q, want one of %s", name, names(feeds))
}

func names(vs []*graph.Value) string {
	s := make([]string, len(vs))
	for i, v := range vs {
		s[i] = v.Name()
	}
	return strings.Join(s, ", ")
}

// spool copies r into a temporary file that is gone when it is closed, so
// that compressed data can be read at any place without holding it in memory.
func spool(r io.Reader) (*spooled, error) {
	f, err := os.CreateTemp("", "onnxpack-data-*")
	if err != nil {
		return nil, err
	}
	s := &spooled{f}
	if _, err := io.Copy(f, r); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

type spooled struct{ *os.File }

func (s *spooled) Close() error {
	err := s.File.Close()
	os.Remove(s.Name())
	return err
}

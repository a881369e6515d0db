package dataset

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// arrays feeds NumPy arrays, one for each input of the model.
type arrays struct {
	feeds   map[string]*array
	types   map[string]tensor.DType
	labels  []int
	whole   bool // the arrays are one sample rather than a list of them
	n       int
	closers []io.Closer
}

// labelNames are the names under which a .npz file may hold classes.
var labelNames = []string{"labels", "label", "y"}

func openNPZ(s *spec, inputs []*graph.Value) (source, error) {
	a := &arrays{feeds: map[string]*array{}, types: map[string]tensor.DType{}}
	if err := a.openZip(s.path, inputs); err != nil {
		a.Close()
		return nil, err
	}
	return a.finish(s, inputs)
}

func openNPY(s *spec, inputs []*graph.Value) (source, error) {
	a := &arrays{feeds: map[string]*array{}, types: map[string]tensor.DType{}}
	in, err := target(s, inputs)
	if err != nil {
		return nil, err
	}
	arr, err := openNpyFile(s.path)
	if err != nil {
		return nil, err
	}
	a.feeds[in.Name()] = arr
	a.closers = append(a.closers, arr.r)
	return a.finish(s, inputs)
}

func (a *arrays) openZip(path string, inputs []*graph.Value) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var unused []string
	for _, entry := range z.File {
		name := strings.TrimSuffix(entry.Name, ".npy")
		isInput := slices.ContainsFunc(inputs, func(v *graph.Value) bool { return v.Name() == name })
		isLabel := !isInput && slices.Contains(labelNames, name)
		if !isInput && !isLabel {
			unused = append(unused, name)
			continue
		}
		arr, err := a.openEntry(f, entry)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, name, err)
		}
		if isInput {
			a.feeds[name] = arr
		} else if a.labels, err = readLabels(arr); err != nil {
			return fmt.Errorf("%s: %s: %w", path, name, err)
		}
	}
	if len(unused) > 0 && len(a.feeds) == 0 {
		return fmt.Errorf("%s holds %s, want arrays named like the model's inputs", path, strings.Join(unused, ", "))
	}
	return nil
}

// openEntry opens an array of a .npz file: in place if it is stored, through
// a temporary file if it is compressed.
func (a *arrays) openEntry(f *os.File, entry *zip.File) (*array, error) {
	if entry.Method == zip.Store {
		at, err := entry.DataOffset()
		if err != nil {
			return nil, err
		}
		return openArray(section{io.NewSectionReader(f, at, int64(entry.UncompressedSize64))})
	}
	r, err := entry.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	tmp, err := spool(r)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, tmp)
	return openArray(tmp)
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// finish checks the arrays against the inputs and decides whether they are
// one sample or a list of them.
func (a *arrays) finish(s *spec, inputs []*graph.Value) (source, error) {
	if err := a.check(inputs); err != nil {
		a.Close()
		return nil, err
	}
	batch, err := s.choice("batch", "auto", "auto", "one", "all")
	if err == nil {
		err = a.split(batch, inputs)
	}
	if err == nil && a.labels == nil {
		a.labels, err = labelFile(s, a.n)
	}
	if err == nil && a.labels != nil && len(a.labels) != a.n {
		err = fmt.Errorf("there are %d labels for %d samples", len(a.labels), a.n)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func (a *arrays) check(inputs []*graph.Value) error {
	for _, v := range inputs {
		arr := a.feeds[v.Name()]
		if arr == nil {
			if v.Init != nil {
				continue
			}
			return fmt.Errorf("there is no array for input %q %v", v.Name(), v.Type)
		}
		if v.Type == nil || v.Type.Kind != graph.KindTensor {
			return fmt.Errorf("input %q is %v, want a tensor", v.Name(), v.Type)
		}
		if (arr.dtype == tensor.String) != (v.Type.Elem == tensor.String) {
			return fmt.Errorf("the array for input %q holds %v, want %v", v.Name(), arr.dtype, v.Type.Elem)
		}
		if v.Type.Shape != nil && len(v.Type.Shape) != len(arr.shape) {
			return fmt.Errorf("the array for input %q has shape %v, want %v", v.Name(), arr.shape, v.Type.Shape)
		}
		a.types[v.Name()] = v.Type.Elem
	}
	return nil
}

// split settles a.whole and a.n; one sample of many rows has no class. By itself it takes the first axis for a list
// of samples if all arrays agree on its length and every input either leaves
// that axis open or wants 1 there.
func (a *arrays) split(batch string, inputs []*graph.Value) error {
	n, list := -1, true
	for _, v := range inputs {
		arr := a.feeds[v.Name()]
		if arr == nil {
			continue
		}
		if len(arr.shape) == 0 {
			list = false
			continue
		}
		if d := v.Type.Shape; d != nil && d[0].IsKnown() && d[0].Size != 1 {
			list = false
		}
		if n >= 0 && n != arr.shape[0] {
			list = false
		}
		n = arr.shape[0]
	}
	switch batch {
	case "all":
		list = false
	case "one":
		if !list {
			return errors.New("batch=one: the arrays differ in their first axis, or the model fixes it")
		}
	}
	if a.whole = !list; a.whole {
		n, a.labels = 1, nil
	}
	a.n = n
	return nil
}

func (a *arrays) len() int       { return a.n }
func (a *arrays) labelled() bool { return a.labels != nil }

func (a *arrays) Close() error {
	var errs []error
	for _, c := range a.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (a *arrays) at(i int) (Sample, error) {
	s := Sample{Feeds: map[string]tensor.Value{}, Label: -1}
	if a.labels != nil {
		s.Label = a.labels[i]
	}
	for name, arr := range a.feeds {
		t, err := arr.sample(i, a.whole)
		if err == nil {
			t, err = convert(t, a.types[name])
		}
		if err != nil {
			return Sample{}, fmt.Errorf("input %q: %w", name, err)
		}
		s.Feeds[name] = t
	}
	return s, nil
}

func (a *array) sample(i int, whole bool) (*tensor.Tensor, error) {
	if whole {
		return a.all()
	}
	return a.row(i)
}

// WriteNPZ writes tensors as a .npz file, in the order of names, uncompressed
// and without times, so that equal tensors give equal bytes.
func WriteNPZ(w io.Writer, names []string, tensors map[string]*tensor.Tensor) error {
	z := zip.NewWriter(w)
	for _, name := range names {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := WriteNpy(f, tensors[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return z.Close()
}

package dataset

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// table is a CSV file of numbers, a sample in each row, of which one column
// may be the class. Only the places of the rows are held in memory.
type table struct {
	file     *os.File
	input    string
	dtype    tensor.DType
	rank     int
	offsets  []int64 // where each row starts, and where the last ends
	columns  int
	labelCol int // -1 if there is none
	classes  []string
	offset   int
}

func openCSV(s *spec, inputs []*graph.Value) (source, error) {
	in, err := target(s, inputs)
	if err != nil {
		return nil, err
	}
	if in.Type == nil || in.Type.Kind != graph.KindTensor || in.Type.Elem == tensor.String {
		return nil, fmt.Errorf("input %q is %v, want a tensor of numbers", in.Name(), in.Type)
	}
	t := &table{input: in.Name(), dtype: in.Type.Elem, rank: 2, labelCol: -1}
	width := -1
	if d := in.Type.Shape; d != nil {
		if t.rank = len(d); t.rank < 1 || t.rank > 2 {
			return nil, fmt.Errorf("input %q is %v, want 1 or 2 axes", in.Name(), in.Type)
		}
		if last := d[t.rank-1]; last.IsKnown() {
			width = last.Size
		}
	}
	if t.offset, err = s.integer("offset", 0); err != nil {
		return nil, err
	}
	if t.file, err = os.Open(s.path); err != nil {
		return nil, err
	}
	if err := t.scan(s, width); err != nil {
		t.file.Close()
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return t, nil
}

// scan finds the rows, the header, the label column and the class names.
func (t *table) scan(s *spec, width int) error {
	r := csv.NewReader(t.file)
	r.ReuseRecord, r.TrimLeadingSpace = true, true
	start := int64(0)
	seen := map[string]bool{}
	label := s.str("label", "")
	for row := 0; ; row++ {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		header := false
		if row == 0 {
			t.columns = len(rec)
			header = isHeader(rec)
			if err := t.findLabel(label, rec, header, width); err != nil {
				return err
			}
		}
		if !header {
			t.offsets = append(t.offsets, start)
			if t.labelCol >= 0 {
				seen[rec[t.labelCol]] = true
			}
		}
		start = r.InputOffset()
	}
	t.offsets = append(t.offsets, start)
	t.classes = slices.Sorted(maps.Keys(seen))
	if width >= 0 && t.features() != width {
		return fmt.Errorf("rows have %d numbers beside the label, want %d for input %q", t.features(), width, t.input)
	}
	return nil
}

// isHeader reports whether no field is a number.
func isHeader(rec []string) bool {
	for _, f := range rec {
		if _, err := strconv.ParseFloat(f, 64); err == nil {
			return false
		}
	}
	return true
}

// findLabel settles which column is the class: the one that the key label
// names ("first", "last", "none", a number from 0 or a header), or else the
// last if the model takes one number fewer than there are columns.
func (t *table) findLabel(label string, rec []string, header bool, width int) error {
	switch label {
	case "":
		if width == len(rec)-1 {
			t.labelCol = len(rec) - 1
		}
		return nil
	case "none":
		return nil
	case "first":
		t.labelCol = 0
		return nil
	case "last":
		t.labelCol = len(rec) - 1
		return nil
	}
	if n, err := strconv.Atoi(label); err == nil && n >= 0 && n < len(rec) {
		t.labelCol = n
		return nil
	}
	if header {
		if t.labelCol = slices.Index(rec, label); t.labelCol >= 0 {
			return nil
		}
	}
	return fmt.Errorf("label=%s: there is no such column, want first, last, none, 0..%d or a header", label, len(rec)-1)
}

func (t *table) features() int {
	if t.labelCol >= 0 {
		return t.columns - 1
	}
	return t.columns
}

func (t *table) len() int       { return len(t.offsets) - 1 }
func (t *table) labelled() bool { return t.labelCol >= 0 }
func (t *table) Close() error   { return t.file.Close() }

func (t *table) at(i int) (Sample, error) {
	buf := make([]byte, t.offsets[i+1]-t.offsets[i])
	if _, err := t.file.ReadAt(buf, t.offsets[i]); err != nil {
		return Sample{}, err
	}
	r := csv.NewReader(strings.NewReader(string(buf)))
	r.TrimLeadingSpace = true
	rec, err := r.Read()
	if err != nil {
		return Sample{}, err
	}
	xs := make([]float64, 0, t.features())
	label := -1
	for c, field := range rec {
		if c == t.labelCol {
			label = t.class(field) + t.offset
			continue
		}
		x, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return Sample{}, fmt.Errorf("column %d is %q, want a number", c, field)
		}
		xs = append(xs, x)
	}
	shape := tensor.Shape{1, len(xs)}
	if t.rank == 1 {
		shape = shape[1:]
	}
	x, err := convert(tensor.Of(shape, xs), t.dtype)
	if err != nil {
		return Sample{}, err
	}
	return feed(t.input, x, label), nil
}

// class returns the number of a class: its own if it is one, else its place
// among all class names in alphabetical order.
func (t *table) class(name string) int {
	if n, err := strconv.ParseFloat(name, 64); err == nil {
		return int(n)
	}
	i, _ := slices.BinarySearch(t.classes, name)
	return i
}

package train

import (
	"encoding/gob"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// fingerprint names a run by all that its result depends on: options, the graph
// of a step with its loss, weights at the start, and samples as far as their
// number and the first and last of them.
func (r *trainer) fingerprint() (string, error) {
	h := fnv.New64a()
	o := *r.o
	o.Frozen, o.Threads = nil, 0
	fmt.Fprintf(h, "%+v %d %s\n", o, r.batch, r.task.Scores)
	fmt.Fprintln(h, r.train.text)
	for _, p := range r.all() {
		fmt.Fprintln(h, p.name, p.tensor.Shape())
		h.Write(p.tensor.Bytes())
	}
	for _, src := range []Source{r.task.Data, r.task.Held} {
		if src == nil || src.Len() == 0 {
			continue
		}
		fmt.Fprintln(h, src.Len())
		for _, i := range []int{0, src.Len() - 1} {
			s, err := src.At(i)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(h, s.Label)
			for _, name := range slices.Sorted(maps.Keys(s.Feeds)) {
				if t, ok := s.Feeds[name].(*tensor.Tensor); ok && t.DType() != tensor.String {
					h.Write(t.Bytes())
				}
			}
		}
	}
	return fmt.Sprintf("%016x", h.Sum64()), nil
}

// resume takes up the run where its checkpoint left it, and returns that
// step, 0 if there is none.
func (r *trainer) resume() (int, error) {
	if r.task.Checkpoints == nil {
		return 0, nil
	}
	var err error
	if r.key, err = r.fingerprint(); err != nil {
		return 0, err
	}
	f, err := r.task.Checkpoints.Load(r.key)
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	if f == nil {
		return 0, nil
	}
	defer f.Close()
	var s state
	if err := gob.NewDecoder(f).Decode(&s); err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	if err := r.fits(&s); err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	r.setWeights(s.Weights)
	r.state = s
	r.opt.moments = s.Moments
	return s.Step, nil
}

// fits reports how a state read from a file is not one of this run.
func (r *trainer) fits(s *state) error {
	ok := len(s.Moments) == len(r.Moments) && sameSizes(s.Weights, r.weights()) && sameSizes(s.Sum, r.Sum) &&
		(r.EMA == nil) == (s.EMA == nil) && len(s.EpochLoss) == len(r.EpochLoss) && s.Best <= len(s.Curve)
	for i := range s.Moments {
		ok = ok && sameSizes(s.Moments[i], r.Moments[i])
	}
	for _, w := range [][][]float32{s.EMA, s.Kept} {
		ok = ok && (w == nil || sameSizes(w, s.Weights))
	}
	if !ok {
		return fmt.Errorf("it is not one of this run: its weights have other sizes")
	}
	return nil
}

func sameSizes(a, b [][]float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i]) != len(b[i]) {
			return false
		}
	}
	return true
}

// checkpoint saves the state if it is time to, or if now is set.
func (r *trainer) checkpoint(now bool) error {
	c := r.task.Checkpoints
	if c == nil || !now && !c.Due() {
		return nil
	}
	s := r.state
	s.Weights = r.weights()
	s.Moments = r.opt.moments
	err := c.Save(r.key, func(w io.Writer) error { return gob.NewEncoder(w).Encode(&s) })
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

package train

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/onnxpack/onnxpack/onnxio/dataset"
)

// Source is a list of samples that can be read in any order; each sample has
// a batch axis of 1. A *dataset.Data is one.
type Source interface {
	Len() int
	At(i int) (dataset.Sample, error)
}

// Collect reads a stream of samples into memory.
func Collect(ctx context.Context, samples iter.Seq2[dataset.Sample, error]) (Source, error) {
	var list memory
	for s, err := range samples {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("sample %d: %w", len(list), err)
		}
		list = append(list, s)
	}
	return list, nil
}

// memory is a Source that holds its samples.
type memory []dataset.Sample

func (m memory) Len() int                         { return len(m) }
func (m memory) At(i int) (dataset.Sample, error) { return m[i], nil }

// part is a selection of another source.
type part struct {
	src   Source
	index []int
}

func (p *part) Len() int                         { return len(p.index) }
func (p *part) At(i int) (dataset.Sample, error) { return p.src.At(p.index[i]) }

// Split holds out the given share of the samples, one at random of each stretch
// of equal length: data often lies sorted by class, or with the classes in
// turn. A share of 0 holds out none.
func Split(src Source, share float64) (train, held Source) {
	n := src.Len()
	k := int(share*float64(n) + 0.5)
	if k <= 0 {
		return src, nil
	}
	r := rand.New(rand.NewPCG(uint64(n), uint64(k)))
	in, out := &part{src: src}, &part{src: src}
	for s := range k {
		lo, hi := s*n/k, (s+1)*n/k
		pick := lo + r.IntN(hi-lo)
		for i := lo; i < hi; i++ {
			if i == pick {
				out.index = append(out.index, i)
			} else {
				in.index = append(in.index, i)
			}
		}
	}
	return in, out
}

// First returns the first n samples of a source, all if it has fewer.
func First(src Source, n int) Source {
	p := &part{src: src}
	for i := range min(n, src.Len()) {
		p.index = append(p.index, i)
	}
	return p
}

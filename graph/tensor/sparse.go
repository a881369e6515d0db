package tensor

import "fmt"

// Dense returns the tensor with the stored elements in place and zeros (empty
// strings) elsewhere.
func (s *Sparse) Dense() (*Tensor, error) {
	if err := s.Shape.Check(); err != nil {
		return nil, err
	}
	at, err := s.positions()
	if err != nil {
		return nil, err
	}
	out := New(s.Values.dtype, s.Shape)
	if out.dtype == String {
		for i, p := range at {
			out.strs[p] = s.Values.strs[i]
		}
		return out, nil
	}
	bits := out.dtype.Bits()
	for i, p := range at {
		if bits%8 == 0 {
			w := bits / 8
			copy(out.data[p*w:(p+1)*w], s.Values.data[i*w:(i+1)*w])
			continue
		}
		per, mask := 8/bits, byte(1<<bits-1)
		x := s.Values.data[i/per] >> (i % per * bits) & mask
		b := &out.data[p/per]
		*b = *b&^(mask<<(p%per*bits)) | x<<(p%per*bits)
	}
	return out, nil
}

// positions returns the row-major position of each stored element.
func (s *Sparse) positions() ([]int, error) {
	n, rank := s.Values.Len(), len(s.Shape)
	if s.Indices.dtype != Int64 {
		return nil, fmt.Errorf("indices of a sparse tensor are %v, want int64", s.Indices.dtype)
	}
	width := 1 // numbers in one index
	switch {
	case s.Indices.Rank() == 1 && s.Indices.shape[0] == n:
	case s.Indices.Rank() == 2 && s.Indices.shape[0] == n && s.Indices.shape[1] == rank:
		width = rank
	default:
		return nil, fmt.Errorf("indices of a sparse tensor have shape %v for %d values and %d axes", s.Indices.shape, n, rank)
	}
	index := Data[int64](s.Indices)
	strides := []int{1}
	limits := []int{s.Shape.Len()}
	if s.Indices.Rank() == 2 {
		strides, limits = s.Shape.Strides(), s.Shape
	}
	at := make([]int, n)
	for i := range at {
		for k := range width {
			x := index[i*width+k]
			if x < 0 || x >= int64(limits[k]) {
				return nil, fmt.Errorf("index %d of a sparse tensor is %d, want less than %d", i, x, limits[k])
			}
			at[i] += int(x) * strides[k]
		}
	}
	return at, nil
}

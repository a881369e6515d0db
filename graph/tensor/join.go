package tensor

import "fmt"

// Join puts tensors of one type one after the other along their first axis;
// the other axes must agree. Scalars join to a vector. Elements narrower than
// a byte must fill whole bytes.
func Join(ts ...*Tensor) (*Tensor, error) {
	if len(ts) == 0 {
		return nil, fmt.Errorf("there are no tensors to join")
	}
	first := ts[0]
	if len(ts) == 1 {
		return first, nil
	}
	shape := Shape{0}
	if first.Rank() > 0 {
		shape = first.shape.Clone()
		shape[0] = 0
	}
	var data []byte
	var strs []string
	for _, t := range ts {
		if t.dtype != first.dtype || t.Rank() != first.Rank() || t.Rank() > 0 && !t.shape[1:].Equal(first.shape[1:]) {
			return nil, fmt.Errorf("%v and %v do not join", first, t)
		}
		if t.Len()*t.dtype.Bits()%8 != 0 {
			return nil, fmt.Errorf("%v does not fill whole bytes", t)
		}
		rows := 1
		if t.Rank() > 0 {
			rows = t.shape[0]
		}
		shape[0] += rows
		data = append(data, t.data...)
		strs = append(strs, t.strs...)
	}
	if first.dtype == String {
		return OfStrings(shape, strs), nil
	}
	return FromBytes(first.dtype, shape, data)
}

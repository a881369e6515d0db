package engine

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// smallBuffer is the size below which a buffer is not worth reusing.
const smallBuffer = 512

// arena lends the buffers of one run's intermediate values and takes them back
// after their last reader. It stays with the run's state, so that later runs
// of equal shapes allocate nothing.
//
// Operators may return views of their operands. So a slot that is filled
// counts as a reader of whichever buffer its value lies in, and a buffer is
// free when no slot lies in it. Buffers that something out of sight may hold
// (the items of a sequence, what is noted for later runs) are let go: the
// garbage collector has them.
type arena struct {
	mu    sync.Mutex // operators may allocate in parallel
	lent  []*buffer
	free  []*buffer
	given []int // sizes of buffers that callers were given
}

type buffer struct {
	data  []byte
	refs  int
	gone  bool // let go
	start uintptr
	frame op.Frame // that lies in it, zero if none is known to
}

// alloc returns a tensor in a lent buffer, contents unspecified.
func (a *arena) alloc(d tensor.DType, s tensor.Shape) *tensor.Tensor {
	n := d.Bytes(s.Len())
	if n < smallBuffer {
		return tensor.New(d, s)
	}
	b := a.lend(n, op.Frame{})
	b.frame = op.Frame{}
	return b.tensor(d, s, n)
}

// allocFramed returns a tensor in a lent buffer, and whether f lies there from
// its last use: images of one size tend to get the same buffers at every run.
// A frame is lost when the buffer is lent to anything else.
func (a *arena) allocFramed(f op.Frame) (t *tensor.Tensor, drawn bool) {
	n := f.DType.Bytes(tensor.Shape(f.Shape[:]).Len())
	if n < smallBuffer {
		return tensor.New(f.DType, f.Shape[:]), false
	}
	b := a.lend(n, f)
	drawn = b.frame == f
	b.frame = f
	return b.tensor(f.DType, f.Shape[:], n), drawn
}

// lend returns a buffer of n bytes, best one with the frame f.
func (a *arena) lend(n int, f op.Frame) *buffer {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.take(n, f)
	a.lent = append(a.lent, b)
	return b
}

// tensor returns a tensor in the first n bytes.
func (b *buffer) tensor(d tensor.DType, s tensor.Shape, n int) *tensor.Tensor {
	t, err := tensor.FromBytes(d, s, b.data[:n:n])
	if err != nil {
		panic("engine: " + err.Error()) // the length was made to fit
	}
	return t
}

// take returns the free buffer that n bytes fill best, at least half, or a
// new one. Of equal ones it prefers one with the frame f.
func (a *arena) take(n int, f op.Frame) *buffer {
	best, least := -1, 2*n+1
	for i, b := range a.free {
		size := len(b.data)
		if size >= n && (size < least || size == least && b.frame == f) {
			best, least = i, size
		}
	}
	if best < 0 {
		return newBuffer(n, slices.Contains(a.given, n))
	}
	b := a.free[best]
	last := len(a.free) - 1
	a.free[best] = a.free[last]
	a.free = a.free[:last]
	return b
}

// newBuffer returns a buffer of n bytes. One that will be given away is used
// once: then large pages cost more than they gain, and clearing it costs about
// as much as filling it.
func newBuffer(n int, once bool) *buffer {
	var data []byte
	if once {
		data = alignedIn(uncleared(n+align), n, align)
	} else {
		data = alignedBytes(n)
	}
	return &buffer{data: data, start: uintptr(unsafe.Pointer(&data[0]))}
}

// find returns the lent buffer that v lies in, nil if it is in none.
func (a *arena) find(t *tensor.Tensor) *buffer {
	data := t.Bytes()
	if len(data) == 0 {
		return nil
	}
	at := uintptr(unsafe.Pointer(&data[0]))
	for i := len(a.lent) - 1; i >= 0; i-- {
		if b := a.lent[i]; at-b.start < uintptr(len(b.data)) {
			return b
		}
	}
	return nil
}

// hold notes that a slot was filled with v.
func (a *arena) hold(v tensor.Value) {
	if t, ok := v.(*tensor.Tensor); ok {
		if b := a.find(t); b != nil {
			b.refs++
		}
		return
	}
	a.letGo(v)
}

// drop notes that a slot that held v was cleared.
func (a *arena) drop(v tensor.Value) {
	if t, ok := v.(*tensor.Tensor); ok {
		if b := a.find(t); b != nil {
			b.refs--
		}
	}
}

// release returns a value for the caller of the run to keep. A large tensor
// that fills a buffer alone takes that along. Others in lent buffers are
// copied: the buffer may be far larger, and later runs would miss it.
func (a *arena) release(v tensor.Value) tensor.Value {
	if t, ok := v.(*tensor.Tensor); ok {
		if b := a.find(t); b != nil && !a.give(b, t.Size()) {
			return t.Clone()
		}
	}
	a.letGo(v)
	return v
}

// leastGiven is from how many bytes on a buffer is given away, not copied.
const leastGiven = 64 << 10

// maxGiven bounds the sizes that an arena remembers to have given away.
const maxGiven = 16

// give reports whether the caller can have b, in which a value of n bytes lies.
func (a *arena) give(b *buffer, n int) bool {
	if b.gone || b.refs > 1 || n != len(b.data) || n < leastGiven {
		return false
	}
	if !slices.Contains(a.given, n) {
		a.given = append(a.given[max(0, len(a.given)-maxGiven+1):], n)
	}
	return true
}

// letGo marks the buffers of v as out of sight.
func (a *arena) letGo(v tensor.Value) {
	switch v := v.(type) {
	case *tensor.Tensor:
		if b := a.find(v); b != nil {
			b.gone = true
		}
	case *tensor.Sparse:
		a.letGo(v.Values)
		a.letGo(v.Indices)
	case *tensor.Seq:
		for _, item := range v.Items {
			a.letGo(item)
		}
	case *tensor.Map:
		a.letGo(v.Keys)
		for _, item := range v.Values {
			a.letGo(item)
		}
	}
}

// settle takes back the buffers that no slot lies in, but for the first base,
// which belong to a step of a graph around.
func (a *arena) settle(base int) {
	kept := a.lent[:base]
	for _, b := range a.lent[base:] {
		if b.refs == 0 {
			a.takeBack(b)
		} else {
			kept = append(kept, b)
		}
	}
	clear(a.lent[len(kept):])
	a.lent = kept
}

func (a *arena) takeBack(b *buffer) {
	if !b.gone {
		a.free = append(a.free, b)
	}
}

// recycle takes back the buffer that v lies in unless a slot does so too.
func (a *arena) recycle(v tensor.Value) {
	t, ok := v.(*tensor.Tensor)
	if !ok {
		return
	}
	if b := a.find(t); b != nil && b.refs == 0 {
		i := slices.Index(a.lent, b)
		a.lent = slices.Delete(a.lent, i, i+1)
		a.takeBack(b)
	}
}

// reset takes all buffers back at the end of a run, save those let go.
func (a *arena) reset() {
	for _, b := range a.lent {
		b.refs = 0
	}
	a.settle(0)
}
